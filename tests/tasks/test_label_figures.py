"""Figures and answers of several labels per row against scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, log_loss

from baton.contracts.task_spec import Labels
from baton.errors import DataError
from baton.tasks import label_thresholds, task_figures

FIGURES = task_figures.of(Labels(("a", "b", "ç", "d")))


def rows(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    true = (random.random((count, 4)) < [0.5, 0.2, 0.05, 0.0]).astype(np.float32)  # nobody has the last
    return (2 * true - 1 + 1.5 * random.normal(size=true.shape)).astype(np.float32), true


def test_validation_figures_are_those_of_scikit_learn() -> None:
    logits, true = rows()
    found = FIGURES.scores(logits, true)
    predicted = np.zeros(true.shape, bool)  # by thresholds of the other half of the rows
    for own, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        predicted[own] = logits[own] >= label_thresholds.fit(
            logits[other].astype(np.float64), true[other] > 0
        )
    assert list(found) == list(FIGURES.directions) and FIGURES.main in found
    assert found["micro_f1"] == pytest.approx(f1_score(true, predicted, average="micro"), abs=1e-12)
    own = f1_score(true, predicted, average=None, zero_division=0)[:3]
    assert found["macro_f1"] == pytest.approx(own.mean(), abs=1e-12)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = np.mean([log_loss(true[:, k], p[:, k], labels=[0, 1]) for k in range(4)])
    assert found["loss"] == pytest.approx(expected, abs=1e-9)


def test_nothing_predicted_and_nothing_there_is_no_f1() -> None:
    found = FIGURES.scores(np.full((3, 4), -1.0), np.zeros((3, 4)))
    assert found["micro_f1"] == found["macro_f1"] == 0.0 and found["loss"] == pytest.approx(
        np.log1p(np.exp(-1))
    )


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_scale(scale: float) -> None:
    random = np.random.default_rng(2)
    logits = random.normal(size=(4000, 4)) * 2
    true = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    assert FIGURES.fitted(scale * logits, true)["temperature"] == pytest.approx(scale, rel=0.05)
    p = FIGURES.probabilities(logits, 2.0)
    assert p == pytest.approx(1 / (1 + np.exp(-logits / 2)))


def test_thresholds_are_fitted_and_decide_the_answer() -> None:
    logits, true = rows(2000)
    fitted = FIGURES.fitted(logits, true)
    assert list(fitted) == ["temperature", "thresholds"] and len(fitted["thresholds"]) == 4
    assert all(isinstance(value, float) and 0 < value < 1 for value in fitted["thresholds"])
    p = 1 / (1 + np.exp(-logits.astype(np.float64) / fitted["temperature"]))
    expected = [[n for n, own in zip("abçd", row, strict=True) if own] for row in p >= fitted["thresholds"]]
    assert [json.loads(cell) for cell in FIGURES.answer(logits, fitted, None)["labels"]] == expected
    half = FIGURES.answer(logits, {"temperature": 1.3}, None)["labels"]
    assert [json.loads(cell) for cell in half] != expected, "models of earlier versions decide at 1/2"
    shown = FIGURES.output(fitted)
    assert f"thresholds {min(fitted['thresholds']):.3g} to {max(fitted['thresholds']):.3g}" in shown


def test_an_answer_names_the_labels_and_all_probabilities() -> None:
    p = np.array([[0.9, 0.5, 0.1, 0.2], [0.1, 0.2, 0.3, 0.4]])
    found = FIGURES.of_probabilities(p, pd.Index(["x", "y"]))
    assert found.index.tolist() == ["x", "y"] and list(found) == list(FIGURES.columns)
    assert [json.loads(cell) for cell in found["labels"]] == [["a", "b"], []]
    assert found["probability_ç"].tolist() == [0.1, 0.3]
    assert len(FIGURES.answer(np.zeros((0, 4)), {}, None)) == 0


@pytest.mark.parametrize(
    ("logits", "true", "message"),
    [
        (np.zeros((2, 4)), np.zeros((3, 4)), "do not match"),
        (np.zeros((0, 4)), np.zeros((0, 4)), "do not match"),
        (np.full((1, 4), np.nan), np.zeros((1, 4)), "not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(logits: np.ndarray, true: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        FIGURES.scores(logits, true)
