"""A learning curve: errors at several numbers of labels, over draws of the labels and resamples of the rows.

Inputs: features and labels of train -> a `Curve`, by probes on nested stratified subsets, each measured on
rows that it has not seen; or the scores of test rows of trained models -> a `Curve`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.batches import subset
from baton.labelling import subsets
from baton.labelling.probes import Labelled, fitted
from baton.tasks import metrics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FOLDS = 5  # a row is measured by probes of the other folds
AT_ONCE = 64  # resamples


@dataclass(frozen=True)
class Curve:
    """Errors, 1 - figure, at several numbers of labels."""

    labels: tuple[int, ...]  # ascending
    errors: Floats  # (sizes, draws)
    resampled: Floats  # (resamples, sizes, draws): the same on rows drawn with replacement
    pool: int  # all labels, of which those of a draw are a part
    models: int = 1  # of each size and draw, with labels of their own, of which the error is the mean


def work(rows: Labelled, draws: int, seed: int) -> int:
    """Return the number of rows on which `probed` fits probes, all together, for a progress bar."""
    return sum(_sizes(rows, seed)) * len(_folds(rows, seed)) * draws


def probed(
    rows: Labelled,
    figure: str,
    draws: int,
    resamples: int,
    seed: int,
    advance: Callable[[int], object] = lambda count: None,
) -> Curve:
    """Measure the curve of probes on nested stratified subsets, by cross-validation.

    The rows of a fold are measured by probes of subsets of the others, so all rows are measured at each
    number of labels. Validation alone is often too small to see a gain of one point.

    Args:
        rows: features and labels.
        figure: `accuracy` or another of `metrics.figures` that needs no probabilities.
        draws: of folds and subsets.
        resamples: of the rows, the same for all points.
        seed: of draws and resamples.
        advance: called with the rows of each fit.
    """
    sizes = _sizes(rows, seed)
    answers = np.empty((len(sizes), draws, len(rows.labels)), np.int64)
    for draw in range(draws):
        for others, scored in _folds(rows, seed + draw):
            order = others[subsets.order(rows.labels[others], seed + draw)]
            for place, size in enumerate(sizes):
                made = fitted(rows, np.sort(order[:size]), seed)
                answers[place, draw, scored] = made.logits(rows.features[scored]).argmax(axis=1)
                advance(size)
    found = of_answers(sizes, answers, rows.labels, rows.classes, figure, resamples, seed)
    return replace(found, pool=len(rows.labels), models=len(_folds(rows, seed)))


def _folds(rows: Labelled, seed: int) -> list[subset.Fold]:
    return subset.folds(rows.labels, rows.units, FOLDS, seed)


def _sizes(rows: Labelled, seed: int) -> list[int]:
    """Return the sizes of the subsets; the rows beside a fold are nearly as many in each draw."""
    least = min((len(others) for others, _ in _folds(rows, seed)), default=0)
    return subsets.sizes(least, rows.classes)


def of_answers(
    sizes: Sequence[int],
    answers: Integers,
    true: Integers,
    classes: int,
    figure: str,
    resamples: int,
    seed: int,
) -> Curve:
    """Return the curve of predicted classes, `answers` (sizes, draws, rows), of rows whose labels are `true`.

    The labels of the last size are all there are.
    """
    errors = np.empty(answers.shape[:2])
    resampled = np.empty((resamples, *errors.shape))
    made, sums = {}, {}
    for place in np.ndindex(errors.shape):
        made[place] = metrics.statistics(true, answers[place], classes, None, metrics.BINS)
        sums[place] = np.asarray(made[place].sum(axis=0))
        errors[place] = 1 - metrics.figures(sums[place], classes)[figure]
    for block, counts in _resamples(len(true), resamples, seed):
        for place, statistics in made.items():
            found = metrics.figures(counts @ statistics, classes, sums[place])[figure]
            resampled[(block, *place)] = 1 - found
    return Curve(tuple(sizes), errors, resampled, max(sizes, default=0))


def of_scores(scores: Mapping[tuple[int, int], Any], resamples: int, seed: int) -> Curve:
    """Return the curve of trained models.

    Args:
        scores: (labels, seed) -> (rows,) of test, whose mean is the figure. Models of one seed have the same
            rows.
        resamples: of these rows, the same for all models of a seed.
        seed: of the resamples.
    """
    sizes, draws = sorted({own[0] for own in scores}), sorted({own[1] for own in scores})
    errors = np.empty((len(sizes), len(draws)))
    resampled = np.empty((resamples, *errors.shape))
    for column, draw in enumerate(draws):
        rows = np.stack([np.asarray(scores[size, draw], np.float64) for size in sizes])  # (sizes, rows)
        errors[:, column] = 1 - rows.mean(axis=1)
        for block, counts in _resamples(rows.shape[1], resamples, seed):
            resampled[block, :, column] = 1 - counts @ rows.T / rows.shape[1]
    return Curve(tuple(sizes), errors, resampled, sizes[-1])


def _resamples(rows: int, resamples: int, seed: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield blocks of resamples: their places, and how often each row is in each, (block, rows)."""
    draw = np.random.default_rng(seed)
    for start in range(0, resamples, AT_ONCE):
        block = slice(start, min(start + AT_ONCE, resamples))
        found = np.empty((block.stop - start, rows), np.float32)
        for own in found:
            own[:] = np.bincount(draw.integers(0, rows, rows), minlength=rows)
        yield block, found
