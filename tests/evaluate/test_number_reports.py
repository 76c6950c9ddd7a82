"""Evaluation of numbers against scikit-learn, SciPy and definitions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from baton import params
from baton.contracts.task_spec import Numbers
from baton.errors import DataError
from baton.evaluate import baselines, number_baselines, number_exchange, number_outputs, task_reports
from baton.evaluate.inputs import Rows
from baton.evaluate.number_outputs import NumberOutputs
from baton.evaluate.number_reports import NumberReports
from baton.evaluate.number_significance import FEWEST
from baton.evaluate.report import number_tables, wording
from baton.evaluate.resampling import draws
from benchmarks import number_coverage

SPEC = Numbers(("a", "b"), (50.0, 0.2), (8.0, 0.1), "smooth_l1", 0.9)
TASK = NumberReports(SPEC)
SETTINGS = params.Bootstrap(resamples=200, confidence=0.95, seed=0)
Floats = NDArray[np.float64]


def sample(rows: int = 150, noise: float = 1.0, seed: int = 0) -> tuple[Floats, NumberOutputs]:
    """Return targets, many of them equal, and the outputs of a model."""
    generator = np.random.default_rng((rows, 7))
    true = np.array([50.0, 0.2]) + np.array([8.0, 0.1]) * generator.normal(size=(rows, 2))
    true = np.stack([true[:, 0].round(), true[:, 1].round(1)], 1)
    off = np.random.default_rng((rows, seed)).normal(size=(rows, 2)) * [4 * noise, 0.05 * noise]
    return true, NumberOutputs((true + off).round(2), quantiles=[6.0, 0.08])


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_sums_are_those_of_scikit_learn_and_scipy(seed: int) -> None:
    true, outputs = sample(seed=seed)
    boot = TASK.bootstrap(true, {"m": outputs}, 15, SETTINGS)
    found = boot.figures("m")
    values = outputs.values
    scaled = true / SPEC.scale, values / SPEC.scale  # units of several numbers may differ
    assert found["mae"] == pytest.approx(mean_absolute_error(*scaled), abs=1e-9)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(*scaled), abs=1e-9)
    assert found["r2"] == pytest.approx(r2_score(true, values), abs=1e-9)
    for place, name in enumerate(SPEC.names):
        one, other = true[:, place], values[:, place]
        assert found[f"spearman/{name}"] == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-9)
        assert found[f"pearson/{name}"] == pytest.approx(stats.pearsonr(one, other).statistic, abs=1e-9)
        assert found[f"mae/{name}"] == pytest.approx(mean_absolute_error(one, other), abs=1e-9)
        assert found[f"r2/{name}"] == pytest.approx(r2_score(one, other), abs=1e-9)
    assert found["spearman"] == pytest.approx(np.mean([found["spearman/a"], found["spearman/b"]]), abs=1e-12)
    assert TASK.overall(true, outputs) == pytest.approx(found["mae"])
    shown = TASK.of_model(boot, "m")
    assert shown["numbers"]["b"]["rmse"] == found["rmse/b"] and "rmse_interval" in shown["numbers"]["b"]
    assert not any("/" in key for key in shown)


def test_several_numbers_count_alike_whatever_their_units() -> None:
    """A number in thousands would else decide alone, in validation and on test."""
    true, outputs = sample()
    wide = NumberReports(replace(SPEC, centre=(5e4, 0.2), scale=(8e3, 0.1)))
    factor = np.array([1e3, 1.0])
    moved = NumberOutputs(outputs.values * factor)
    assert wide.overall(true * factor, moved) == pytest.approx(TASK.overall(true, outputs))
    logits = ((outputs.values - SPEC.centre) / SPEC.scale).astype(np.float64)
    own = TASK.figures.scores(logits, true)
    assert wide.figures.scores(logits, true * factor) == pytest.approx(own)
    assert own["mae"] == pytest.approx(TASK.overall(true, outputs))


@pytest.mark.parametrize("spread", [1e-9, 1e-6, 1.0])
def test_nearly_constant_numbers_have_scikit_learns_figures(spread: float) -> None:
    """Of all numbers of test but for one small difference, as train had others."""
    spec = Numbers(("a",), (0.0,), (1e3,), "mse", 0.9)
    true = np.full((50, 1), 7.0)
    true[3] += spread
    values = true + spread * np.random.default_rng(0).normal(size=true.shape)
    found = NumberReports(spec).bootstrap(true, {"m": NumberOutputs(values)}, 15, SETTINGS).figures("m")
    assert found["r2"] == pytest.approx(r2_score(true, values), rel=1e-9, abs=1e-9)
    assert found["pearson"] == pytest.approx(stats.pearsonr(true[:, 0], values[:, 0]).statistic, abs=1e-9)


def test_intervals_of_few_rows_are_at_least_the_jackknifes() -> None:
    """Eight rows drawn again and again are too alike: the gate would accept what they cannot show."""
    rows, places = 8, np.arange(8)
    true, outputs = sample(rows)
    other = NumberOutputs(sample(rows, seed=1)[1].values)
    boot = TASK.bootstrap(true, {"m": outputs, "n": other}, 15, SETTINGS)
    kept = [
        (true[places != out], outputs.values[places != out], other.values[places != out]) for out in places
    ]
    quantile = stats.t.isf(0.025, rows - 1)

    def half(figures: list[float]) -> float:
        return float(quantile * np.sqrt((rows - 1) * np.var(figures)))

    figures: dict[str, Any] = {
        "mae": lambda one, two: mean_absolute_error(one / SPEC.scale, two / SPEC.scale),
        "rmse": lambda one, two: root_mean_squared_error(one / SPEC.scale, two / SPEC.scale),
        "r2": r2_score,
    }
    shown = boot.figures("m")
    for name, figure in figures.items():
        of_r2, whole = name == "r2", figure(true, outputs.values)
        left = np.array([figure(one, two) for one, two, _ in kept])
        error = half(list(np.log(1 - left if of_r2 else left)))
        ends = [(1 - whole if of_r2 else whole) * np.exp(sign * error) for sign in (-1, 1)]
        low, high = (1 - ends[1], 1 - ends[0]) if of_r2 else ends
        assert shown[f"{name}_interval"][0] <= low + 1e-9 and shown[f"{name}_interval"][1] >= high - 1e-9
        change = half([figure(one, two) - figure(one, three) for one, two, three in kept])
        value, (low, high) = boot.difference("m", "n", name)
        assert value == pytest.approx(whole - figure(true, other.values))
        assert low <= value - change + 1e-9 and high >= value + change - 1e-9
    bound = np.percentile(boot.drawn["m"]["spearman"], [2.5, 97.5])
    assert shown["spearman_interval"][0] < bound[0], "a percentile of resamples of few rows is too near"
    for one in boot.figures("m").values():
        assert np.isfinite(one).all()


@pytest.mark.parametrize(("rows", "least"), [(10, 0.9), (FEWEST, 0.9)])
def test_intervals_of_few_rows_hold_the_truth(
    rows: int, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors are normal; the percentile bootstrap's 95% intervals of RMSE hold 82% of the time at 10 rows."""
    monkeypatch.setattr(number_coverage, "SETTINGS", params.Bootstrap(resamples=400, confidence=0.95, seed=0))
    monkeypatch.setattr(number_coverage, "WHOLE", 200_000)
    found = number_coverage.held("normal", rows, 150, number_coverage.truth("normal"))
    for figure in ("mae", "rmse", "r2", "spearman", "mae_difference", "rmse_difference", "r2_difference"):
        assert 1 - np.any(found[figure], axis=1).mean() >= least, figure
    if rows == FEWEST:
        assert 1 - np.any(found["spearman_difference"], axis=1).mean() >= least


def test_one_row_has_no_interval() -> None:
    true, outputs = sample(1)
    with pytest.raises(DataError, match="1 row to measure on"):
        TASK.bootstrap(true, {"m": outputs}, 15, SETTINGS)


def test_a_resample_has_the_figures_of_its_rows() -> None:
    """Each resample, drawn row by row, gives what scikit-learn and SciPy compute from these rows."""
    true, outputs = sample(40)
    boot = TASK.bootstrap(true, {"m": outputs}, 15, SETTINGS)
    counted = np.concatenate([block for _, block in draws(40, SETTINGS.resamples, SETTINGS.seed)])
    for place in (0, 7, 199):
        rows = np.repeat(np.arange(40), counted[place].astype(int))
        own, values = true[rows], outputs.values[rows]
        assert boot.drawn["m"]["r2"][place] == pytest.approx(r2_score(own, values), abs=1e-9)
        ranks = [stats.spearmanr(own[:, k], values[:, k]).statistic for k in range(2)]
        assert boot.drawn["m"]["spearman"][place] == pytest.approx(np.mean(ranks), abs=1e-9)


def test_the_mean_explains_nothing_and_orders_nothing() -> None:
    true, _ = sample()
    mean = NumberOutputs(np.tile(true.mean(axis=0), (len(true), 1)))
    found = TASK.bootstrap(true, {"m": mean}, 15, SETTINGS).figures("m")
    assert found["r2"] == pytest.approx(0, abs=1e-9)
    assert found["spearman"] == found["pearson"] == 0.0


def test_equal_errors_are_tested_by_exchanging_signs_as_in_scipy() -> None:
    generator = np.random.default_rng(0)
    change = generator.normal(0.08, 1, 300)
    ours = number_exchange.exchanged_p(change, 9999, 0)
    theirs = stats.permutation_test(
        (change,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(1)
    )
    assert ours == pytest.approx(theirs.pvalue, abs=0.02)
    few = np.array([0.5, 1.0, 2.0])  # two of the eight sign patterns reach the sum
    assert number_exchange.exchanged_p(few, 9999, 0) == pytest.approx(2 / 8, abs=0.02)
    assert number_exchange.exchanged_p(np.zeros(5), 99, 0) == 1.0


def test_other_figures_are_tested_by_exchanging_outputs_as_in_scipy() -> None:
    """SciPy exchanges the predictions, or their ranks, of each row and computes the figure itself."""
    generator = np.random.default_rng(2)
    true = generator.normal(size=40)
    first, second = (true + width * generator.normal(size=40) for width in (0.6, 0.9))
    found = number_exchange.p_values(
        true[:, None], first[:, None], second[:, None], Numbers(("a",), (0.0,), (1.0,), "mse", 0.9), 9999, 0
    )
    small = number_exchange.p_values(
        *(1e-13 * own[:, None] for own in (true, first, second)),
        Numbers(("a",), (0.0,), (1e-13,), "mse", 0.9),
        9999,
        0,
    )
    assert small == pytest.approx(found), "whatever the unit"
    ranks = [stats.rankdata(own) for own in (true, first, second)]
    for name, figure, pair in (
        ("rmse_p", lambda own: root_mean_squared_error(true, own), (first, second)),
        ("r2_p", lambda own: r2_score(true, own), (first, second)),
        ("spearman_p", lambda own: np.corrcoef(ranks[0], own)[0, 1], ranks[1:]),
    ):
        theirs = stats.permutation_test(
            pair,
            lambda one, two, axis=-1, figure=figure: figure(one) - figure(two),
            permutation_type="samples",
            n_resamples=999,
            vectorized=False,
            rng=np.random.default_rng(1),
        )
        assert 0.0005 < theirs.pvalue < 0.8 and found[name] == pytest.approx(theirs.pvalue, abs=0.05), name


def test_equally_good_models_are_told_apart_as_seldom_as_the_level_says() -> None:
    found = 0
    for trial in range(200):
        generator = np.random.default_rng((5, trial))
        first, second = np.abs(generator.standard_t(3, (2, 80)))
        found += number_exchange.exchanged_p(first - second, 199, trial) < 0.05
    assert 2 <= found <= 20


def test_comparisons_agree_with_the_adjusted_test() -> None:
    true, good = sample(400, noise=0.5)
    outputs = {"good": good, "poor": sample(400, 1.5, 1)[1], "same": sample(400, 0.5, 3)[1]}
    boot = TASK.bootstrap(true, outputs, 15, SETTINGS)
    found = TASK.compared(boot, [("good", "poor"), ("good", "same")])
    better, tie = found["good_vs_poor"], found["good_vs_same"]
    assert better["mae_difference"] < 0 and better["holm_p"] < 0.05
    assert better["holm_interval"][1] < 0 and better["r2_difference"] > 0
    assert tie["holm_p"] >= 0.05 and tie["holm_interval"][0] <= 0 <= tie["holm_interval"][1]
    assert better["holm_confidence"] == pytest.approx(0.975)
    assert "closer on" in TASK.in_words(better, "good", "poor")
    kept = TASK.retention(
        TASK.bootstrap(true, {"teacher": good, "student": outputs["poor"]}, 15, SETTINGS), {}, {}
    )
    assert kept["mae"] > 1 > kept["r2"]


def test_coverage_and_width_are_counted() -> None:
    true, outputs = sample(300)
    low, high = outputs.values - [6, 0.08], outputs.values + np.array([6, 0.08])
    inside = (low <= true) & (true <= high)
    found = TASK.calibrations(Rows([], [], true), {"m": outputs}, Evaluate())["m"]
    assert found["coverage"] == pytest.approx(inside.mean())
    assert found["interval_width"] == pytest.approx((12 / 8 + 0.16 / 0.1) / 2)
    sure = NumberOutputs(true, quantiles=[1.0, 1.0])
    low, high = TASK.calibrations(Rows([], [], true), {"m": sure}, Evaluate())["m"]["coverage_interval"]
    assert (low, high) == pytest.approx((stats.binomtest(300, 300).proportion_ci(method="wilson").low, 1.0))
    infinite = replace(outputs, quantiles=[None, 0.08])
    found = TASK.calibrations(Rows([], [], true), {"m": infinite}, Evaluate())["m"]
    assert "interval_width" not in found and found["coverage"] > inside.mean()
    error, (least, most) = TASK.calibration(true, outputs, 15, 0.95)
    assert error == pytest.approx(np.abs(inside.mean(axis=0) - 0.9).max()) and least <= error <= most


class Evaluate:
    bootstrap = SETTINGS


def test_what_was_served_has_the_figures_of_the_logits() -> None:
    true, _ = sample()
    logits = np.random.default_rng(0).normal(size=true.shape).astype(np.float32)
    fitted = TASK.figures.fitted(logits, true)
    outputs = {
        "logits": TASK.outputs(logits, fitted),
        "served": TASK.served(TASK.figures.answer(logits, fitted, None)),
    }
    boot = TASK.bootstrap(true, outputs, 15, SETTINGS)
    assert boot.figures("served") == boot.figures("logits")
    assert TASK.calibration(true, outputs["served"], 15, 0.95) == TASK.calibration(
        true, outputs["logits"], 15, 0.95
    )
    covered = number_outputs.covered(true, outputs["served"]).mean(axis=0)
    assert (covered >= 0.9).all() and (covered < 0.95).all(), "on the rows they were fitted on"


def test_a_slice_has_students_interval_of_its_mean_error() -> None:
    true, outputs = sample()
    rows = np.arange(len(true)) % 3 == 0
    errors = (np.abs(outputs.values - true) / SPEC.scale).mean(axis=1)[rows]
    value, low, high = TASK.of_rows(true, outputs, rows, 0.95)
    expected = stats.t.interval(0.95, len(errors) - 1, errors.mean(), stats.sem(errors))
    assert (value, low, high) == pytest.approx((errors.mean(), *expected))


def test_baselines_are_the_mean_and_scikit_learns_ridge() -> None:
    words = ["good", "bad", "fine", "poor", "great", "awful", "film", "plot", "cast", "end"]
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 3, (120, len(words)))
    texts = [" ".join(np.repeat(words, own)) + " the" for own in counts]
    true = np.stack([counts @ np.linspace(-2, 2, 10), 0.1 * counts[:, 0]], 1) + np.array(SPEC.centre)
    settings = params.TfidfBaseline(
        kind="tfidf", model="ridge", min_df=1, max_ngram=1, stop_words=None, C=(0.1, 1.0, 10.0)
    )
    train, held = (texts[:80], true[:80]), (texts[80:], true[80:])
    fitted = TASK.baselines.fit(settings, *train, held, None)
    assert fitted.C in settings.C
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    # Of dense features scikit-learn solves the normal equations; by default, sparse ones only to 1e-4.
    model = Ridge(alpha=1 / fitted.C, solver="cholesky").fit(
        vectorizer.fit_transform(train[0]).toarray(), train[1]
    )
    expected = model.predict(vectorizer.transform(held[0]).toarray())
    np.testing.assert_allclose(fitted.outputs(held[0]).values, expected, rtol=1e-9)
    scores = {
        c: TASK.overall(
            (held[1] - SPEC.centre) / SPEC.scale,
            NumberOutputs(
                (
                    TASK.baselines.fit(settings.model_copy(update={"C": (c,)}), *train, None, None)
                    .outputs(held[0])
                    .values
                    - SPEC.centre
                )
                / SPEC.scale
            ),
        )
        for c in settings.C
    }
    assert min(scores, key=lambda c: scores[c]) == fitted.C
    mean = TASK.baselines.fit(params.MeanBaseline(kind="mean"), *train, held, None).outputs(held[0])
    np.testing.assert_allclose(mean.values, np.tile(train[1].mean(axis=0), (40, 1)))
    middle = TASK.baselines.fit(params.MedianBaseline(kind="median"), *train, held, None).outputs(held[0])
    np.testing.assert_allclose(middle.values, np.tile(np.median(train[1], axis=0), (40, 1)))
    assert baselines.names([params.MeanBaseline(kind="mean"), settings], True) == ["mean", "tfidf_ridge"]


@pytest.mark.parametrize("rows", [1, 2, 9, 10])
def test_the_median_has_the_least_weighted_error(rows: int) -> None:
    generator = np.random.default_rng(rows)
    values, weights = generator.normal(size=rows).round(1), generator.integers(0, 4, rows).astype(np.float32)
    weights[0] = 1
    repeated = np.repeat(values, weights.astype(int))
    assert number_baselines.median(values, weights) == pytest.approx(np.median(repeated))


def test_tables_name_the_worst_rows_and_each_number() -> None:
    true, outputs = sample(30)
    rows = Rows([f"test:{k}" for k in range(30)], [f"text {k}" for k in range(30)], true)
    found = number_tables.errors("student", SPEC.names, rows, outputs)
    off = np.abs(outputs.values - true) / true.std(axis=0)
    row, place = np.unravel_index(off.argmax(), off.shape)
    assert found[0][:3] == ["student", f"test:{row}", SPEC.names[place]]
    assert found[0][7] == pytest.approx(np.abs(outputs.values - true)[row, place])
    boot = TASK.bootstrap(true, {"student": outputs}, 15, SETTINGS)
    table = number_tables.per_number("student", SPEC.names, rows, outputs, boot)
    assert [len(line) for line in table] == [len(number_tables.PER_NUMBER)] * 2


@pytest.mark.parametrize(
    ("count", "plural", "said"),
    [
        (1, "numbers", "1 number"),
        (2, "numbers", "2 numbers"),
        (1, "classes", "1 class"),
        (1, "tags", "1 tag"),
    ],
)
def test_the_summary_counts_in_words(count: int, plural: str, said: str) -> None:
    assert wording.amount(count, plural) == said


def test_seeds_and_rows_are_scored() -> None:
    reports: Any = task_reports.of(SPEC)
    true, outputs = sample(20)
    logits = ((outputs.values - SPEC.centre) / SPEC.scale).astype(np.float32)
    assert reports.of_seed(logits, true, {})["mae"] == pytest.approx(TASK.overall(true, outputs), rel=1e-5)
    assert reports.parts(true, outputs).mean() == pytest.approx(-TASK.overall(true, outputs))
    assert [len(own) for own in reports.found(true, outputs)] == [0, 0]
    assert reports.label_map(true, outputs) is None
