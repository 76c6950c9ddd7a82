"""Figures, intervals and answers of numbers against scikit-learn and SciPy."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from baton.contracts.task_spec import Numbers
from baton.errors import DataError
from baton.tasks import number_figures, number_metrics, task_figures

SPEC = Numbers(("a", "ç"), (10.0, -2.0), (4.0, 0.5), "smooth_l1", 0.9)
FIGURES = number_figures.NumberFigures(SPEC)
Floats = NDArray[np.float64]


def rows(count: int = 200, seed: int = 0) -> tuple[NDArray[np.float32], Floats]:
    """Return logits, and targets of which many are equal, so that ranks have ties."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, 2)).astype(np.float32)
    own = np.round(FIGURES.values(logits) + random.normal(size=(count, 2)) * [3, 0.4], 1)
    return logits, own


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_scikit_learn_and_scipy(seed: int) -> None:
    logits, true = rows(seed=seed)
    values = FIGURES.values(logits)
    np.testing.assert_allclose(values, np.array([10.0, -2.0]) + np.array([4.0, 0.5]) * logits.astype(float))
    found = FIGURES.scores(logits, true)
    assert list(found) == list(FIGURES.directions) and FIGURES.main in found
    scaled = true / SPEC.scale, values / SPEC.scale  # errors of several numbers count in deviations
    assert found["mae"] == pytest.approx(mean_absolute_error(*scaled), abs=1e-9)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(*scaled), abs=1e-9)
    assert found["r2"] == pytest.approx(r2_score(true, values), abs=1e-9)
    ranks = [spearmanr(true[:, k], values[:, k]).statistic for k in range(2)]
    assert found["spearman"] == pytest.approx(np.mean(ranks), abs=1e-9)
    linear = [pearsonr(true[:, k], values[:, k]).statistic for k in range(2)]
    np.testing.assert_allclose(number_metrics.pearson(true, values), linear, atol=1e-9)
    # Each number alone.
    each = r2_score(true, values, multioutput="raw_values")
    np.testing.assert_allclose(number_metrics.r2(true, values), each, atol=1e-9)


@pytest.mark.parametrize("loss", ["smooth_l1", "mse"])
def test_the_loss_is_torchs_of_standardised_numbers(loss: str) -> None:
    import torch
    from torch.nn import functional

    logits, true = rows()
    spec = Numbers(SPEC.names, SPEC.centre, SPEC.scale, loss, 0.9)  # type: ignore[arg-type]
    own = torch.from_numpy(logits.astype(np.float64))
    wanted = (torch.from_numpy(true) - torch.tensor(SPEC.centre)) / torch.tensor(SPEC.scale)
    fit = functional.smooth_l1_loss if loss == "smooth_l1" else functional.mse_loss
    found = number_figures.NumberFigures(spec).scores(logits, true)["loss"]
    assert found == pytest.approx(float(fit(own, wanted)), abs=1e-9)


def test_constant_numbers_have_the_figures_of_scikit_learn_and_no_order() -> None:
    true, values = np.full((5, 1), 3.0), np.arange(5.0)[:, None]
    assert number_metrics.r2(true, true)[0] == r2_score(true, true) == 1.0
    assert number_metrics.r2(true, values)[0] == r2_score(true, values) == 0.0
    assert number_metrics.spearman(true, values)[0] == number_metrics.pearson(values, true)[0] == 0.0


def test_the_half_width_is_the_order_statistic_of_split_conformal_prediction() -> None:
    """Lei et al. 2018: of n residuals the ceil((n + 1)(1 - alpha))-th smallest."""
    residuals = np.random.default_rng(0).permutation(np.arange(1.0, 20.0))  # 1 to 19
    assert number_figures.half_width(residuals, 0.9) == 18
    # 100 * 0.55 is 55.00000000000001 in binary.
    assert number_figures.half_width(np.arange(1.0, 100.0), 0.55) == 55
    assert number_figures.half_width(residuals, 0.95) == 19
    assert number_figures.half_width(residuals, 0.96) is None, "19 rows cannot bound 96%"
    assert number_figures.half_width(np.zeros(0), 0.5) is None
    for rows_, coverage in ((9, 0.9), (8, 0.9), (99, 0.99), (98, 0.99)):
        bounded = number_figures.half_width(np.arange(float(rows_)), coverage) is not None
        assert bounded == (rows_ >= round(coverage / (1 - coverage)))


def test_intervals_cover_new_rows_as_often_as_wanted() -> None:
    """Over many draws of 30 validation rows and one new row, 90% are covered, and not 95%."""
    random, hits = np.random.default_rng(1), 0
    for _ in range(4000):
        drawn = np.abs(random.standard_cauchy(31))  # the guarantee needs no variance
        half = number_figures.half_width(drawn[:30], 0.9)
        hits += half is not None and drawn[30] <= half
    low = math.ceil(31 * 0.9) / 31  # exact for continuous residuals: 28 / 31
    assert hits / 4000 == pytest.approx(low, abs=0.015)


def test_an_answer_has_each_number_and_its_interval() -> None:
    logits, true = rows(50)
    fitted = FIGURES.fitted(logits, true)
    answer = FIGURES.answer(logits[:3], fitted, pd.Index(["x", "y", "z"]))
    assert list(answer) == list(FIGURES.columns) == ["a", "a_low", "a_high", "ç", "ç_low", "ç_high"]
    assert answer.index.tolist() == ["x", "y", "z"]
    np.testing.assert_allclose(answer[["a", "ç"]].to_numpy(), FIGURES.values(logits[:3]))
    half = np.sort(np.abs(FIGURES.values(logits) - true), axis=0)[math.ceil(51 * 0.9) - 1]
    assert fitted == {"quantiles": half.tolist()}
    np.testing.assert_allclose((answer["ç_high"] - answer["ç_low"]) / 2, half[1])
    assert FIGURES.said(answer) == FIGURES.texts(FIGURES.values(logits[:3]))
    assert len(FIGURES.answer(np.zeros((0, 2), np.float32), fitted, None)) == 0


def test_too_few_validation_rows_give_infinite_intervals() -> None:
    logits, true = rows(8)
    fitted = FIGURES.fitted(logits, true)
    assert fitted == {"quantiles": [None, None]}
    answer = FIGURES.answer(logits, fitted, None)
    assert (answer["a_high"] == number_figures.LARGEST).all() and (
        answer["a_low"] == -number_figures.LARGEST
    ).all()
    assert np.isfinite(answer["a"]).all()
    assert "`a` ± infinity" in FIGURES.output(fitted)


def test_columns_of_other_numbers_do_not_fit() -> None:
    figures = task_figures.of(SPEC)
    assert figures.misfit(pd.DataFrame(columns=[*figures.columns])) is None
    misfit = figures.misfit(pd.DataFrame(columns=["a", "a_low", "a_high", "b"]))
    assert misfit and not misfit.comparable and misfit.text == "no ç, no ç_high, no ç_low, unexpected b"


@pytest.mark.parametrize(
    ("logits", "true", "message"),
    [
        (np.zeros((2, 2)), np.zeros((3, 2)), "predictions do not match the numbers"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "predictions do not match the numbers"),
        (np.full((2, 2), np.nan), np.zeros((2, 2)), "logits are not finite"),
    ],
)
def test_what_has_no_figures_is_refused(logits: Floats, true: Floats, message: str) -> None:
    with pytest.raises(DataError, match=message):
        FIGURES.scores(logits, true)
