"""Accuracies under corruption: means of hits, paired intervals, one row per point."""

import numpy as np
import pytest

from baton import params
from baton.evaluate.proportions import wilson
from baton.evaluate.robustness import COLUMNS, Measured, Robustness
from baton.evaluate.significance import Bootstrap
from baton.tasks.metrics import statistics

STRENGTHS = {"noise": [0.1, 0.2], "blur": [1.0, 2.0]}
SETTINGS = params.Bootstrap(resamples=500, confidence=0.95, seed=3)


def measured(rows: int = 300) -> Measured:
    generator = np.random.default_rng(0)
    hits = {
        kind: {
            model: generator.random((3, rows)) < np.array([[0.9], [0.8], [low]])
            for model, low in (("teacher", 0.7), ("student", 0.5))
        }
        for kind in STRENGTHS
    }
    return Measured(STRENGTHS, hits, {kind: np.zeros((3, 4, 4, 1), np.uint8) for kind in STRENGTHS})


def test_figures_are_the_means_with_intervals() -> None:
    one = measured()
    figures = Robustness(one, SETTINGS).figures()
    assert figures["rows"] == 300
    for kind in STRENGTHS:
        for model in ("teacher", "student"):
            own = figures[kind]
            assert own[model] == pytest.approx(one.hits[kind][model].mean(axis=1).tolist())
            assert own[f"{model}_mean"] == pytest.approx(np.mean(own[model][1:]))
            for value, (low, high) in zip(
                [*own[model], own[f"{model}_mean"]],
                [*own[f"{model}_interval"], own[f"{model}_mean_interval"]],
                strict=True,
            ):
                assert low < value < high
                assert high - low < 0.14


def test_the_interval_is_that_of_all_other_figures() -> None:
    """With all test rows measured, the interval of the unchanged images is that of accuracy."""
    one = measured()
    hits = one.hits["noise"]["teacher"][0]
    boot = Bootstrap({"m": statistics(np.zeros(300, int), np.where(hits, 0, 1), 2, None, 15)}, 2, SETTINGS)
    assert Robustness(one, SETTINGS).figures()["noise"]["teacher_interval"][0] == pytest.approx(
        boot.figures("m")["accuracy_interval"]
    )


def test_the_mean_is_narrower_than_its_parts() -> None:
    """Severities share rows: hits that vary together do not cancel, others do.

    No interval collapses if everything is right.
    """
    own = np.random.default_rng(0).random(400) < 0.7
    together = Measured(
        {"noise": [0.1, 0.2]},
        {"noise": {"teacher": np.stack([own] * 3)}},
        {"noise": np.zeros((3, 2, 2, 1), np.uint8)},
    )
    figures = Robustness(together, SETTINGS).figures()["noise"]
    assert figures["teacher_mean_interval"] == pytest.approx(figures["teacher_interval"][0])
    apart = np.random.default_rng(1).random((3, 400)) < 0.7
    other = Robustness(
        Measured(together.strengths, {"noise": {"teacher": apart}}, together.examples), SETTINGS
    ).figures()["noise"]
    widths = [high - low for low, high in (other["teacher_mean_interval"], other["teacher_interval"][1])]
    assert 0.65 < widths[0] / widths[1] < 0.85
    perfect = Measured(together.strengths, {"noise": {"teacher": np.ones((3, 400), bool)}}, together.examples)
    assert Robustness(perfect, SETTINGS).figures()["noise"]["teacher_mean_interval"] == pytest.approx(
        np.ravel(wilson(400, 400, 0.95))
    )


def test_the_table_has_a_row_for_each_point() -> None:
    table = Robustness(measured(), SETTINGS).table()
    assert all(len(row) == len(COLUMNS) for row in table)
    assert [row[:4] for row in table[:4]] == [
        ["noise", 0, 0.0, "teacher"],
        ["noise", 1, 0.1, "teacher"],
        ["noise", 2, 0.2, "teacher"],
        ["noise", 0, 0.0, "student"],
    ]
    assert len(table) == 2 * 2 * 3
