"""Metrics against scikit-learn and against values computed by hand."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
    recall_score,
    top_k_accuracy_score,
)

from baton.errors import DataError
from baton.evaluate.calibration import reliability
from baton.tasks import metrics

BARE = {"accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "mcc"}  # need no probabilities


def sample(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)).astype(np.float32)
    logits[np.arange(rows), labels] += 1
    return logits, labels


# With 7 rows and 20 classes, most classes do not occur.
@pytest.mark.parametrize(("rows", "classes"), [(500, 8), (7, 20), (300, 2)])
def test_as_scikit_learn(rows: int, classes: int) -> None:
    logits, labels = sample(rows, classes)
    got = metrics.scores(logits, labels)
    predicted, p = logits.argmax(1), np.exp(metrics.log_probabilities(logits))
    assert got["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert got["macro_f1"] == pytest.approx(
        f1_score(labels, predicted, average="macro", labels=np.unique(labels))
    )
    assert got["balanced_accuracy"] == pytest.approx(
        recall_score(labels, predicted, average="macro", labels=np.unique(labels))
    )
    assert got["mcc"] == pytest.approx(matthews_corrcoef(labels, predicted))
    assert got["weighted_f1"] == pytest.approx(f1_score(labels, predicted, average="weighted"))
    assert got["log_loss"] == pytest.approx(log_loss(labels, p, labels=range(classes)))
    assert got["brier"] == pytest.approx(
        brier_score_loss(labels, p, labels=list(range(classes)), scale_by_half=False)
    )


def test_the_classes_of_macro_f1_are_those_with_rows() -> None:
    """100 rows with one mistake, predicted as the other class or as a class without rows.

    Averaging over the predicted classes too gave 0.990 against 0.663.
    """
    labels = np.arange(100) % 2
    other, absent = labels.copy(), labels.copy()
    other[0], absent[0] = 1, 2
    figures = [
        metrics.figures(metrics.statistics(labels, one, 3, None, 15).sum(axis=0), 3)
        for one in (other, absent)
    ]
    assert [float(own["macro_f1"]) for own in figures] == pytest.approx(
        [(98 / 99 + 100 / 101) / 2, (98 / 99 + 1) / 2]
    )
    assert f1_score(labels, absent, average="macro") == pytest.approx(0.663, abs=5e-4)  # the control
    assert [float(own["balanced_accuracy"]) for own in figures] == pytest.approx(
        [balanced_accuracy_score(labels, other)] * 2
    )


def test_a_resample_keeps_the_classes() -> None:
    """A class that a resample neither draws nor predicts counts with its F1 over all rows."""
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 2])
    rows = metrics.statistics(labels, predicted, 4, None, 15)
    whole = rows.sum(axis=0)
    f1 = [4 / 5, 4 / 5, 1]
    assert metrics.figures(whole, 4)["macro_f1"] == pytest.approx(np.mean(f1))
    drawn = np.array([[2, 2, 2, 0, 0, 0], [0, 0, 0, 3, 3, 0], [1, 1, 1, 1, 1, 1]]) @ rows
    got = metrics.figures(drawn, 4, whole)
    # First: class 0 has 4 hits, 4 predicted, 6 actual; class 1 has no hit, 2 predicted, no row.
    # Second: class 1 is right, the others are absent.
    assert got["macro_f1"] == pytest.approx([(8 / 10 + 0 + f1[2]) / 3, (f1[0] + 1 + f1[2]) / 3, np.mean(f1)])
    assert got["balanced_accuracy"] == pytest.approx(
        [(4 / 6 + 1 + 1) / 3, (2 / 3 + 1 + 1) / 3, (2 / 3 + 1 + 1) / 3]
    )


def test_correlation_without_two_classes_is_0() -> None:
    rows = metrics.statistics(np.array([0, 1, 1]), np.array([1, 1, 1]), 2, None, 15)
    assert metrics.figures(rows.sum(axis=0), 2)["mcc"] == 0


def test_by_hand() -> None:
    logits = np.log([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.7, 0.3]])
    labels = np.array([0, 1, 1, 0])  # the second row is wrong, with confidence 0.6
    got = metrics.scores(logits, labels, bins=5)
    assert got["accuracy"] == 0.75
    assert got["macro_f1"] == pytest.approx(
        (4 / 5 + 2 / 3) / 2
    )  # class 0: 2 hits of 3 predicted, 2 actual; class 1: 1 of 1, 2 actual
    assert got["log_loss"] == pytest.approx(-np.log([0.8, 0.4, 0.9, 0.7]).mean())
    assert got["brier"] == pytest.approx(2 * np.array([0.2**2, 0.6**2, 0.1**2, 0.3**2]).mean())
    # bins (0.4, 0.6], (0.6, 0.8], (0.8, 1]: gaps 0.6 - 0, 1 - 0.75, 1 - 0.9 with 1, 2 and 1 rows
    assert got["ece"] == pytest.approx((0.6 + 2 * 0.25 + 0.1) / 4)


def test_a_bin_holds_its_upper_edge() -> None:
    assert metrics.bin_of(np.array([0.0, 0.2, 0.2001, 0.5, 1.0]), 5).tolist() == [0, 0, 1, 2, 4]


def test_huge_logits_stay_finite() -> None:
    got = metrics.scores(np.array([[1e30, -1e30], [5.0, 5.0]], np.float32), np.array([1, 0]))
    assert got["log_loss"] == pytest.approx((-metrics.FLOOR + np.log(2)) / 2)


def test_figures_of_sums_equal_figures_of_the_repeated_rows() -> None:
    """The basis of the bootstrap: counting a row twice equals repeating it."""
    logits, labels = sample(60, 4)
    counts = np.random.default_rng(1).integers(0, 3, 60)
    log_p = metrics.log_probabilities(logits)
    sums = counts @ metrics.statistics(labels, logits.argmax(1), 4, log_p, 15)
    repeated = metrics.scores(np.repeat(logits, counts, axis=0), np.repeat(labels, counts))
    assert {name: float(value) for name, value in metrics.figures(sums, 4).items()} == pytest.approx(repeated)


def test_without_probabilities_there_is_no_figure_of_them() -> None:
    labels = np.array([0, 1, 2])
    sums = metrics.statistics(labels, np.array([0, 1, 1]), 3, None, 15).sum(axis=0)
    assert set(metrics.figures(sums, 3)) == BARE


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([[0.0, np.nan]], [0], "not finite"),
        ([[0.0, 1.0]], [2], "not a class"),
        ([[0.0, 1.0]], [-1], "not a class"),
        ([[0.0, 1.0]], [0, 1], "do not match"),
        (np.zeros((0, 2)), np.zeros(0, int), "do not match"),
    ],
)
def test_what_has_no_figures_is_refused(logits: object, labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        metrics.scores(logits, labels)  # type: ignore[arg-type]


def test_top5_is_scikit_learns_and_only_with_many_classes() -> None:
    generator = np.random.default_rng(1)
    logits, labels = generator.normal(size=(300, 12)), generator.integers(0, 12, 300)
    got = metrics.scores(logits, labels)
    assert got["top5_accuracy"] == pytest.approx(
        top_k_accuracy_score(labels, logits, k=5, labels=np.arange(12))
    )
    assert got["accuracy"] < got["top5_accuracy"] < 1
    assert "top5_accuracy" not in metrics.scores(logits[:, :10], np.minimum(labels, 9))
    ours = {name for name in got if name != "top5_accuracy"}
    assert got["ece"] == pytest.approx(
        reliability(labels, logits.argmax(1), metrics.log_probabilities(logits), metrics.BINS).ece
    )
    assert ours == set(metrics.scores(logits[:, :10], np.minimum(labels, 9)))


def test_of_equal_classes_the_first_are_the_top_five() -> None:
    equal = np.zeros((12, 12))
    assert metrics.scores(equal, np.arange(12))["top5_accuracy"] == pytest.approx(5 / 12)
    assert metrics.scores(equal, np.full(12, 4))["top5_accuracy"] == 1
    assert metrics.scores(equal, np.full(12, 5))["top5_accuracy"] == 0


def test_without_probabilities_there_is_no_top_five() -> None:
    rows = metrics.statistics(np.arange(12), np.arange(12), 12, None, 15)
    assert set(metrics.figures(rows.sum(axis=0), 12)) == BARE
