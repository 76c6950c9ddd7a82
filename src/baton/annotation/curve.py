"""A learning curve: errors at several numbers of labels, over draws of the labels and resamples of the rows.

Inputs: features and labels of train and validation -> a `Curve`, by probes on nested stratified subsets; or
the scores of test rows of trained models -> a `Curve`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.annotation import subsets
from baton.batches import subset
from baton.tasks import metrics
from baton.train import probe

Floats = NDArray[np.float64]
INNER = 3  # folds that choose a probe's regularisation
AT_ONCE = 64  # resamples


@dataclass(frozen=True)
class Curve:
    """Errors, 1 - figure, at several numbers of labels. The last number is that of all labels."""

    labels: tuple[int, ...]  # ascending
    errors: Floats  # (sizes, draws)
    resampled: Floats  # (resamples, sizes, draws): the same on rows drawn with replacement

    @property
    def all(self) -> int:
        """The number of all labels."""
        return self.labels[-1]

    def up_to(self, labels: float) -> "Curve":
        """Return the points with at most this number of labels."""
        count = sum(own <= labels for own in self.labels)
        return Curve(self.labels[:count], self.errors[:count], self.resampled[:, :count])


@dataclass(frozen=True)
class Labelled:
    """The rows on which probes are fitted and measured."""

    features: NDArray[np.float32]  # (rows, width) of train
    labels: NDArray[np.int64]  # (rows,)
    units: NDArray[np.int64]  # (rows,): rows of one unit stay together in cross-validation
    weights: NDArray[np.float32] | None  # (rows,)
    val_features: NDArray[np.float32]  # (rows of validation, width)
    val_labels: NDArray[np.int64]
    classes: int
    balanced: bool  # whether each class has the same weight


def fitted(rows: Labelled, chosen: NDArray[np.int64], seed: int) -> probe.Probe:
    """Return the probe of the rows of train at `chosen`."""
    labels = rows.labels[chosen]
    weights = None if rows.weights is None else rows.weights[chosen]
    cuts = subset.folds(labels, rows.units[chosen], INNER, seed)
    return probe.fit(rows.features[chosen], labels, rows.classes, rows.balanced, cuts, weights)


def work(rows: Labelled, draws: int) -> int:
    """Return the number of rows on which `probed` fits probes, all together, for a progress bar."""
    *some, whole = subsets.sizes(len(rows.labels), rows.classes)
    return draws * sum(some) + whole


def probed(
    rows: Labelled,
    figure: str,
    draws: int,
    resamples: int,
    seed: int,
    advance: Callable[[int], object] = lambda count: None,
) -> Curve:
    """Measure the curve of probes on nested stratified subsets, on validation.

    Args:
        rows: features and labels.
        figure: `accuracy` or another of `metrics.figures` that needs no probabilities.
        draws: orders of the rows of train; all rows are the same in each.
        resamples: of the rows of validation, the same for all points.
        seed: of draws and resamples.
        advance: called with the rows of each fit.
    """
    sizes = subsets.sizes(len(rows.labels), rows.classes)
    orders = [subsets.order(rows.labels, seed + draw) for draw in range(draws)]
    predicted: dict[tuple[int, int], NDArray[np.int64]] = {}
    for size in sizes:
        for draw in range(draws if size < len(rows.labels) else 1):
            made = fitted(rows, np.sort(orders[draw][:size]), seed)
            predicted[size, draw] = made.logits(rows.val_features).argmax(axis=1)
            advance(size)
    answers = [[predicted.get((size, draw), predicted[size, 0]) for draw in range(draws)] for size in sizes]
    return of_answers(sizes, answers, rows.val_labels, rows.classes, figure, resamples, seed)


def of_answers(
    sizes: Sequence[int],
    answers: Sequence[Sequence[NDArray[np.int64]]],
    true: NDArray[np.int64],
    classes: int,
    figure: str,
    resamples: int,
    seed: int,
) -> Curve:
    """Return the curve of predicted classes, `answers[size][draw]` (rows,), whose labels are `true`."""
    counts = _counts(len(true), resamples, seed)
    errors = np.empty((len(sizes), len(answers[0])))
    resampled = np.empty((resamples, *errors.shape))
    for place in np.ndindex(errors.shape):
        statistics = metrics.statistics(true, answers[place[0]][place[1]], classes, None, metrics.BINS)
        whole = np.asarray(statistics.sum(axis=0))
        errors[place] = 1 - metrics.figures(whole, classes)[figure]
        for start in range(0, resamples, AT_ONCE):
            sums = counts[start : start + AT_ONCE] @ statistics
            found = metrics.figures(sums, classes, whole)[figure]
            resampled[(slice(start, start + AT_ONCE), *place)] = 1 - found
    return Curve(tuple(sizes), errors, resampled)


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
        resampled[:, :, column] = 1 - _counts(rows.shape[1], resamples, seed) @ rows.T / rows.shape[1]
    return Curve(tuple(sizes), errors, resampled)


def _counts(rows: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """Return how often each row is in each resample, (resamples, rows)."""
    draw = np.random.default_rng(seed)
    found = np.empty((resamples, rows), np.float32)
    for place in range(resamples):
        found[place] = np.bincount(draw.integers(0, rows, rows), minlength=rows)
    return found
