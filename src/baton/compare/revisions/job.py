"""`baton compare REV [REV]`: compare a model of two revisions on the rows that both have.

Inputs: the predictions that both kept -> figures with paired intervals and p-values on the console, and
rows.csv and slices.csv in reports/compare/FIRST..SECOND.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from baton import console, params, storage
from baton.compare.revisions import by_slice, changes, kept, pairing
from baton.compare.revisions.by_slice import Slice
from baton.compare.revisions.changes import Changes
from baton.compare.revisions.kept import Kept
from baton.compare.revisions.pairing import AFTER, BEFORE, Pairs
from baton.evaluate.report import differences, terminal_validation
from baton.evaluate.report.csv_files import write_csv
from baton.evaluate.report.differences import Difference
from baton.evaluate.report.wording import amount, p_value
from baton.tasks import figure_scale, task_figures
from baton.tasks.figure_scale import Scale

OUTPUT = Path("reports/compare")
SHOWN = 20  # slices on the console


@dataclass(frozen=True)
class Options:
    """What to compare."""

    before: str
    after: str | None  # None: the working tree
    model: str
    split: str
    output: Path = OUTPUT


def compare(options: Options) -> Path:
    """Do all of it; return the folder of the tables.

    Raises:
        ParamsError: a revision is unknown.
        DataError: a file is missing, the tasks differ, or no row is in both.
    """
    settings = params.read().evaluate
    before, after = kept.at(options.before), kept.at(options.after)
    with tempfile.TemporaryDirectory() as scratch:
        pairs = pairing.pair(before, after, options.model, options.split, Path(scratch))
    boot = pairs.task.bootstrap(
        pairs.rows.targets, pairs.outputs, settings.calibration_bins, settings.bootstrap
    )
    figures = {name: pairs.task.of_model(boot, name) for name in (BEFORE, AFTER)}
    main = figure_scale.of(pairs.task.figures)
    joint = pairs.task.compared(boot, [(AFTER, BEFORE)])[f"{AFTER}_vs_{BEFORE}"]
    found = [
        replace(one, first=after.name, second=before.name)
        for one in differences.of(f"{AFTER}_vs_{BEFORE}", joint, main, boot.confidence, pairs.task.p)
    ]
    changed, sliced = changes.read(pairs), by_slice.read(pairs, main, boot.confidence)
    folder = options.output / f"{before.short}..{after.short}"
    _write(folder, pairs, changed, sliced)
    _say_rows(options, before, after, pairs)
    _say_looks(options, before, after, pairs)
    _say_figures(before, after, figures, found, joint.get("excluded"))
    _say_changes(changed, folder)
    _say_slices(by_slice.differing(sliced, 1 - boot.confidence), len(sliced), main)
    return folder


def _write(folder: Path, pairs: Pairs, changed: Changes, sliced: Sequence[Slice]) -> None:
    with storage.atomic_folder(folder) as target:
        write_csv(target / "rows.csv", [*changes.COLUMNS, pairs.rows.shown], changed.rows)
        write_csv(target / "slices.csv", by_slice.COLUMNS, [one.cells for one in sliced])


def _say_rows(options: Options, before: Kept, after: Kept, pairs: Pairs) -> None:
    count, (old, new) = len(pairs.rows.ids), pairs.counts
    told = f"The {options.model} on {amount(count, f'rows of {options.split}')}"
    if count < max(old, new):
        told += f" that both have ({escape(before.name)} has {old:,}, {escape(after.name)} {new:,})"
    console.say(f"{told}.")
    if pairs.other:
        console.warn("compare", f"left out, as their content differs: {amount(pairs.other, 'ids')}")
    if pairs.relabelled:
        told = (
            f"labelled again: {amount(pairs.relabelled, 'rows')}; the labels of {after.name} count for both"
        )
        console.warn("compare", told)


def _say_looks(options: Options, before: Kept, after: Kept, pairs: Pairs) -> None:
    """Say what these rows may be used for: on test count the look."""
    if options.split != "test":
        if task_figures.decides(pairs.task.spec):
            told = "thresholds and the like were fitted on val: both look better than they are"
            console.warn("compare", told)
        return
    answers = [kept.file(f"data/predictions/{options.model}/test.parquet") for kept in (before, after)]
    count = terminal_validation.looked(
        "-".join(map(storage.sha256, answers)), after.file("data/clean/test.parquet")
    )
    told = "To choose a revision by this is to select on test; without --split val is compared."
    console.say(f"[dim]{told} {terminal_validation.looks_said(count)}[/]")


def _say_figures(
    before: Kept,
    after: Kept,
    figures: Mapping[str, Mapping[str, Any]],
    found: Sequence[Difference],
    excluded: float | None,
) -> None:
    rows = [
        [
            one.name,
            one.scale.value(figures[BEFORE][one.scale.name], 2),
            one.scale.value(figures[AFTER][one.scale.name], 2),
            one.shown,
            "–" if one.p is None else p_value(one.p),
        ]
        for one in found
    ]
    columns = ["figure", before.name, after.name, "difference and interval", "p"]
    console.table(f"{before.name} and {after.name}", columns, rows)
    console.say(escape(differences.said(found, excluded)))


def _say_changes(changed: Changes, folder: Path) -> None:
    told = ", ".join(f"{changed.count(word):,} {word}" for word in changes.WORDS if changed.count(word))
    console.say(f"Rows that changed: {told or 'none'}; {folder / 'rows.csv'} lists them.")


def _say_slices(differing: Sequence[Slice], count: int, main: Scale) -> None:
    if not differing:
        console.say(
            f"In none of {amount(count, 'slices')} a difference is shown (p adjusted for all of them)."
        )
        return
    rows = [
        [
            one.name,
            one.value,
            f"{one.rows:,}",
            main.value(one.before),
            main.value(one.after),
            f"{differences.signed(main, one.difference)}{main.points}",
            p_value(one.holm_p),
        ]
        for one in differing[:SHOWN]
    ]
    columns = ["slice", "value", "rows", "before", "after", "difference", "p, adjusted"]
    console.table(f"{len(differing)} of {amount(count, 'slices')} differ", columns, rows)
