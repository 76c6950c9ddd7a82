"""What evaluation and the gate ask about classifiers, compared with direct counts and other definitions."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from baton import params
from baton.evaluate import resampling, significance, task_reports
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
    found = [TASK.found(labels, TASK.outputs(logits, 1.0)) for logits in (first, second)]
    for logits, (names, right) in zip((first, second), found, strict=True):
        recall = np.bincount(names[right], minlength=3) / np.bincount(names, minlength=3)
        assert recall == pytest.approx(recall_score(labels, logits.argmax(axis=1), average=None))
    assert (found[0][0] == found[1][0]).all()


def test_what_was_served_has_the_figures_of_the_logits_at_the_temperature() -> None:
    labels, logits = sample(2)
    probabilities = task_figures.of(TASK.spec).probabilities(logits, 1.7)
    outputs = {"logits": TASK.outputs(logits, 1.7), "served": TASK.served(probabilities)}
    boot = TASK.bootstrap(labels, outputs, 15, SETTINGS)
    served, own = (TASK.of_model(boot, name) for name in ("served", "logits"))
    assert served.keys() == own.keys()
    for name, value in served.items():
        assert value == pytest.approx(own[name]), name
    one, other = (TASK.calibration(labels, answers, 15, 0.95) for answers in outputs.values())
    assert one[0] == pytest.approx(other[0]) and one[1] == pytest.approx(other[1])
    assert TASK.overall(labels, outputs["served"]) == accuracy_score(labels, logits.argmax(axis=1))
    assert TASK.score(labels, outputs["served"]).mean() == pytest.approx(
        TASK.overall(labels, outputs["served"])
    )


def test_a_pair_is_that_of_significance() -> None:
    labels, first = sample(3)
    _, second = sample(4)
    boot = TASK.bootstrap(
        labels, {"x": TASK.outputs(first, 1.0), "y": TASK.outputs(second, 1.0)}, 15, SETTINGS
    )
    hits = {name: boot.hits(name) for name in ("x", "y")}
    assert TASK.paired(boot, "x", "y") == significance.paired(boot, hits, "x", "y")


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
    assert set(TASK.curves) | {"loss"} == set(own.directions)
    assert own == TASK.figures
    assert own.scores(logits, labels)[own.main] == metrics.scores(logits, labels)[own.main]


def test_what_was_served_keeps_its_last_digits() -> None:
    """The gate's verdicts are kept as they are, so normalizing again would change what is compared."""
    _, logits = sample(5)
    probabilities = task_figures.of(TASK.spec).probabilities(logits, 0.6)
    assert (TASK.served(probabilities).scaled == np.log(probabilities)).all()


def test_a_label_map_is_judged_by_the_rows_that_another_one_would_make_right() -> None:
    """The first two of three classes have each other's names: 60 of 90 rows would be right."""
    labels = np.arange(90) % 3
    swapped = TASK.served(np.eye(3)[np.array([1, 0, 2])[labels]] * 0.97 + 0.01)
    right, text = TASK.label_map(labels, swapped) or (True, "")
    assert not right and "reading a as b, b as a would make 60 more of 90 rows right" in text
    assert (TASK.label_map(labels, TASK.served(np.eye(3)[labels] * 0.97 + 0.01)) or (False,))[0]
