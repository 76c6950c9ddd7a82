"""Measure what the rows of `baton suggest` are worth, against as many rows drawn at random.

For each seed, `--labelled` rows of train are drawn whose labels are known. The probe of `baton suggest` is
fitted on their frozen features, and `--n` of the other rows of train are chosen, whose labels are then added;
another probe is fitted on all of them and scored on test. The other side adds `--n` rows at random; since one
such draw is as lucky as another, its accuracy is the mean over `--draws` of them. Both sides start from the
same rows. The sets are Reuters R8, skewed, and VADER's sentences of film reviews, positive or negative in
equal shares, with MiniLM-L6.

    python -m benchmarks.suggest [--sets r8 films] [--labelled 100] [--n 100] [--seeds 0 1 2 3 4]
        [--draws 20] [--work FOLDER]

The output is accuracy and macro F1 of both sides, and their difference with Student's 95% interval over
seeds. `--work` keeps the projects and the features.
"""

import argparse
import copy
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton import console
from baton.batches import array_splits
from baton.evaluate.seeds import student
from baton.labelling import probes, selection
from baton.labelling.probes import Labelled
from baton.tasks import metrics
from benchmarks import _encoder_features, _project, _sides, _vader
from benchmarks import strategies as sets

CONFIDENCE = 0.95
FIGURES = ("accuracy", "macro_f1")
SIDES = ("suggest", "random")


class Rows(NamedTuple):
    """Features and labels of a split."""

    features: NDArray[np.float32]  # (rows, width)
    labels: NDArray[np.int64]  # (rows,)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all sets and print a table."""
    options = parse(arguments)
    table = []
    with tempfile.TemporaryDirectory() as name:
        for one in options.sets:
            train, test = prepared((options.work or Path(name)).resolve() / one, one)
            found = [measured(train, test, options, seed) for seed in options.seeds]
            table += list(rows(one, np.array(found)))
    _sides.markdown(["set", "figure", *SIDES, "difference, points", "95% interval"], table)


def parse(arguments: Sequence[str] | None) -> Any:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", choices=["r8", "films"], default=["r8", "films"])
    parser.add_argument("--labelled", type=int, default=100, help="rows with labels before (default 100)")
    parser.add_argument("--n", type=int, default=100, help="rows that get labels (default 100)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    parser.add_argument("--draws", type=int, default=20, help="of rows at random, for each seed (default 20)")
    parser.add_argument("--work", type=Path, help="a folder to keep the projects in")
    return parser.parse_args(arguments)


def prepared(project: Path, name: str) -> tuple[Rows, Rows]:
    """Return train and test of a set; its project is made, or gone on with."""
    kept = project / "features.npz"
    if not kept.is_file():
        _project.copied(project)
        if name == "films":
            with tempfile.TemporaryDirectory() as scratch:
                _vader.write(Path(scratch), project / "inbox")
        raw = copy.deepcopy(sets.edited(name))
        _project.repro(project, raw, "tokenize")
        splits = array_splits.open_splits(project / "data/arrays")
        found = {}
        for split in ("train", "test"):
            console.say(f"{name}: features of {len(splits[split]):,} rows of {split}")
            found[split] = _encoder_features.features(project, raw, splits[split])
            found[f"{split}_labels"] = splits[split].targets.all
        np.savez(kept, **found)
    with np.load(kept, allow_pickle=False) as saved:
        return (Rows(saved["train"], saved["train_labels"]), Rows(saved["test"], saved["test_labels"]))


def measured(train: Rows, test: Rows, options: Any, seed: int) -> NDArray[np.float64]:
    """Return the figures of both sides, (sides, figures)."""
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(train.labels))
    known, pool = order[: options.labelled], order[options.labelled :]
    start = of(train, known)
    logits = probes.fitted(start, np.arange(len(known)), seed).logits(train.features[pool])
    chosen = selection.choose(train.features[pool], probes.probabilities(logits), options.n, seed)
    random = [pool[draw.permutation(len(pool))[: options.n]] for _ in range(options.draws)]
    figures = [scored(train, test, np.r_[known, added], seed) for added in (pool[chosen], *random)]
    found = np.stack([figures[0], np.mean(figures[1:], axis=0)])
    console.say(f"seed {seed}: {', '.join(f'{own:.1%}' for own in found[:, 0])} accuracy")
    return found


def scored(train: Rows, test: Rows, rows: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Return the figures on test of the probe of some rows of train, (figures,)."""
    made = probes.fitted(of(train, rows), np.arange(len(rows)), seed)
    found = metrics.scores(made.logits(test.features), test.labels)
    return np.array([found[name] for name in FIGURES])


def of(train: Rows, rows: NDArray[np.int64]) -> Labelled:
    """Return some rows of train as those with labels."""
    classes = int(train.labels.max()) + 1
    labels = train.labels[rows].astype(np.int64)
    return Labelled(train.features[rows], labels, np.arange(len(rows)), None, classes, balanced=False)


def rows(name: str, found: NDArray[np.float64]) -> Iterator[list[str]]:
    """Yield the lines of a set's table; `found` is (seeds, sides, figures)."""
    for place, figure in enumerate(FIGURES):
        own = 100 * found[:, :, place]
        gain = student(own[:, 0] - own[:, 1], CONFIDENCE)
        interval = "–" if gain.interval is None else " to ".join(f"{end:+.1f}" for end in gain.interval)
        yield [name, figure, *(f"{mean:.1f}" for mean in own.mean(axis=0)), f"{gain.mean:+.1f}", interval]


if __name__ == "__main__":
    console.run(main)
