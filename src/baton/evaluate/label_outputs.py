"""The outputs of a model that gives each row any number of labels, and their figures as functions of sums.

As for classes (`tasks.metrics`), every figure is a function of sums of per-row statistics, so that all rows
and each resample share one code path.

Inputs: logits (n, labels), targets (n, labels) 0 or 1 -> micro_f1, macro_f1, samples_f1, subset_accuracy,
hamming_loss, log_loss, coverage_error, ranking_loss.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.tasks import label_figures
from baton.tasks.answers import probabilities
from baton.tasks.label_figures import THRESHOLD, Thresholds
from baton.tasks.metrics import Statistics, counts, per_class

Floats = NDArray[np.float64]

LARGEST = -float(np.log(np.finfo(np.float64).eps))  # of |logit| of a probability of 0 or 1
# The last columns of `statistics`.
ROW = ("samples_f1", "exact", "log_loss", "coverage_error", "ranking_loss", "rows")


@dataclass(frozen=True)
class LabelOutputs:
    """A model's outputs for n rows."""

    logits: Floats  # (n, labels), as trained
    temperature: float = 1.0  # fitted on validation, as are the thresholds
    thresholds: Thresholds = THRESHOLD
    C: float | None = None  # of a linear baseline, chosen on validation

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """The labels whose probability reaches their threshold, (n, labels)."""
        return np.asarray(self.probabilities >= np.asarray(self.thresholds))

    @property
    def scaled(self) -> Floats:
        """Logits at the temperature, as served, (n, labels)."""
        return self.logits / self.temperature

    @property
    def probabilities(self) -> Floats:
        """Probabilities at the temperature, (n, labels)."""
        return label_figures.sigmoid(self.scaled)


@dataclass(frozen=True)
class Served(LabelOutputs):
    """What a served model answered for n rows; it has decided by thresholds of its own."""

    decided: NDArray[np.bool_] | None = None  # (n, labels)

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """The labels in the model's answers, (n, labels)."""
        assert self.decided is not None
        return self.decided


def of_answers(names: Sequence[str], answers: pd.DataFrame, column: str) -> Served:
    """Return the outputs of a served model; a label of `names` that it does not know is never predicted."""
    places = {name: place for place, name in enumerate(names)}
    decided = np.zeros((len(answers), len(names)), bool)
    for row, cell in enumerate(answers[column]):
        decided[row, [places[name] for name in json.loads(cell) if name in places]] = True
    return Served(of_probabilities(probabilities(names, answers)), decided=decided)


def of_probabilities(p: Floats) -> Floats:
    """Return logits of probabilities, which may be 0 or 1."""
    with np.errstate(divide="ignore"):
        logits = np.log(p) - np.log1p(-p)
    return np.asarray(np.clip(logits, -LARGEST, LARGEST))


def mistakes(targets: NDArray[Any], outputs: LabelOutputs) -> tuple[NDArray[np.int64], Floats]:
    """Return positions of rows with a wrong decision, the most confident first, and confidences.

    Those are the probabilities of what was decided, (n, labels); 0 where the decision is right.
    """
    predicted, p = outputs.predicted, outputs.probabilities
    sure = np.where((targets > 0) != predicted, np.where(predicted, p, 1 - p), 0)
    most = sure.max(axis=1)  # (n,)
    wrong = np.flatnonzero(most > 0)
    return wrong[np.argsort(-most[wrong], kind="stable")], sure


def samples_f1(targets: NDArray[Any], predicted: NDArray[np.bool_]) -> Floats:
    """Return the F1 of each row's labels, (n,); a row without true and predicted labels counts as 1."""
    actual = targets > 0
    hit, both = (actual & predicted).sum(axis=1), actual.sum(axis=1) + predicted.sum(axis=1)
    return np.where(both > 0, 2 * hit / np.maximum(both, 1), 1.0)


def losses(targets: NDArray[Any], logits: Floats) -> Floats:
    """Return each row's mean over labels of the binary cross-entropy, (n,), in nats."""
    return np.asarray(label_figures.losses(logits, targets).mean(axis=1))


def ranks(targets: NDArray[Any], scores: Floats) -> tuple[Floats, Floats]:
    """Return each row's coverage error and ranking loss, both (n,), as scikit-learn defines them.

    A row without labels has a coverage error of 0 (Tsoumakas, Katakis and Vlahavas 2010, Mining multi-label
    data).
    """
    from scipy.stats import rankdata

    actual = targets > 0
    reached = rankdata(-scores, method="max", axis=1)  # labels at least as probable as each, with itself
    own = rankdata(np.where(actual, -scores, np.inf), method="max", axis=1)  # those of the row among them
    wrong = np.where(actual, reached - own, 0).sum(axis=1)
    pairs = actual.sum(axis=1) * (~actual).sum(axis=1)
    coverage = np.where(actual, reached, 0).max(axis=1)
    return coverage.astype(np.float64), wrong / np.maximum(pairs, 1)


def statistics(targets: NDArray[Any], outputs: LabelOutputs) -> Statistics:
    """Return the per-row statistics whose sums `figures` reads, (n, 3 * labels + 6), sparse.

    Columns: labels that are hit, predicted and actual, as in `metrics.counts`; then those of `ROW`: F1 of the
    row, whether its labels are exactly right, log loss at the temperature, those of `ranks`, and 1.
    """
    from scipy.sparse import csr_array, hstack

    actual, predicted = targets > 0, outputs.predicted
    row = np.stack(
        [
            samples_f1(targets, predicted),
            (actual == predicted).all(axis=1),
            losses(targets, outputs.scaled),
            *ranks(targets, outputs.logits),
            np.ones(len(targets)),
        ],
        axis=1,
    )
    parts = [np.asarray(part, np.float64) for part in (actual & predicted, predicted, actual)]
    return hstack([*(csr_array(part) for part in parts), csr_array(row)], format="csr")


def figures(sums: Floats, labels: int, whole: Floats | None = None) -> dict[str, Floats]:
    """Return the figures for sums (..., columns of `statistics`); each value has the leading shape of `sums`.

    - micro_f1: F1 of all decisions together; 0 if there is no label and none is predicted.
    - macro_f1: mean of the labels' F1, over labels with a row in the test split.
    - samples_f1: mean of the rows' F1; a row without true and predicted labels counts as 1.
    - subset_accuracy: share of rows whose labels are exactly right.
    - hamming_loss: share of wrong decisions on a label.
    - coverage_error: mean over rows of how many labels, the most probable first, hold all of the row's.
    - ranking_loss: mean over rows of the share of pairs of a label that the row has and one that it lacks, of
      which the latter is at least as probable; 0 without such a pair.
    - log_loss: mean over rows and labels of the binary cross-entropy, in nats.

    If `sums` are those of resamples, `whole` (columns) are the sums over all rows, as in `metrics.figures`.
    """
    hit, chosen, actual = counts(sums, labels)
    row = dict(zip(ROW, np.moveaxis(sums[..., 3 * labels :], -1, 0), strict=True))
    both = (chosen + actual).sum(axis=-1)
    present = actual > 0 if whole is None else counts(whole, labels)[2] > 0
    f1 = per_class(sums, labels)["f1"]
    if whole is not None:
        f1 = np.where(np.isnan(f1), per_class(whole, labels)["f1"], f1)
    return {
        "micro_f1": 2 * hit.sum(axis=-1) / np.maximum(both, 1),
        "macro_f1": np.where(present, f1, 0).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1),
        "samples_f1": row["samples_f1"] / row["rows"],
        "subset_accuracy": row["exact"] / row["rows"],
        "hamming_loss": (chosen + actual - 2 * hit).sum(axis=-1) / (row["rows"] * labels),
        "log_loss": row["log_loss"] / row["rows"],
        "coverage_error": row["coverage_error"] / row["rows"],
        "ranking_loss": row["ranking_loss"] / row["rows"],
    }
