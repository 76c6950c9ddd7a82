"""Several labels per row: figures agree with scikit-learn, intervals and tests have their level."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from baton import params, storage
from baton.contracts import input_spec, predictions, task_spec
from baton.contracts import targets as target_files
from baton.contracts.task_spec import Labels
from baton.evaluate import (
    f1_bootstrap,
    inputs,
    label_outputs,
    label_significance,
    proportions,
    randomisation,
    recommend,
    results,
    task_reports,
)
from baton.evaluate.label_outputs import LabelOutputs
from baton.evaluate.label_reports import LabelReports
from baton.evaluate.report import terminal
from baton.linear.regularisation import TOLERANCE, logistic, svm
from baton.linear.tfidf import vectorize
from baton.tasks import figure_scale, label_thresholds
from baton.tasks.label_figures import LabelFigures, sigmoid
from stages import evaluate
from tests import tiny
from tests.evaluate.conftest import TEMPERATURES, Split, shown_plots, write_models, write_seeds

NAMES = ("mutable", "of text", "«naïve»")
TASK = LabelReports(Labels(NAMES))
THRESHOLDS = [0.3, 0.6, 0.9]
SETTINGS = params.Bootstrap(resamples=400, confidence=0.95, seed=0)
Sample = tuple[NDArray[np.float32], NDArray[np.float32]]


def sample(rows: int = 200, width: int = 3, seed: int = 0, strength: float = 1.0) -> Sample:
    """Return targets and logits (rows, width): some rows have no label, and the last label has no row."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((rows, width)) < [0.5, 0.2, 0.0][:width]).astype(np.float32)
    logits = generator.normal(0, 1.5, (rows, width)) + strength * (2 * targets - 1)
    return targets, logits.astype(np.float32)


def test_figures_are_those_of_scikit_learn() -> None:
    targets, logits = sample()
    boot = TASK.bootstrap(targets, {"m": TASK.outputs(logits, {"temperature": 1.7})}, 15, SETTINGS)
    found, predicted, true = boot.figures("m"), (logits >= 0).astype(int), targets.astype(int)
    assert ((predicted.sum(axis=1) == 0) & (true.sum(axis=1) == 0)).any(), "empty rows are among them"
    p = 1 / (1 + np.exp(-logits.astype(np.float64) / 1.7))
    expected = {
        "micro_f1": reference.f1_score(true, predicted, average="micro"),
        "macro_f1": reference.f1_score(true[:, :2], predicted[:, :2], average="macro"),
        "samples_f1": reference.f1_score(true, predicted, average="samples", zero_division=1),
        "subset_accuracy": reference.accuracy_score(true, predicted),
        "hamming_loss": reference.hamming_loss(true, predicted),
        "log_loss": np.mean([reference.log_loss(true[:, k], p[:, k], labels=[0, 1]) for k in range(3)]),
    }
    expected |= {
        "coverage_error": reference.coverage_error(true, logits),
        "ranking_loss": reference.label_ranking_loss(true, logits),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
        low, high = found[f"{name}_interval"]  # type: ignore[misc]
        assert low < value < high
    assert TASK.of_seed(logits, targets, {})["micro_f1"] == pytest.approx(expected["micro_f1"], abs=1e-9)
    assert TASK.overall(targets, TASK.outputs(logits, {"temperature": 1.7})) == pytest.approx(
        expected["micro_f1"], abs=1e-9
    )


@pytest.mark.parametrize("digits", [0, 12], ids=["ties", "no ties"])
def test_ranks_are_those_of_scikit_learn(digits: int) -> None:
    """Of each row; with rows that have no label, and rows that have all."""
    targets, logits = sample(60, 2, seed=4)
    scores = logits.astype(np.float64).round(digits)
    assert (targets.sum(axis=1) == 0).any() and (targets.sum(axis=1) == 2).any()
    coverage, ranking = label_outputs.ranks(targets, scores)
    for row in range(60):
        own = targets[row : row + 1].astype(int), scores[row : row + 1]
        assert coverage[row] == reference.coverage_error(*own)
        assert ranking[row] == pytest.approx(reference.label_ranking_loss(*own), abs=1e-12)


def test_each_label_is_that_of_scikit_learn() -> None:
    targets, logits = sample()
    boot = TASK.bootstrap(targets, {"m": TASK.outputs(logits, {"temperature": 1.0})}, 15, SETTINGS)
    got = boot.per_class("m")
    scores = reference.precision_recall_fscore_support(
        targets.astype(int), (logits >= 0).astype(int), zero_division=0
    )
    for name, expected in zip(("precision", "recall", "f1"), scores[:3], strict=True):
        assert got[name][0][:2] == pytest.approx(expected[:2], abs=1e-9)
    assert got["support"][0].tolist() == scores[3].tolist()
    names, right = TASK.found(targets, TASK.outputs(logits, {"temperature": 1.0}))
    recall = np.bincount(names[right], minlength=3)[:2] / np.bincount(names, minlength=3)[:2]
    assert recall == pytest.approx(scores[1][:2])


def test_sums_of_drawn_rows_are_the_figures_of_those_rows() -> None:
    """Each resample has the figures of a table made of the drawn rows."""
    targets, logits = sample(40, 2)
    outputs = TASK.outputs(logits, {"temperature": 1.0})
    boot = LabelReports(Labels(NAMES[:2])).bootstrap(targets, {"m": outputs}, 15, SETTINGS)
    drawn = np.random.default_rng(0).integers(0, 40, (SETTINGS.resamples, 40))
    for k in (0, 7, 399):
        own, predicted = targets[drawn[k]].astype(int), (logits[drawn[k]] >= 0).astype(int)
        assert boot.drawn["m"]["micro_f1"][k] == pytest.approx(
            reference.f1_score(own, predicted, average="micro"), abs=1e-9
        )
        assert boot.drawn["m"]["hamming_loss"][k] == pytest.approx(reference.hamming_loss(own, predicted))


@pytest.mark.parametrize("level", [-3.0, 3.0], ids=["nothing predicted", "everything predicted"])
def test_a_table_without_any_label_has_figures(level: float) -> None:
    """Rows without labels are right if nothing is predicted; nothing is known of precision or recall."""
    targets = np.zeros((20, 3), np.float32)
    logits = np.random.default_rng(0).normal(level, 0.1, (20, 3)).astype(np.float32)
    fitted = TASK.figures.fitted(logits, targets)
    assert fitted["thresholds"] == [0.5] * 3
    outputs = {"x": TASK.outputs(logits, fitted), "y": TASK.outputs(-logits, fitted)}
    boot = TASK.bootstrap(targets, outputs, 15, SETTINGS)
    found = TASK.of_model(boot, "x")
    right = float(level < 0)
    assert [found[key] for key in ("subset_accuracy", "samples_f1")] == [right, right]
    assert [found[key] for key in ("micro_f1", "macro_f1", "coverage_error", "ranking_loss")] == [0, 0, 0, 0]
    assert all(np.isfinite(value).all() for value in found.values())
    rows = inputs.Rows([str(k) for k in range(20)], ["text"] * 20, targets)
    more = TASK.beyond({"test": rows}, outputs, None, 0.95)
    assert more["x"] == {"labels_without_rows": 3}
    _, cells = TASK.summary({"x": found | more["x"] | {"log_loss": 1.0}})
    assert "–" in cells["x"]
    assert np.isfinite(TASK.calibration(targets, outputs["x"], 15, 0.95)[0])
    assert TASK.paired(boot, "x", "y")["micro_f1_difference"] == 0
    assert TASK.figures.scores(logits, targets)["micro_f1"] == 0
    answered = TASK.served(TASK.figures.answer(logits, fitted, None))
    assert (answered.predicted == outputs["x"].predicted).all()


def test_a_perfect_table_proves_no_perfect_model() -> None:
    targets, _ = sample(30)
    perfect = TASK.outputs(20 * (2 * targets - 1), {})
    boot = TASK.bootstrap(targets, {"one": perfect, "other": perfect}, 15, SETTINGS)
    for figure in ("micro_f1", "macro_f1", "samples_f1", "subset_accuracy"):
        low, high = boot.figures("one")[f"{figure}_interval"]  # type: ignore[misc]
        assert low < 0.98 and high == 1, figure
        if figure in ("micro_f1", "macro_f1"):  # negative control: the bootstrap alone
            assert np.ptp(boot.drawn["one"][figure]) == 0
    assert boot.figures("one")["hamming_loss_interval"][1] > 0.01  # type: ignore[index]
    value, (low, high) = boot.difference("one", "other", "micro_f1")
    assert (value, (low, high)) == (0, pytest.approx(proportions.paired_interval(0, 0, 30, 0.95)))
    assert label_significance.paired(boot, "one", "other")["micro_f1_p"] == 1


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """200 tables of 60 rows; decisions of a row depend on each other. The truth is that of 100,000 rows.

    Differences are those to a model with less signal and more noise.
    """

    def table(rows: int, seed: int) -> Sample:
        generator = np.random.default_rng(seed)
        targets = (generator.random((rows, 3)) < [0.5, 0.3, 0.2]).astype(np.float32)
        hard = generator.normal(0, 1, (rows, 1))  # shared by the row's labels
        return targets, (hard + generator.normal(0, 1, (rows, 3)) + 1.5 * (2 * targets - 1)).astype(
            np.float32
        )

    def weaker(own: Sample, seed: int) -> NDArray[np.float32]:
        noise = np.random.default_rng((seed, 1)).normal(0, 1, own[0].shape)
        return (own[1] + noise - 0.45 * (2 * own[0] - 1)).astype(np.float32)

    many, logits = table(100_000, 0)
    sums = label_outputs.statistics(many, TASK.outputs(logits, {"temperature": 1.0})).sum(axis=0)
    truth = label_outputs.figures(np.asarray(sums), 3)
    part = TASK.of_rows(many, TASK.outputs(logits, {"temperature": 1.0}), np.arange(len(many)) >= 0, 0.95)
    assert part[0] == pytest.approx(truth["micro_f1"])
    other = label_outputs.statistics(many, TASK.outputs(weaker((many, logits), 0), {})).sum(axis=0)
    gaps = {name: truth[name] - value for name, value in label_outputs.figures(np.asarray(other), 3).items()}
    assert gaps["micro_f1"] > 0.05
    inside = dict.fromkeys([*truth, "rows", *(f"{name} difference" for name in gaps)], 0)
    few = params.Bootstrap(resamples=200, confidence=0.95, seed=0)
    for trial in range(200):
        targets, logits = table(60, 1 + trial)
        outputs = TASK.outputs(logits, {"temperature": 1.0})
        models = {"m": outputs, "weaker": TASK.outputs(weaker((targets, logits), 1 + trial), {})}
        boot = TASK.bootstrap(targets, models, 15, few)
        found = boot.figures("m")
        for name, gap in gaps.items():
            _, (low, high) = boot.difference("m", "weaker", name)
            inside[f"{name} difference"] += low <= gap <= high
        for name, value in truth.items():
            low, high = found[f"{name}_interval"]  # type: ignore[misc]
            inside[name] += low <= value <= high
        _, low, high = TASK.of_rows(targets, outputs, np.full(60, True), 0.95)
        inside["rows"] += low <= truth["micro_f1"] <= high
    assert min(inside.values()) >= binom.ppf(0.001, 200, 0.95), inside


def test_decisions_of_one_row_are_not_independent() -> None:
    """Three labels that always agree are as much evidence as one, not three times as much."""
    targets, logits = sample(200, 1)
    counted = TASK.parts(targets, label_outputs.LabelOutputs(logits))
    value, low, high = f1_bootstrap.f1_of_rows(counted, 0.95)
    tripled, *ends = f1_bootstrap.f1_of_rows(3 * counted, 0.95)
    assert tripled == value
    assert ends[1] - ends[0] > 0.9 * (high - low)


def test_the_randomisation_test_has_its_level_and_finds_differences() -> None:
    """Two models of equal quality: 400 tables, of which 5% may be significant at 5%."""
    found, power = [], []
    for trial in range(400):
        generator = np.random.default_rng(trial)
        targets = (generator.random((60, 4)) < 0.3).astype(np.float32)
        hard = generator.normal(0, 1, (60, 1))
        one, other, better = (
            label_outputs.LabelOutputs(hard + generator.normal(0, 1, (60, 4)) + by * (2 * targets - 1))
            for by in (1.0, 1.0, 1.6)
        )
        own = [TASK.parts(targets, outputs) for outputs in (one, other, better)]
        found.append(f1_bootstrap.randomised_p(own[0], own[1], 199, trial))
        power.append(f1_bootstrap.randomised_p(own[2], own[0], 199, trial))
    rejected = (np.array(found) <= 0.05).sum()
    assert binom.ppf(0.001, 400, 0.05) <= rejected <= binom.ppf(0.999, 400, 0.05)
    assert 0.42 < np.mean(found) < 0.58  # uniform under the hypothesis
    assert np.mean(np.array(power) <= 0.05) > 0.6


def test_the_randomisation_test_counts_all_exchanges_of_a_small_table() -> None:
    """Six rows: the share of the 64 exchanges with at least the measured difference."""
    generator = np.random.default_rng(5)
    targets = (generator.random((6, 3)) < 0.5).astype(np.float32)
    predicted = [generator.normal(0, 1, (6, 3)) + by * (2 * targets - 1) for by in (2.0, -0.5)]

    def f1(rows: NDArray[Any]) -> float:
        return float(reference.f1_score(targets.astype(int), (rows >= 0).astype(int), average="micro"))

    measured, reached = abs(f1(predicted[0]) - f1(predicted[1])), 0
    for k in range(64):
        swap = np.array([k >> row & 1 for row in range(6)], bool)[:, None]
        one, other = np.where(swap, *predicted), np.where(swap, *predicted[::-1])
        reached += abs(f1(one) - f1(other)) >= measured - 1e-12
    counted = [TASK.parts(targets, label_outputs.LabelOutputs(own)) for own in predicted]
    assert f1_bootstrap.randomised_p(*counted, 10_000, 0) == pytest.approx(reached / 64, abs=0.02)


def test_comparisons_agree_with_the_adjusted_test() -> None:
    targets, strong = sample(150, 3, 1, 2.0)
    generator = np.random.default_rng(3)
    models = {
        "a": strong,
        "b": strong + generator.normal(0, 0.3, strong.shape),
        "c": sample(150, 3, 2, 0.0)[1],
    }
    boot = TASK.bootstrap(
        targets,
        {name: TASK.outputs(own.astype(np.float32), {}) for name, own in models.items()},
        15,
        SETTINGS,
    )
    found = TASK.compared(boot, [("a", "b"), ("a", "c"), ("b", "c")])
    raw = [own["micro_f1_p"] for own in found.values()]
    assert [own["holm_p"] for own in found.values()] == proportions.holm(raw)
    for name, own in found.items():
        low, high = own["holm_interval"]
        assert own["holm_confidence"] == pytest.approx(1 - 0.05 / 3)
        assert (own["holm_p"] < 0.05) == (name != "a_vs_b")
        assert (low <= 0 <= high) == (name == "a_vs_b")
        assert own["excluded"] == max(-low, high)
        assert low <= own["micro_f1_difference"] <= high
        assert own["log_loss_scaled_holm_p"] >= own["log_loss_scaled_p"]
    hits = [(((own >= 0) == (targets > 0)).all(axis=1)) for own in models.values()]
    assert found["a_vs_c"]["discordant"] == [int((hits[0] & ~hits[2]).sum()), int((hits[2] & ~hits[0]).sum())]


def test_few_resamples_leave_differences_significant_for_all_pairs() -> None:
    """With 50 exchanges the smallest p is 1/51, which Holm's method multiplies by 3 to more than 0.05."""
    targets, strong = sample(150, 3, 1, 2.0)
    few = params.Bootstrap(resamples=50, confidence=0.95, seed=0)
    outputs = {
        name: TASK.outputs(own, {"temperature": 1.0})
        for name, own in (("a", strong), ("b", -strong), ("c", strong))
    }
    pairs = [("a", "b"), ("c", "b"), ("a", "c")]
    found = TASK.compared(TASK.bootstrap(targets, outputs, 15, few), pairs)
    assert 3 / 51 > 0.05
    assert found["a_vs_b"]["holm_p"] == pytest.approx(3 / (1 + 20 * 3 / 0.05), rel=1e-2)
    assert found["c_vs_b"]["holm_p"] < 0.05 and found["a_vs_c"]["holm_p"] == 1


def test_what_was_served_has_the_figures_of_the_logits_at_the_temperature() -> None:
    targets, logits = sample()
    outputs = {"logits": TASK.outputs(logits, {"temperature": 1.7})}
    outputs["served"] = TASK.served(TASK.figures.of_probabilities(outputs["logits"].probabilities))
    boot = TASK.bootstrap(targets, outputs, 15, SETTINGS)
    for name, value in boot.figures("served").items():
        assert value == pytest.approx(boot.figures("logits")[name]), name
    certain = TASK.figures.of_probabilities(np.array([[0.0, 1.0, 0.5]]))
    assert np.isfinite(TASK.served(certain).logits).all()


def test_calibration_error_of_decisions() -> None:
    """No error where targets are drawn from the probabilities, a large one where they are too sure.

    The decisions of a row are the same three times: the interval must be that of single decisions.
    """
    generator = np.random.default_rng(0)
    p = generator.random((4000, 1))
    drawn = (generator.random((4000, 1)) < p).astype(np.float32)
    logits = label_outputs.of_probabilities(p)
    single = LabelReports(Labels(("a",))).calibration(drawn, label_outputs.LabelOutputs(logits), 15, 0.95)
    tripled = TASK.calibration(np.tile(drawn, 3), label_outputs.LabelOutputs(np.tile(logits, 3)), 15, 0.95)
    assert single[0] < 0.03 and single[1][0] == 0
    assert tripled[1] == pytest.approx(single[1], abs=2e-3)
    sure = TASK.calibration(np.tile(drawn, 3), label_outputs.LabelOutputs(np.tile(3 * logits, 3)), 15, 0.95)
    assert sure[1][0] > 0.08


def texts(splits: dict[str, Split]) -> dict[str, tuple[list[str], NDArray[np.float32]]]:
    """Give every text of the fixture labels by its words: none, one or both of two, never the third."""
    marked = {}
    for split, (own, _) in splits.items():
        rows = [["list" in text or "object" in text, "string" in text, False] for text in own]
        marked[split] = own, np.array(rows, np.float32)
    return marked


def test_majority_has_the_shares_of_train() -> None:
    targets = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0]], np.float32)
    baseline = params.MajorityBaseline(kind="majority")
    got = TASK.baselines.fit(baseline, ["a"] * 5, targets, None, None).outputs(["x", "y"])
    assert got.predicted.tolist() == [[True, True, False]] * 2
    assert got.probabilities[0] == pytest.approx([1, 0.6, 0], abs=1e-12)
    weighted = TASK.baselines.fit(baseline, ["a"] * 5, targets, None, np.array([5, 0, 5, 0, 5], np.float32))
    assert weighted.outputs(["x"]).probabilities[0][1] == pytest.approx(1 / 3)


def tfidf(model: str, grid: tuple[float, ...] = (1.0,)) -> params.TfidfBaseline:
    return params.TfidfBaseline.model_validate(
        {"kind": "tfidf", "model": model, "min_df": 2, "max_ngram": 1, "stop_words": None, "C": grid}
    )


@pytest.mark.parametrize("model", ["svm", "logistic"])
def test_tfidf_is_one_model_per_label(model: str, splits: dict[str, Split]) -> None:
    marked = texts(splits)
    (train, own), (test, true) = marked["train"], marked["test"]
    got = TASK.baselines.fit(tfidf(model, (0.1, 1.0, 10.0)), train, own, marked["val"], None)
    found = got.outputs(test)
    vectorizer, features = vectorize(tfidf(model), train)
    make = svm(got.C) if model == "svm" else logistic(1e-4, got.C)
    plain = OneVsRestClassifier(make).fit(features, own[:, :2])
    assert found.logits[:, :2] == pytest.approx(plain.decision_function(vectorizer.transform(test)), abs=1e-6)
    assert not found.predicted[:, 2].any(), "no row of train has the third label"
    majority = TASK.baselines.fit(params.MajorityBaseline(kind="majority"), train, own, None, None).outputs(
        test
    )
    assert TASK.overall(true, found) > TASK.overall(true, majority) + 0.2
    assert got.C in (0.1, 1.0, 10.0)
    held, wanted = marked["val"]
    best = {}
    for c in (0.1, 1.0, 10.0):
        alone = TASK.baselines.fit(tfidf(model, (c,)), train, own, None, None).outputs(held)
        best[c] = TASK.figures.scores(alone.logits, wanted)["micro_f1"]
    assert best[got.C] == max(best.values())


def test_rare_labels_are_not_regularised_away() -> None:
    """At the grid's smallest values of C no label reaches 1/2, but its best threshold tells models apart."""
    generator = np.random.default_rng(0)
    width = 8
    targets = (generator.random((900, width)) < 0.03).astype(np.float32)
    matrix = (generator.normal(size=(900, width)) / 10 + targets / 2).astype(np.float32)
    grid = (0.01, 0.1, 0.3, 1.0, 30.0, 100.0)
    held = matrix[500:700], targets[500:700]

    def fitted(own: tuple[float, ...]) -> Any:
        baseline = params.PixelsBaseline(kind="pixels", side=4, C=own)
        return TASK.baselines.fit(baseline, matrix[:500], targets[:500], held, None)

    alone = {c: fitted((c,)).outputs(held[0]) for c in grid}
    for c in (0.01, 0.1, 0.3):
        assert TASK.overall(held[1], alone[c]) == 0, "at 1/2 patience would end the search here"
    best = {c: TASK.figures.scores(own.logits, held[1])["micro_f1"] for c, own in alone.items()}
    got = fitted(grid)
    assert best[got.C] == max(best.values()) > 0.5
    values = TASK.fitted(held[1], got.outputs(held[0]))
    assert TASK.overall(targets[700:], replace(got.outputs(matrix[700:]), **values)) > 0.5


def test_matrices_have_linear_baselines_and_no_neighbours() -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(300, 5)).astype(np.float32)
    targets = (matrix[:, :3] > 0.3).astype(np.float32)
    held = matrix[200:], targets[200:]
    for baseline in (
        params.PixelsBaseline(kind="pixels", side=4, C=(1.0, 10.0)),
        params.FeaturesBaseline(kind="features", model="linear", neighbours=3, C=(1.0, 10.0)),
    ):
        got = TASK.baselines.fit(baseline, matrix[:200], targets[:200], held, None).outputs(matrix[200:])
        assert TASK.overall(targets[200:], got) > 0.9
        again = TASK.baselines.of_arrays(TASK.baselines.arrays(got), got.C)
        assert (again.logits == got.logits).all() and again.C == got.C
    plain = LogisticRegression(C=10.0, solver="sag", tol=TOLERANCE, max_iter=1000, random_state=0)
    pixels = TASK.baselines.fit(
        params.PixelsBaseline(kind="pixels", side=4, C=(10.0,)), matrix, targets, None, None
    )
    expected = plain.fit(matrix, targets[:, 1]).decision_function(matrix)
    assert pixels.outputs(matrix).logits[:, 1] == pytest.approx(expected)


def test_weights_of_rows_reach_every_label(splits: dict[str, Split]) -> None:
    train, own = texts(splits)["train"]
    heavy = np.where(own[:, 1] > 0, 20.0, 1.0).astype(np.float32)
    plain, weighted = (
        TASK.baselines.fit(tfidf("logistic"), train, own, None, weights).outputs(train).logits[:, 1].mean()
        for weights in (None, heavy)
    )
    assert weighted > plain


def test_a_transformer_must_be_better_by_rows() -> None:
    """Row scores that differ by 0.5 on 10 rows and by -0.5 on 2: 4 is above sqrt(3)."""
    base = np.full(100, 0.5)
    better, close = base.copy(), base.copy()
    better[:10], better[10:12] = 1.0, 0.0
    close[:10], close[10:18] = 1.0, 0.0
    assert recommend.choose({"teacher": better, "tfidf_svm": base}, None)["model"] == "teacher"
    found = recommend.choose({"teacher": close, "tfidf_svm": base}, None)
    assert found["model"] == "tfidf_svm"
    assert "(50.0%; teacher 51.0%)" in recommend.said(found, figure_scale.of(TASK.figures))


def test_what_rows_contribute_is_what_micro_f1_loses_without_them() -> None:
    """The infinitesimal jackknife; one row of many labels contributes more than one of few."""
    targets, logits = sample(300)
    outputs = TASK.outputs(logits, {"temperature": 1})
    scores, rows = TASK.score(TASK.parts(targets, outputs)), np.arange(300)
    counted = TASK.parts(targets, outputs)
    left = np.array([f1_bootstrap.f1_of_rows(counted[rows != row], 0.95)[0] for row in rows])
    np.testing.assert_allclose(scores - scores.mean(), 299 * (left.mean() - left), atol=0.03)


def write_tokens(folder: Path, split: str, rows: int, spec: Labels) -> None:
    """Write arrays of documents with one token and no label each."""
    offsets = np.arange(rows + 1)
    for name, values in (("tokens", offsets[:-1].astype(np.int32)), ("offsets", offsets)):
        np.save(folder / f"{split}.{name}.npy", values)
    for path in target_files.paths(folder, split, spec).values():
        np.save(path, np.zeros(rows + 1 if "offsets" in path.name else 0, np.int64))


@pytest.fixture
def run(
    tmp_path: Path, splits: dict[str, Split], root: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Write a project with several labels and return `run(**changes of evaluate) -> metrics.json`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    marked, spec = texts(splits), Labels(NAMES)
    marked["test"][1][4] = [0, 0, 1]
    storage.write_json(tmp_path / "data/clean/task.json", task_spec.described(spec))
    storage.write_json(tmp_path / "data/clean/report.json", {"near_duplicates": {"test_rows": ["test:2"]}})
    write_models(tmp_path, list(NAMES), splits, {"teacher": 0.9, "student": 0.9, "control": 0.7})
    for split, (own, targets) in marked.items():
        ids = [f"{split}:{row + 1}" for row in range(len(own))]
        cells = pa.array([np.flatnonzero(row).tolist() for row in targets], pa.list_(pa.int32()))
        columns = {"id": ids, "text": own, "labels": cells, "site": [f"site {len(text) % 2}" for text in own]}
        pq.write_table(pa.table(columns), tmp_path / f"data/clean/{split}.parquet")
        for seed, (model, by) in enumerate((("teacher", 3.0), ("student", 2.5), ("control", 1.5))):
            noise = np.random.default_rng((seed, len(own))).normal(0, 1.5, targets.shape)
            logits = (noise + by * (2 * targets - 1)).astype(np.float32)
            predictions.write_predictions(tmp_path / f"data/predictions/{model}/{split}.parquet", ids, logits)
    write_seeds(tmp_path)
    for model in ("teacher", "student", "control"):
        path = tmp_path / f"models/{model}/baton.json"
        fitted = storage.read_json(path)["fitted"] | {"thresholds": THRESHOLDS}
        for file in (path, tmp_path / f"data/predictions/seeds/{model}/0.json"):
            storage.write_json(file, (storage.read_json(path) if file == path else {}) | {"fitted": fitted})
    for stage, models in (("finetune", ("teacher",)), ("distill", ("student", "control"))):
        lines = ["model,seed,step,epoch,loss,learning_rate,gradient_norm,val_loss,val_micro_f1,val_macro_f1"]
        for model in models:
            lines += [f"{model},0,{step},{step / 20},{9 / step},1e-4,1.0,,," for step in (10, 20, 30)]
            lines += [f"{model},0,30,1.5,,,,0.3,0.8,0.7"]
        (tmp_path / "curves").mkdir(exist_ok=True)
        (tmp_path / f"curves/{stage}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "data/arrays").mkdir()
    meta = {"task": task_spec.described(spec), "input": input_spec.described(tiny.TEXT_INPUT)}
    storage.write_json(tmp_path / "data/arrays/meta.json", meta)
    for split, (own, _) in marked.items():
        write_tokens(tmp_path / "data/arrays", split, len(own), spec)
    recipe = params.read_raw(root / "params.yaml") | {"tracking": {"kind": "off"}}
    recipe["evaluate"]["attributions"] = None  # the models have no weights

    def evaluated(**changes: Any) -> dict[str, Any]:
        speed = recipe["evaluate"]["speed"] | {"repeats": 0}
        recipe["evaluate"] |= {"bootstrap": SETTINGS.model_dump(), "speed": speed} | changes
        storage.write_json(tmp_path / "params.yaml", recipe)
        evaluate.main()
        report: dict[str, Any] = storage.read_json(Path("reports/metrics.json"))
        return report

    return evaluated


def test_the_stage_reports_several_labels(
    run: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    report = run()
    terminal.show(Path("reports"))
    said = " ".join(capsys.readouterr().out.split())
    rows = inputs.read_rows(Path("data/clean"), "test")
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    p = 1 / (1 + np.exp(-logits.astype(np.float64) / TEMPERATURES["student"]))
    predicted = p >= THRESHOLDS
    assert (predicted != (p >= 0.5)).any()
    value = reference.f1_score(rows.targets.astype(int), predicted.astype(int), average="micro")
    assert report["student"]["micro_f1"] == pytest.approx(value, rel=1e-5)
    assert report["student"]["temperature"] == TEMPERATURES["student"]
    assert report["student"]["log_loss_scaled"] != report["student"]["log_loss"]
    assert report["test"]["labels"] == 3 and report["test"]["task"]["kind"] == "labels"
    assert report["test"]["baselines"] == ["majority", "tfidf_svm", "tfidf_logistic"]
    assert report["seeds"]["student"]["micro_f1"] == [report["student"]["micro_f1"]]
    assert {"C", "val_micro_f1"} <= set(report["tfidf_svm"])
    assert report["retention"]["micro_f1"] == pytest.approx(value / report["teacher"]["micro_f1"], rel=1e-5)
    assert "micro_f1_without_near_duplicates_interval" in report["teacher"]
    assert f"{100 * value:.1f}%" in said and "points of micro F1" in said
    assert "p is a randomisation test, adjusted" in said and "the intervals are the bootstrap's" in said
    assert f"test split: {len(rows.ids)} rows, 3 labels; 95% intervals" in said
    assert "The student keeps" in said and "of the teacher's micro F1" in said
    with Path("reports/tables/per_label.csv").open(newline="", encoding="utf-8") as file:
        table = {(row["model"], row["label"]): row for row in csv.DictReader(file)}
    assert int(table["student", "«naïve»"]["support"]) == 1
    assert [float(table["student", name]["threshold"]) for name in NAMES] == THRESHOLDS
    for k, name in enumerate(NAMES):
        precision = reference.average_precision_score(rows.targets[:, k], logits[:, k])
        assert float(table["student", name]["average_precision"]) == pytest.approx(precision, rel=1e-5)
    precision = reference.average_precision_score(rows.targets, logits, average="macro")
    assert report["student"]["macro_average_precision"] == pytest.approx(precision, rel=1e-5)
    assert report["student"]["labels_without_rows"] == 0 and f"{100 * precision:.1f}%" in said
    cover = reference.coverage_error(rows.targets, logits)
    assert report["student"]["coverage_error"] == pytest.approx(cover, rel=1e-5)
    with Path("reports/tables/errors.csv").open(newline="", encoding="utf-8") as file:
        wrong = {row["id"]: row for row in csv.DictReader(file) if row["model"] == "student"}
    actual = rows.targets > 0
    assert set(wrong) == {rows.ids[k] for k in np.flatnonzero((actual != predicted).any(axis=1))}
    for k, name in enumerate(rows.ids):
        if name in wrong:
            assert json.loads(wrong[name]["missing"]) == [
                NAMES[i] for i in np.flatnonzero(actual[k] & ~predicted[k])
            ]
            assert json.loads(wrong[name]["superfluous"]) == [
                NAMES[i] for i in np.flatnonzero(predicted[k] & ~actual[k])
            ]
    sure = [float(row["probability"]) for row in wrong.values()]
    assert sure == sorted(sure, reverse=True) and min(sure) > 0.1
    with Path("reports/tables/slices.csv").open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert first["micro_f1_low"] < first["micro_f1"] < first["micro_f1_high"]
    assert {"per_label_f1.png", "precision_recall.png", "learning_curves.png"} <= {
        path.name for path in Path("reports/figures").iterdir()
    }
    drawn, empty = shown_plots(root)
    assert {"main_control.csv", "per_label_teacher.csv", "validation_student.csv"} <= drawn
    assert {"confusion_teacher.csv", "calibration_raw_student.csv", "per_class_control.csv"} <= empty
    before = {name: storage.sha256_tree(Path("reports") / name) for name in ("tables", "plots", "figures")}
    assert run() == report
    assert {name: storage.sha256_tree(Path("reports") / name) for name in before} == before


def test_served_answers_are_those_of_the_predictions() -> None:
    """Whatever the thresholds, and with labels that the table has and the model lacks."""
    targets, logits = sample(100)
    fitted = TASK.figures.fitted(logits, targets)
    own = TASK.outputs(logits, fitted)
    answer = TASK.figures.answer(logits, fitted, None)
    served = TASK.served(answer)
    assert (served.predicted == own.predicted).all()
    np.testing.assert_allclose(served.probabilities, own.probabilities, rtol=1e-12)
    wider = LabelReports(Labels(("new", *NAMES[::-1]))).served(answer)
    assert (wider.predicted[:, 1:] == own.predicted[:, ::-1]).all() and not wider.predicted[:, 0].any()


def test_the_task_is_chosen_by_its_description() -> None:
    assert isinstance(task_reports.of(Labels(NAMES)), LabelReports)


def test_the_gate_reads_the_paired_test_in_words() -> None:
    targets, logits = sample(100)
    boot = TASK.bootstrap(
        targets,
        {"x": TASK.outputs(logits, {"temperature": 1.0}), "y": TASK.outputs(-logits, {})},
        15,
        SETTINGS,
    )
    found = TASK.paired(boot, "x", "y")
    assert found[TASK.p] == pytest.approx(1 / (1 + SETTINGS.resamples))
    assert randomisation.exchanges(SETTINGS, 1) == SETTINGS.resamples == 400
    said = TASK.in_words(found, "the challenger", "the champion")
    assert f"only the challenger has every label of {found['discordant'][0]} rows right" in said
    assert TASK.label_map(targets, TASK.outputs(logits, {"temperature": 1.0})) is None


def test_validation_and_test_have_the_same_definitions() -> None:
    targets, logits = sample()
    # The same rows twice, next to each other: each is judged by thresholds fitted on its copy.
    own = label_thresholds.fit(logits.astype(np.float64), targets > 0)
    fitted = {"temperature": 2.0, "thresholds": sigmoid(own / 2).tolist()}
    twice = np.repeat(logits, 2, axis=0), np.repeat(targets, 2, axis=0)
    validation, test = LabelFigures(TASK.spec).scores(*twice), TASK.of_seed(logits, targets, fitted)
    assert set(validation) == set(LabelFigures.directions)
    assert LabelFigures.main == TASK.figures.main
    for name, value in validation.items():
        assert test["log_loss" if name == "loss" else name] == pytest.approx(value, abs=1e-12)


def test_the_strongest_baseline_is_judged_by_thresholds_of_other_rows() -> None:
    """Its figure then means what that of a transformer does; else noise wins with thresholds of its own."""
    task = LabelReports(Labels(tuple(f"l{place}" for place in range(30))))
    generator = np.random.default_rng(0)
    marks = (generator.random((40, 30)) < 0.1).astype(np.float32)
    outputs = {
        "noise": LabelOutputs(generator.normal(size=marks.shape)),
        "all": LabelOutputs(np.ones(marks.shape)),
    }
    outputs = {name: replace(own, **task.fitted(marks, own)) for name, own in outputs.items()}
    val = inputs.Rows([], [], marks)
    assert task.overall(marks, outputs["noise"]) > task.overall(marks, outputs["all"])
    assert results.strongest(task, list(outputs), val, outputs) == "all"
    for own in outputs.values():
        assert results.on_validation(task, val, own) == task.figures.scores(own.logits, marks)["micro_f1"]


def test_a_model_is_recommended_by_thresholds_of_other_rows() -> None:
    """Fitted on the rows themselves, thresholds make even noise look better than it is."""
    task = LabelReports(Labels(tuple(f"l{place}" for place in range(30))))
    optimism = []
    for seed in range(5):
        generator = np.random.default_rng(seed)
        marks = (generator.random((120, 30)) < 0.1).astype(np.float32)
        logits = generator.normal(size=(120, 30))
        outputs = task.outputs(logits, {})
        own = replace(outputs, **task.fitted(marks, outputs))
        scores = recommend.on_validation(task, marks, own)
        np.testing.assert_array_equal(scores, recommend.held_out(task, marks, logits))
        figure = results.on_validation(task, inputs.Rows([], [], marks), own)
        assert scores.mean() == pytest.approx(figure, rel=0.01), "but for labels on their threshold"
        optimism.append(task.score(task.parts(marks, own)).mean() - scores.mean())
    assert np.mean(optimism) > 0.01
