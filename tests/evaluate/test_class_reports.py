"""What evaluation and the gate ask about classifiers, compared with direct counts and other definitions."""

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.metrics import accuracy_score, f1_score, recall_score

from baton import params
from baton.evaluate import resampling, task_reports
from baton.tasks import metrics, task_figures
from tests import tiny

TASK = task_reports.of(tiny.task("a", "b", "c"))
SETTINGS = params.Bootstrap(resamples=200, confidence=0.95, seed=0)


def sample(seed: int, rows: int = 90) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    logits = generator.normal(size=(rows, 3)).astype(np.float32)
    logits[np.arange(rows), labels] += 1
    return labels, logits


def test_found_counts_recall_by_name_and_pairs_models() -> None:
    labels, first = sample(0)
    _, second = sample(1)
    found = [TASK.found(labels, TASK.outputs(logits, {"temperature": 1.0})) for logits in (first, second)]
    for logits, (names, right) in zip((first, second), found, strict=True):
        recall = np.bincount(names[right], minlength=3) / np.bincount(names, minlength=3)
        assert recall == pytest.approx(recall_score(labels, logits.argmax(axis=1), average=None))
    assert (found[0][0] == found[1][0]).all()


def test_what_was_served_has_the_figures_of_the_logits_at_the_temperature() -> None:
    labels, logits = sample(2)
    answers = TASK.figures.answer(logits, {"temperature": 1.7}, None)
    outputs = {"logits": TASK.outputs(logits, {"temperature": 1.7}), "served": TASK.served(answers)}
    boot = TASK.bootstrap(labels, outputs, 15, SETTINGS)
    served, own = (TASK.of_model(boot, name) for name in ("served", "logits"))
    assert served.keys() == own.keys()
    for name, value in served.items():
        assert value == pytest.approx(own[name]), name
    one, other = (TASK.calibration(labels, answers, 15, 0.95) for answers in outputs.values())
    assert one[0] == pytest.approx(other[0]) and one[1] == pytest.approx(other[1])
    assert TASK.overall(labels, outputs["served"]) == accuracy_score(labels, logits.argmax(axis=1))
    assert TASK.parts(labels, outputs["served"]).mean() == pytest.approx(
        TASK.overall(labels, outputs["served"])
    )


def tango(only_first: int, only_second: int, rows: int, difference: float) -> float:
    """Return the score statistic of a difference (Tango 1998), whose nuisance is found numerically.

    `q`, the probability that only the second is right, maximises the likelihood of the three counts.
    """

    def cost(q: float) -> float:
        parts = (q + difference, q, 1 - 2 * q - difference)
        counts = (only_first, only_second, rows - only_first - only_second)
        return -float(np.dot(counts, np.log(parts)))

    bounds = max(0.0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9
    q = optimize.minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    spread = np.sqrt(rows * (2 * q + difference - difference**2))
    return float((only_first - only_second - rows * difference) / spread)


def test_a_pair_has_its_counts_mcnemars_p_and_tangos_interval() -> None:
    labels, first = sample(3)
    _, second = sample(4)
    boot = TASK.bootstrap(
        labels,
        {"x": TASK.outputs(first, {"temperature": 1.0}), "y": TASK.outputs(second, {"temperature": 1.0})},
        15,
        SETTINGS,
    )
    found, predicted = TASK.paired(boot, "x", "y"), [own.argmax(axis=1) for own in (first, second)]
    right = [own == labels for own in predicted]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert found["discordant"] == [only_first, only_second]
    pairs, few = only_first + only_second, min(only_first, only_second)
    # McNemar's mid-p: both tails of a fair coin, of which the observed count counts half.
    tail = 2 * stats.binom.cdf(few, pairs, 0.5) - stats.binom.pmf(few, pairs, 0.5)
    assert found["mcnemar_p"] == pytest.approx(tail) and tail > 0.01
    accuracies = [accuracy_score(labels, own) for own in predicted]
    assert found["accuracy_difference"] == pytest.approx(accuracies[0] - accuracies[1])
    for end in found["accuracy_difference_interval"]:
        assert abs(tango(only_first, only_second, len(labels), end)) == pytest.approx(1.959964, rel=1e-4)
    f1 = [f1_score(labels, own, average="macro") for own in predicted]
    assert found["macro_f1_difference"] == pytest.approx(f1[0] - f1[1])
    low, high = found["macro_f1_difference_interval"]
    assert low < f1[0] - f1[1] < high


def test_resamples_know_no_classes() -> None:
    """A mean: its figures are the percentiles of the drawn means, and a difference is paired."""
    values = np.random.default_rng(5).normal(3, 1, (200, 1))
    one, other = (np.hstack([own, np.ones((200, 1))]) for own in (values, values + 0.5))
    boot = resampling.Resamples(
        {"one": one, "other": other}, lambda sums, _: {"mean": sums[..., 0] / sums[..., 1]}, SETTINGS
    )
    means = np.concatenate([drawn @ values[:, 0] / 200 for _, drawn in resampling.draws(200, 200, 0, 2)])
    assert boot.figures("one")["mean"] == pytest.approx(values.mean())
    assert boot.figures("one")["mean_interval"] == pytest.approx(np.percentile(means, [2.5, 97.5]))
    value, (low, high) = boot.difference("other", "one", "mean")
    assert (value, low, high) == pytest.approx((0.5, 0.5, 0.5))
    ratio, (low, high) = boot.ratio("other", "one", "mean") or (0.0, [0.0, 0.0])
    assert ratio == pytest.approx((values.mean() + 0.5) / values.mean())
    assert low < ratio < high


def test_validation_figures_are_those_of_the_tasks_curves() -> None:
    labels, logits = sample(6)
    own = task_figures.of(TASK.spec)
    assert own == TASK.figures
    assert own.scores(logits, labels)[own.main] == metrics.scores(logits, labels)[own.main]


def test_what_was_served_keeps_its_last_digits() -> None:
    """The gate's verdicts are kept as they are, so normalizing again would change what is compared."""
    _, logits = sample(5)
    probabilities = TASK.figures.probabilities(logits, 0.6)
    assert (TASK.served(TASK.figures.of_probabilities(probabilities)).scaled == np.log(probabilities)).all()


def test_a_label_map_is_judged_by_the_rows_that_another_one_would_make_right() -> None:
    """The first two of three classes have each other's names: 60 of 90 rows would be right."""
    labels = np.arange(90) % 3
    answer = TASK.figures.of_probabilities
    swapped = TASK.served(answer(np.eye(3)[np.array([1, 0, 2])[labels]] * 0.97 + 0.01))
    right, text = TASK.label_map(labels, swapped) or (True, "")
    assert not right and "reading a as b, b as a would make 60 more of 90 rows right" in text
    assert (TASK.label_map(labels, TASK.served(answer(np.eye(3)[labels] * 0.97 + 0.01))) or (False,))[0]
