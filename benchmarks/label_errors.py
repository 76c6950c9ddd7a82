"""Measure how many planted label errors `baton label-errors` ranks first, and what correcting them gains.

A share of the labels of train and val are moved to another class, drawn evenly; the rows are then ranked as
the command ranks them. Of the flipped rows, how many are among the first, twice as many as were flipped (2x),
or as many (1x)? A person who looks at the former and puts the flipped ones right gains what a probe on these
labels scores on test over one on the flipped labels. The features are computed once, and kept in the project.

    python -m benchmarks.label_errors [--project FOLDER] [--share 0.05] [--seeds 0 1 2 3 4] [--confusable]

With --confusable the other class is the one that probes on the true labels find most probable for the row, as
people err. The project must be tokenized, with one class per row. Errors that the data itself has count
against the ranking.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts import row_attributes
from baton.labelling import label_errors, listing, probes, ranking
from baton.labelling.probes import Labelled
from benchmarks import _sides

SPLITS = (*label_errors.SPLITS, "test")


class Found(NamedTuple):
    """The result of one seed; shares are from 0 to 1."""

    flipped: int
    first: float  # share of the flipped rows among the first, twice as many as the flipped
    half: float  # among the first, as many as the flipped
    precision: float  # of the labels called wrong, the share of flipped ones
    recall: float  # of the flipped labels, the share called wrong


def main(arguments: Sequence[str] | None = None) -> None:
    """Plant errors for each seed and print how many were found, and the accuracy of probes."""
    parser = _sides.parser(__doc__, 1)
    parser.add_argument("--share", type=float, default=0.05, help="of the labels (default 0.05)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    parser.add_argument("--confusable", action="store_true", help="flip to the most probable other class")
    options = parser.parse_args(arguments)
    _sides.require(options.project, "data/arrays", "data/base", "data/clean")
    os.chdir(options.project)
    read = label_errors.read(params.read(), listing.rows(label_errors.CLEAN, SPLITS), SPLITS)
    nearest = next_best(read) if options.confusable else None
    rows = [[str(seed), *measured(read, options.share, seed, nearest)] for seed in options.seeds]
    columns = ["seed", "flipped", "in the first 2x", "in the first 1x", "precision", "recall"]
    _sides.markdown([*columns, "test, flipped", "test, corrected", "test, true"], rows)


def next_best(read: label_errors.Read) -> NDArray[np.int64]:
    """Return the most probable class other than its own of each row of train and val, (rows,)."""
    labels = np.concatenate([read.labels[split] for split in label_errors.SPLITS])
    probabilities = label_errors.judge(0, read).probabilities
    probabilities[np.arange(len(labels)), labels] = -1
    return probabilities.argmax(axis=1)


def measured(
    read: label_errors.Read, share: float, seed: int, nearest: NDArray[np.int64] | None
) -> list[str]:
    """Return the figures of one seed as a row of the table; flips are to `nearest` (rows,), if given."""
    true = {split: read.labels[split] for split in label_errors.SPLITS}
    whole = np.concatenate([*true.values()])
    labels, wrong = flipped(whole, len(read.names), share, seed)
    labels = labels if nearest is None else np.where(wrong, nearest, whole)
    count = len(true["train"])
    spoiled = read._replace(labels={"train": labels[:count], "val": labels[count:]})
    ranked = ranking.rank(labels, label_errors.judge(seed, spoiled))
    found = scores(ranked, wrong)
    looked = ranked.order[: 2 * found.flipped]
    corrected = labels.copy()
    corrected[looked] = whole[looked]
    tested = [accuracy(read, own[:count], seed) for own in (labels, corrected, whole)]
    return [str(found.flipped), *(f"{100 * one:.1f}" for one in (*found[1:], *tested))]


def flipped(
    labels: NDArray[np.int64], classes: int, share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return labels (rows,) of which a `share` is another class, drawn evenly, and which these are."""
    draw = np.random.default_rng(seed)
    wrong = np.zeros(len(labels), np.bool_)
    wrong[draw.choice(len(labels), round(share * len(labels)), replace=False)] = True
    shift = draw.integers(1, classes, len(labels))
    return np.where(wrong, (labels + shift) % classes, labels), wrong


def scores(ranked: ranking.Ranked, wrong: NDArray[np.bool_]) -> Found:
    """Return how many of the rows that are `wrong` (rows,) were found."""
    count = int(wrong.sum())
    first, half = (float(wrong[ranked.order[:most]].sum() / count) for most in (2 * count, count))
    called = ranked.wrong
    precision = float(wrong[called].mean()) if called.any() else float("nan")
    return Found(count, first, half, precision, float(called[wrong].mean()))


def accuracy(read: label_errors.Read, labels: NDArray[Any], seed: int) -> float:
    """Return the test accuracy of a probe on these labels of train, (rows,)."""
    units = row_attributes.units(label_errors.ARRAYS, len(labels))
    train = Labelled(read.features["train"], labels, units, None, len(read.names), balanced=False)
    made = probes.fitted(train, np.arange(len(labels)), seed)
    return float((made.logits(read.features["test"]).argmax(axis=1) == read.labels["test"]).mean())


if __name__ == "__main__":
    main()
