"""How the models do on validation, and how often the test rows were looked at.

Shown by the `evaluate` stage and by `baton summary`: what is tried and chosen is compared here, so that test
stays a set on which nothing was chosen (Recht et al. 2019, Do ImageNet classifiers generalize to ImageNet?,
arXiv:1902.10811, section 2). `baton summary --test` and `baton compare REV --split test` show test, and
`looked` counts it.
"""

from pathlib import Path
from typing import Any

from baton import console, storage
from baton.evaluate import recommend, results, task_reports
from baton.evaluate.report import terminal
from baton.evaluate.report.wording import spelled
from baton.tasks import figure_scale

LOOKS = "test_looks.json"  # in the project's state: digest of the test rows -> digests of the results shown
TEST_ROWS = Path("data/clean/test.parquet")


def show(reports: Path) -> None:
    """Print the main figure on validation, sizes and speeds, the recommendation, and where to look next.

    Raises:
        DataError: a file is missing or is not of this version.
    """
    with terminal.of_this_version(reports) as (metrics, timings):
        section, speeds = metrics["recommended"], timings["models"]
        scale = figure_scale.of(task_reports.of(results.task_of(metrics["test"])).figures)
        scores = sorted(section["scores"].items(), key=lambda item: -item[1])
        rows = [
            [name, scale.value(scale.gain(score)), *terminal.costs(metrics[name], speeds.get(name, {}))]
            for name, score in scores
        ]
        said = recommend.said(section, scale)
    name = f"{section['folds']}-fold cross-validation on train" if "folds" in section else "validation split"
    console.table(f"{name}: {section['rows']:,} rows", ["model", spelled(scale.name), *terminal.COSTS], rows)
    console.say(f"• {said}")
    if "ratios" in timings:
        faster, low_high = _faster(timings)
        console.say(f"• The student has {faster} times the teacher's throughput ({low_high}).")
    console.say(f"• {looks_said(len(_known().get(_digest(TEST_ROWS), [])))}")
    terminal.show_next(reports, f"  {terminal.command('summary --test')} shows the figures on test")


def looked(result: str, rows: Path = TEST_ROWS) -> int:
    """Count that a result is shown on test; return how many results these rows have shown.

    Args:
        result: its digest; if it is shown again it counts once.
        rows: the table of the test rows.
    """
    known = _known()
    seen = known.setdefault(_digest(rows), [])
    if result not in seen:
        seen.append(result)
        storage.write_json(storage.state(LOOKS), known)
    return len(seen)


def looks_said(count: int) -> str:
    """Say on how many results the test rows were looked at."""
    times = {0: "no result", 1: "1 result"}.get(count, f"{count:,} results")
    said = f"So far {times} on these test rows {'was' if count < 2 else 'were'} shown in this project"
    return said + ("; what is chosen by test looks better there than it is." if count > 1 else ".")


def _faster(timings: dict[str, Any]) -> tuple[str, str]:
    faster = timings["ratios"]["student_vs_teacher"]
    low, high = faster["throughput_interval"]
    return f"[bold]{faster['throughput']:.2f}[/]", f"{low:.2f} to {high:.2f}"


def _digest(rows: Path) -> str:
    return storage.sha256(rows) if rows.is_file() else ""


def _known() -> dict[str, list[str]]:
    return storage.read_state(storage.state(LOOKS))
