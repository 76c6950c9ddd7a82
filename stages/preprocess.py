"""Check the raw rows, cut the splits and write clean tables.

params `preprocess`, `task` and `tasks`; `data/raw/` -> `data/clean/`: `{train,val,test}.parquet`,
`task.json`, `report.json`, tables and tasks of novel classes, `unlabelled.parquet` if there are rows without
labels, and `soft_labels.parquet` if the source has soft labels; the same for each of `tasks` in
`data/clean/tasks/NAME`.
Run by DVC: `sh stages/run preprocess`.
"""

from pathlib import Path
from typing import Any

from rich.markup import escape

from baton import console, params, storage
from baton.errors import within
from baton.tables import clean, held_out, label_drift, target_cells

RAW = Path("data/raw")
CLEAN = Path("data/clean")
MOST_CLASSES = 30  # a longer table is only in report.json


def main() -> None:
    """Write the clean tables and show the findings."""
    settings = params.load("preprocess", "task", "tasks")
    with storage.atomic_folder(CLEAN) as folder:
        report = clean.clean(RAW, folder, settings.preprocess, settings.task, corrects=True)
        show(report, target_cells.of(settings.task).words)
        held = held_out.read(folder) if settings.tasks else None
        for name, own in settings.tasks.items():
            raw = storage.of_task(RAW, name) if own.source else RAW
            with within(f"tasks.{name}"):
                report = clean.clean(raw, storage.of_task(folder, name), own.preprocess, own.task, held)
            console.say(f"[bold]tasks.{name}[/]")
            show(report, target_cells.of(own.task).words)


def show(report: dict[str, Any], words: str) -> None:
    """Print tables of the checks, the decoded images, the rows and the classes or labels, called `words`."""
    show_findings(report)
    drift = report["checks"]["drift"]
    if "p_value" in drift:
        verdict = "[yellow]drift[/]" if drift["found"] else "no drift"
        console.say(
            f"Labels of train and test: {verdict} (policy {drift['policy']}); {label_drift.text(drift)}"
        )
    if decoded := report.get("decoded"):
        show_decoded(decoded)
    if report["labels"]:
        lines = [
            (repr(changed["label"]), repr(changed["kept_as"]), changed["rows"])
            for changed in report["labels"][:MOST_CLASSES]
        ]
        console.table(
            "Normalized labels (white space, invisible characters, Unicode's composed form)",
            ("label", "kept as", "rows"),
            lines,
        )
    for note in report["notes"]:
        console.say(f"[yellow]note:[/] {escape(note)}")
    rows, classes = report["rows"], report["classes"]
    lines = [
        (split, rows["raw"].get(split, "cut from train"), rows["clean"][split]) for split in clean.SPLITS
    ]
    lines += [(split, "of all files", own["rows"]) for split, own in report.get("novel", {}).items()]
    console.table("Rows", ("split", "raw", "clean"), lines)
    if without := report.get("without_label"):
        console.say(f"rows without a label: {', '.join(f'{split} {n}' for split, n in without.items())}")
    if unlabelled := report.get("unlabelled"):
        show_unlabelled(unlabelled)
    if soft := report.get("soft_labels"):
        show_soft_labels(soft)
    if numbers := report.get("numbers"):
        show_numbers(numbers)
    if 0 < len(classes) <= MOST_CLASSES:
        console.table(
            words.capitalize(),
            ("label", *clean.SPLITS),
            [(label, *counts.values()) for label, counts in classes.items()],
        )


def show_findings(report: dict[str, Any]) -> None:
    """Print the checks that found something, and how many others there are."""
    files = list(report["rows"]["raw"])
    found = {name: check for name, check in report["checks"].items() if name != "drift"}
    lines = [
        (
            name,
            check["policy"],
            *(check["found"][file] for file in files),
            sum(check["dropped"].values()),
            ", ".join(check["rows"][:3]),
        )
        for name, check in found.items()
        if any(check["found"].values())
    ]
    if lines:
        console.table(
            "Findings of the checks (rows of the raw files)",
            ("check", "policy", *files, "dropped", "first rows"),
            lines,
        )
    if others := len(found) - len(lines):
        said = f"{others} {'other ' if lines else ''}{'check' if others == 1 else 'checks'} found nothing"
        console.say(f"{said} ({CLEAN}/report.json has their policies)")


def show_unlabelled(found: dict[str, Any]) -> None:
    """Print where rows without labels come from, and which of them were dropped."""
    for remark in found["remarks"]:
        console.say(f"[yellow]note:[/] {escape(remark)}")
    names = {"train": "left of train by shots", "unlabelled": "source.unlabelled"}
    lines = [
        (
            names[origin],
            own["rows"],
            own["kept"],
            ", ".join(f"{check} {count:,}" for check, count in own["dropped"].items()) or "–",
        )
        for origin, own in found["origins"].items()
    ]
    console.table("Rows without labels", ("origin", "rows", "kept", "dropped"), lines)


def show_soft_labels(found: dict[str, Any]) -> None:
    """Print how many rows have soft labels, and how often these agree with the true labels."""
    for remark in found["remarks"]:
        console.say(f"[yellow]note:[/] {escape(remark)}")
    dropped = "".join(f", {count:,} {kind}" for kind, count in found["dropped"].items())
    console.say(f"source.soft_labels: {found['rows']:,} rows{dropped}")
    lines = [
        ("train", found["train"]["rows"], found["train"]["found"], _percent(found["agreement"])),
        ("unlabelled", found["unlabelled"]["rows"], found["unlabelled"]["found"], "–"),
    ]
    if len(found["classes"]) <= MOST_CLASSES:
        lines += [
            (f"train, {name}", own["rows"], own["found"], _percent(own["agreement"]))
            for name, own in found["classes"].items()
        ]
    console.table("Soft labels", ("rows", "all", "with a soft label", "which agrees"), lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def show_numbers(numbers: dict[str, Any]) -> None:
    """Print where the numbers of each split lie."""
    keys = ("rows", "mean", "deviation", "least", "median", "greatest")
    lines = [
        (name, split, *(f"{own[key]:,.6g}" if key in own else "–" for key in keys))
        for name, splits in numbers.items()
        for split, own in splits.items()
    ]
    console.table("Numbers", ("number", "split", *keys), lines)


def show_decoded(decoded: dict[str, Any]) -> None:
    """Print the formats of the images or clips and what was done to them."""
    lines = []
    for kind in ("formats", "notes"):
        names = sorted({name for counts in decoded.values() for name in counts[kind]})
        lines += [(name, *(counts[kind].get(name, 0) for counts in decoded.values())) for name in names]
    lines.append(("decoder's warnings", *(len(counts["warnings"]) for counts in decoded.values())))
    console.table("Decoded files (of the raw tables)", ("format or note", *decoded), lines)


if __name__ == "__main__":
    console.run_stage(main)
