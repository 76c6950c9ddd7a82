"""Temperatures known from a closed form, from how labels were drawn, and from scikit-learn."""

import numpy as np
import pytest
from numpy.typing import NDArray

from baton.errors import DataError
from baton.tasks import metrics, temperature

Drawn = tuple[NDArray[np.float64], NDArray[np.int64]]


def drawn(rows: int, true: float, classes: int = 4, seed: int = 0) -> Drawn:
    """Return logits, and labels drawn from their softmax at the temperature `true`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 4, (rows, classes))
    p = np.exp(metrics.log_probabilities(logits / true))
    return logits, (p.cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1).clip(max=classes - 1)


@pytest.mark.parametrize(("gap", "right"), [(4.0, 0.9), (0.3, 0.8), (2.0, 0.6)])
def test_of_one_gap_it_is_the_closed_form(gap: float, right: float) -> None:
    """Every row has the logits (gap, 0), and a given share of rows is correct.

    1 / (1 + exp(-gap / T)) equals that share for T = gap / log-odds.
    """
    rows = 100_000
    logits, labels = np.tile([gap, 0.0], (rows, 1)), (np.arange(rows) >= right * rows).astype(np.int64)
    assert temperature.fit(logits, labels) == pytest.approx(gap / np.log(right / (1 - right)), rel=1e-3)


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5])
def test_it_finds_what_the_labels_were_drawn_at(true: float) -> None:
    logits, labels = drawn(40_000, true)
    assert temperature.fit(logits, labels) == pytest.approx(true, rel=0.03)


def test_it_is_scikit_learns() -> None:
    """Compare with an independent implementation.

    It is `CalibratedClassifierCV(method="temperature")`, for a classifier whose decision values are the
    logits.
    """
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV

    class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """A classifier that returns its input as decision values."""

        def fit(self, logits: NDArray[np.float64], labels: NDArray[np.int64]) -> "Given":
            self.classes_ = np.unique(labels)
            return self

        def decision_function(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
            return logits

        def predict(self, logits: NDArray[np.float64]) -> NDArray[np.int64]:
            return logits.argmax(axis=1)

    logits, labels = drawn(20_000, 1.7)
    theirs = CalibratedClassifierCV(Given(), method="temperature", ensemble=False).fit(logits, labels)
    ours = np.exp(temperature.scale(logits, temperature.fit(logits, labels)))
    assert theirs.predict_proba(logits) == pytest.approx(ours, abs=2e-4)


def test_a_scale_is_undone_and_log_probabilities_do_as_well() -> None:
    logits, labels = drawn(5_000, 1.0)
    once = temperature.fit(logits, labels)
    assert temperature.fit(5 * logits, labels) == pytest.approx(5 * once, rel=0.01)
    assert temperature.fit(metrics.log_probabilities(logits), labels) == pytest.approx(once, rel=1e-4)


@pytest.mark.parametrize("rows", [1, 10, 1000])
def test_rows_that_are_all_right_do_not_claim_certainty(rows: int) -> None:
    """With logits (8, 0) and one extra, half-correct row, the claim is (rows + 1/2) / (rows + 1).

    Without that row T would be 0.
    """
    claimed = np.exp(
        temperature.scale(
            np.array([[8.0, 0.0]]), temperature.fit(np.tile([8.0, 0.0], (rows, 1)), np.zeros(rows, np.int64))
        )
    )
    assert claimed[0, 0] == pytest.approx((rows + 0.5) / (rows + 1), rel=1e-5)


def test_many_classes_that_are_all_right_too() -> None:
    logits, _ = drawn(500, 1.0)
    scaled = temperature.scale(logits, temperature.fit(logits, logits.argmax(axis=1)))
    assert 1 / 1000 < 1 - np.exp(scaled.max(axis=1)).mean() < 1 / 20


def test_the_order_of_classes_stays_and_probabilities_sum_to_one() -> None:
    logits, _ = drawn(100, 1.0)
    for value in (0.05, 1.0, 40.0):
        scaled = temperature.scale(logits, value)
        assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()
        assert np.exp(scaled).sum(axis=1) == pytest.approx(1)
    assert temperature.scale(logits, 1.0) == pytest.approx(metrics.log_probabilities(logits))


def test_it_is_deterministic_and_refuses_what_has_none() -> None:
    logits, labels = drawn(300, 2.0)
    assert temperature.fit(logits, labels) == temperature.fit(logits.copy(), labels.copy())
    with pytest.raises(DataError, match="do not match the labels"):
        temperature.fit(logits[:0], labels[:0])
    with pytest.raises(DataError, match="not finite"):
        temperature.fit(np.where(logits > 3, np.inf, logits), labels)
