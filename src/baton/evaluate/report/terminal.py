"""The results on test on one screen, from reports/metrics.json and reports/timings.json alone.

Shown by `baton summary --test`.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from baton import console, storage
from baton.errors import DataError
from baton.evaluate import (
    knowledge,
    novel,
    other_tasks,
    recommend,
    results,
    seeds,
    single_inputs,
    task_reports,
)
from baton.evaluate.evaluation import TRANSFORMERS
from baton.evaluate.report import differences
from baton.evaluate.report.wording import amount, p_value, percent, spelled
from baton.evaluate.task_reports import TaskReports
from baton.tasks import figure_scale
from baton.tasks.figure_scale import Scale

COSTS = ["params", "size MB", "samples/s", "p50 ms", "p95 ms"]
VERDICTS = {
    1: "[bold green]beats[/]",
    0: "does [bold]not differ significantly[/] from",
    -1: "[bold red]loses to[/]",
}


def show(reports: Path) -> None:
    """Print the tables, a few sentences that explain them, and where to look next.

    Raises:
        DataError: a file is missing or is not of this version.
    """
    with of_this_version(reports) as (metrics, timings):
        test, speeds = metrics["test"], timings["models"]
        task = task_reports.of(results.task_of(test))
        models = [name for name in TRANSFORMERS if name in metrics] + list(test["baselines"])
        shown = {name: metrics[name] for name in models}
        columns, cells = task.summary(shown)
        rows = [[name, *own, *costs(metrics[name], speeds.get(name, {}))] for name, own in cells.items()]
        beyond = task.beyond_summary(shown, test)
        sentences = _sentences(task, metrics, timings)
        tests = tests_said(task, metrics, test)
    counted = (
        "" if task.spec.outputs == "text" else f", {amount(test[task.words.counted], task.words.counted)}"
    )
    console.table(
        f"test split: {amount(test['rows'], 'rows')}{counted}; {percent(test['confidence'], 0)} intervals",
        ["model", *columns, *COSTS],
        rows,
    )
    if beyond:
        console.table(*beyond)
    for sentence in filter(None, sentences):
        console.say(f"• {sentence}")
    console.say(f"[dim]{tests}[/]")
    console.say(f"[dim]{task.words.remark}[/]")
    if speed := _speed(timings):
        console.say(speed)
    show_next(reports, f"  {reports}/tables has the figures of every class and slice as CSV files")


def command(words: str) -> str:
    """Return a command of Baton as it can be typed here, where `baton` may not be on PATH."""
    name = "baton" if shutil.which("baton") else os.path.relpath(Path(sys.executable).with_name("baton"))
    return f"`{name} {words}`"


def show_next(reports: Path, line: str) -> None:
    """Print where to look next: the page, one more line, and MLflow."""
    page = reports / "report.html"
    console.say("Next:")
    if page.is_file():
        console.say(f"  {page} in a browser has the verdict, and where the model fails")
    console.say(line)
    console.say(f"  {command('ui')} opens MLflow, with all runs, curves and models")


@contextlib.contextmanager
def of_this_version(reports: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the contents of metrics.json and timings.json; what is missing in them is one error.

    Raises:
        DataError: a file is missing or is not of this version.
    """
    metrics, timings = _read(reports / "metrics.json"), _read(reports / "timings.json")
    try:
        yield metrics, timings
    except (KeyError, TypeError) as error:
        got = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{reports} has an unexpected layout",
            got=got,
            expected="files written by `evaluate`",
            hint="run `dvc repro evaluate`",
        ) from None


def _read(path: Path) -> dict[str, Any]:
    expected, hint = "a JSON file written by `evaluate`", "run `baton repro`, or `dvc repro evaluate`"
    try:
        content = storage.read_json(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read", got=error.strerror, expected=expected, hint=hint) from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON", got=str(error), expected=expected, hint=hint) from None
    if not isinstance(content, dict):
        raise DataError(
            f"{path} has an unexpected layout", got=type(content).__name__, expected=expected, hint=hint
        )
    return content


def costs(figures: Mapping[str, Any], speed: Mapping[str, Any]) -> list[str]:
    """Return the cells of COSTS: size and speed of a model."""
    return [
        f"{figures['parameters'] / 1e6:.1f} M" if "parameters" in figures else "–",
        f"{figures['bytes'] / 1e6:.1f}" if "bytes" in figures else "–",
        f"{speed['samples_per_second']:,.0f}" if "samples_per_second" in speed else "–",
        f"{speed['latency_p50_ms']:.1f}" if "latency_p50_ms" in speed else "–",
        f"{speed['latency_p95_ms']:.1f}" if "latency_p95_ms" in speed else "–",
    ]


def _sentences(task: TaskReports, metrics: dict[str, Any], timings: dict[str, Any]) -> list[str]:
    figure = figure_scale.of(task.figures)
    return [
        _retention(metrics, timings, figure),
        f"The student {_against(metrics, 'student_vs_teacher', 'the teacher', task)}.",
        _distillation(metrics, task),
        knowledge.said(metrics["knowledge"], figure) if "knowledge" in metrics else "",
        *seeds.said(metrics["seeds"], figure, metrics["test"]["confidence"]),
        _baseline(metrics, task),
        recommend.said(metrics["recommended"], figure),
        robustness_said(metrics["robustness"]) if "robustness" in metrics else "",
        single_inputs.said(task, metrics["single_inputs"]) if "single_inputs" in metrics else "",
        novel.said(metrics["episodes"]) if "episodes" in metrics else "",
        *other_tasks.said(metrics.get("tasks", {})),
    ]


def _retention(metrics: dict[str, Any], timings: dict[str, Any], main: Scale) -> str:
    retention, figure = metrics["retention"], main.name
    kept = f"The student's {spelled(figure)} cannot be compared with the teacher's, which is 0 or close to it"
    if figure in retention:
        low, high = retention[f"{figure}_interval"]
        skill = f", {percent(retention['skill'])} of its skill," if "skill" in retention else ""
        ratio, name = f"[bold]{percent(retention[figure])}[/] of the teacher's", spelled(figure)
        said = (
            f"The student keeps {ratio} {name}" if main.direction > 0 else f"The student's {name} is {ratio}"
        )
        kept = f"{said} ({percent(low)} to {percent(high)}){skill}"
    size = f"{metrics['student']['parameters'] / metrics['teacher']['parameters']:.0%} of its parameters"
    if "ratios" not in timings:
        return f"{kept} with {size}; speed was not measured (evaluate.speed.repeats is 0)."
    faster = timings["ratios"]["student_vs_teacher"]
    low, high = faster["throughput_interval"]
    throughput = f"[bold]{faster['throughput']:.2f} times[/] its throughput ({low:.2f} to {high:.2f})"
    return f"{kept} at {throughput}, with {size}."


def _speed(timings: dict[str, Any]) -> str:
    """Say how the speeds were measured.

    Student and control are the same network, so their ratio shows how reliable the other ratios are.
    """
    if "ratios" not in timings:
        return ""
    low, high = timings["ratios"]["control_vs_student"]["throughput_interval"]
    narrow = (
        ""
        if timings["precise"]
        else ", wider than evaluate.speed.precision asks for, because evaluate.speed.max_seconds had passed"
    )
    taken = f"Models took turns at each batch, {timings['rounds']} rounds"
    same = "the control, the same network as the student,"
    return f"[dim]{taken}; {same} is {low:.2f} to {high:.2f} times as fast as it{narrow}.[/]"


def _distillation(metrics: dict[str, Any], task: TaskReports) -> str:
    """Compare these two models; a statement about the method needs several seeds."""
    seed = metrics["seeds"]["student"]["chosen"]
    if "comparison" in metrics["seeds"]:
        chosen = f"Student and control are those of seed {seed}, which validation chose as the student's best"
        return f"{chosen}, so these two are not compared with each other."
    alone = "One seed says nothing about the method: distill.seeds takes several."
    other = "the same student trained without the teacher"
    return f"This student (seed {seed}) {_against(metrics, 'student_vs_control', other, task)}. {alone}"


def _baseline(metrics: dict[str, Any], task: TaskReports) -> str:
    name = metrics["test"]["strongest_baseline"]
    if name is None:
        return "There is no baseline to compare with (evaluate.baselines is empty)."
    parts = [
        f"the {model} {_against(metrics, f'{model}_vs_{name}', name, task)}"
        for model in ("teacher", "student")
    ]
    return f"Against the baseline that is best on validation: {'; '.join(parts)}."


def _against(metrics: dict[str, Any], pair: str, other: str, task: TaskReports) -> str:
    """Return the verdict on two models by the main figure, and the other figures in which they differ."""
    figures, test, figure = metrics["comparison"][pair], metrics["test"], figure_scale.of(task.figures)
    _, *others = differences.of(pair, figures, figure, test["confidence"], task.p)
    beyond = differences.better_and_worse(others)
    verdict = _verdict(figures, test, figure)
    words = VERDICTS[verdict]
    if beyond and not verdict:
        words = words.replace(" from", f" in {spelled(figure.name)} from")
    said = f"{words} {other} ({_evidence(figures, test, figure)})"
    return f"{said}{' and' if verdict else ', but'} is {beyond}" if beyond else said


def robustness_said(figures: Mapping[str, Any]) -> str:
    """Report means over severities; their intervals are in metrics.json."""
    parts = []
    for kind, own in figures.items():
        if kind != "rows":
            changes = (
                f"{name} {percent(own[name][0])} to {percent(own[f'{name}_mean'])}"
                for name in ("teacher", "student")
            )
            parts.append(f"{kind.replace('_', ' ')}, {', '.join(changes)}")
    measured = f"{figures['rows']:,} test rows, unchanged to corrupted (mean over severities)"
    return f"Accuracy on {measured}: {'; '.join(parts)}."


def _verdict(figures: dict[str, Any], test: dict[str, Any], figure: Scale) -> int:
    """Return 1 for better, -1 for worse, 0 for no significant difference among all tests of the page."""
    if figures["holm_p"] >= 1 - test["confidence"]:
        return 0
    return 1 if figure.gain(figures[f"{figure.name}_difference"]) > 0 else -1


def _evidence(figures: dict[str, Any], test: dict[str, Any], figure: Scale) -> str:
    low, high = figures["holm_interval"]
    change = f"{figure.number(figures[f'{figure.name}_difference'], sign='+')}{figure.points}"
    more = ""
    if _verdict(figures, test, figure) == 0:
        more = f"; more than {figure.number(figures['excluded'])}{figure.points} either way are excluded"
    elif low <= 0 <= high:
        more = "; they differ, but it is not clear by how much"
    bounds = f"{figure.number(low, sign='+')} to {figure.number(high, sign='+')}"
    return f"{change} of {spelled(figure.name)}, interval {bounds}, {p_value(figures['holm_p'])}{more}"


def tests_said(task: TaskReports, metrics: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    """Explain the intervals and p-values of the sentences."""
    pairs = metrics["comparison"]
    family = f"the {len(pairs)} tests above"
    if "comparison" in metrics["seeds"]:
        family = f"{len(pairs)} tests, the {len(pairs) - 1} above and that of this student and its control"
    level = next(iter(pairs.values()))["holm_confidence"]
    tested, bounded = task.words.tested, task.words.bounded
    return (
        f"p is {tested}, adjusted for {family} by Holm's method; the intervals are {bounded}, "
        f"each at {100 * level:.4g}% so that all of them hold together at {percent(test['confidence'], 0)}, "
        "and excluded differences lie beyond them. Other figures have 95% intervals of their own: log loss "
        "and Brier score differ by p-values that are adjusted alike, one without a test by its interval. "
        "They cover the choice of test rows, not the training seed; "
        "a test over seeds is separate, and covers the seed, not the rows."
    )
