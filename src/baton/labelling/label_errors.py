"""Find the labels of train and val that are probably wrong, and list them for people to correct.

Inputs: params, data/clean, data/arrays and data/base -> a CSV file. The features are those of the base model,
which `finetune` keeps in the same place on disk: the teacher has seen the labels, so it cannot judge them.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from baton import console, params
from baton.batches import array_splits
from baton.contracts import row_attributes, task_spec
from baton.contracts.corrections import ID
from baton.errors import DataError, OutputError, ParamsError
from baton.fitting import jobs
from baton.labelling import base_features, listing, out_of_fold, ranking
from baton.labelling.listing import Listed
from baton.labelling.probes import Labelled
from baton.tables import corrections
from baton.tables.corrections import Correction

ARRAYS, BASE, CLEAN = Path("data/arrays"), Path("data/base"), Path("data/clean")
PATH = Path("inbox/corrections.csv")
SPLITS = ("train", "val")
SHOWN = 8  # pairs of classes


class Read(NamedTuple):
    """What the base model makes of rows, and their labels."""

    features: dict[str, NDArray[np.float32]]  # split -> (rows, width)
    labels: dict[str, NDArray[np.int64]]  # split -> (rows,)
    names: tuple[str, ...]  # of the classes


def find(path: Path, most: int | None) -> None:
    """Write the list to `path`: the probably wrong labels, or the `most` suspicious ones.

    Labels that people filled in, in this file or in the one that params `corrections` name, are kept.

    Raises:
        ParamsError: Rows do not have one class each.
        DataError: `tokenize` has not run, or not since `preprocess`; a file of corrections cannot be read.
        OutputError: `path` cannot be written.
    """
    active = params.read()
    if active.task.kind != "classes":
        raise ParamsError(
            "labels cannot be judged",
            got=f"task.kind is {active.task.kind}",
            expected="classes: one class per row",
            hint="read the errors of the models in reports/tables instead",
        )
    if path.suffix.lower() not in {".csv", ""}:
        hint = "end its name with .csv"
        raise OutputError(f"{path} cannot be the list", got=path.suffix, expected="a CSV file", hint=hint)
    decided = _decided(active, path)
    if isinstance(active.base, params.TimmBase) and active.base.weights is None:
        console.warn("label-errors", "base.weights is null: features of chance say little about labels")
    array_splits.read_meta(ARRAYS)
    listed = listing.rows(CLEAN, SPLITS)
    found = read(active, listed, SPLITS)
    judged = judge(active.finetune.seeds[0], found)
    labels = np.concatenate([found.labels[split] for split in SPLITS])
    ranked = ranking.rank(labels, judged)
    written = listing.write(path, listed, ranked, judged.probabilities, found.names, decided, most)
    _tell(path, active, listed, ranked, found.names, decided, written)


def _decided(active: params.Params, path: Path) -> dict[str, Correction]:
    """Return the rows that people labelled; what stands at `path` counts more than the file of params."""
    if path.exists() and not listing.is_list(path):
        raise OutputError(
            f"{path} is not a list of this command, so it was not overwritten",
            got="other columns",
            expected=", ".join(listing.BETWEEN),
            hint="name another file with --out; labels in the file that params `corrections` name are kept",
        )
    if path.exists() and (own := set(corrections.columns_of(path)) - listing.COLUMNS):
        raise OutputError(
            f"{path} has columns that would be lost, so it was not overwritten",
            got=", ".join(sorted(own)),
            expected=", ".join([ID, *listing.BETWEEN]),
            hint="name another file with --out; labels in the file that params `corrections` name are kept",
        )
    known: dict[str, Correction] = {}
    for file in dict.fromkeys([Path(active.corrections or path), path]):
        if file.is_file():
            known |= {id_: own for id_, own in corrections.read(file).items() if own.label}
    return known


def _refuse_others(listed: list[Listed], data: jobs.Data, splits: Sequence[str]) -> task_spec.Classes:
    """Return the task; refuse clean tables that are not those of the arrays."""
    for split in splits:
        own = [row for row in listed if row.split == split]
        same = [row.id for row in own] == array_splits.read_ids(ARRAYS, split)
        same = same and isinstance(data.task, task_spec.Classes)
        if not same or data.splits[split].targets.all.tolist() != [row.label for row in own]:
            raise DataError(
                f"{ARRAYS} does not match {CLEAN / split}.parquet",
                got="other rows or labels",
                expected="the same in the same order",
                hint="run `dvc repro tokenize`",
            )
    assert isinstance(data.task, task_spec.Classes)
    return data.task


def read(active: params.Params, listed: list[Listed], splits: Sequence[str]) -> Read:
    """Return the features of the base model, computed once and kept on disk.

    Raises:
        DataError: The clean tables, whose rows of all `splits` are `listed`, are not those of the arrays.
    """
    found = base_features.opened("baton label-errors", active)
    data = found.job.data
    task = _refuse_others(listed, data, splits)
    own = {split: np.asarray(found[split].features) for split in splits}
    return Read(own, {split: data.splits[split].targets.all for split in splits}, task.names)


def judge(seed: int, found: Read) -> out_of_fold.Judged:
    """Return the probabilities of the rows of train, then val; `seed` draws the folds."""
    count = len(found.labels["train"])
    units = row_attributes.units(ARRAYS, count)
    weights = row_attributes.weights(ARRAYS, "train", count)
    train = Labelled(
        found.features["train"], found.labels["train"], units, weights, len(found.names), balanced=False
    )
    with console.progress("probes", out_of_fold.FOLDS + 1, "fits") as advance:
        return out_of_fold.judge(train, found.features["val"], found.labels["val"], seed, advance)


def _tell(
    path: Path,
    active: params.Params,
    listed: list[Listed],
    ranked: ranking.Ranked,
    names: tuple[str, ...],
    decided: dict[str, Correction],
    written: int,
) -> None:
    """Print what was found and what to do next."""
    wrong = [place for place in ranked.order if ranked.wrong[place] and listed[place].id not in decided]
    pairs = Counter((names[listed[place].label], names[ranked.suggested[place]]) for place in wrong)
    if pairs:
        rows = [(*pair, count) for pair, count in pairs.most_common(SHOWN)]
        console.table("Probably wrong labels", ("given", "suggested", "rows"), rows)
    alone = len(listed) - len(ranked.order)
    if alone:
        console.say(f"{alone:,} rows cannot be judged: train has no other row of their class")
    console.say(
        f"{len(wrong):,} of {len(listed):,} labels of train and val are probably wrong; {escape(str(path))} "
        f"lists {written:,} rows without a decision and {len(decided):,} with one"
    )
    if not written and not decided:
        console.say("next: nothing needs to be corrected; `--top 100` lists the most suspicious rows")
        return
    named = active.corrections == str(path)
    console.say(
        "next: write the right class into its column `label` (the given one if it is right); "
        + ("" if named else f"set `corrections: {escape(str(path))}` in params.yaml; ")
        + "then `baton repro`, and `dvc metrics diff` shows the gain (docs/label_errors.md)"
    )
