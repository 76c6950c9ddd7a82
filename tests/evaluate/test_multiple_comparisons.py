"""What a report states about several pairs jointly."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from baton import params
from baton.evaluate import proportions
from baton.evaluate.multiple_comparisons import compared, paired_losses, together
from baton.evaluate.significance import Bootstrap
from baton.tasks import metrics

SETTINGS = params.Bootstrap(resamples=50, confidence=0.95, seed=0)


def models(seed: int) -> Bootstrap:
    """Return four models of increasing accuracy on the same 300 rows; the last has no probabilities."""
    generator = np.random.default_rng(seed)
    labels, rows = generator.integers(0, 3, 300), {}
    for name, share in {"a": 0.9, "b": 0.88, "c": 0.84, "bare": 0.8}.items():
        logits = generator.normal(size=(300, 3))
        logits[np.arange(300), labels] += np.where(generator.random(300) < share, 3, -3)
        log_p = metrics.log_probabilities(logits)
        rows[name] = metrics.statistics(labels, log_p.argmax(1), 3, None if name == "bare" else log_p, 15)
    return Bootstrap(rows, 3, SETTINGS)


PAIRS = [("a", "b"), ("a", "c"), ("b", "c"), ("a", "bare")]


def test_adjusted_p_and_interval_agree() -> None:
    told = []
    for seed in range(20):
        boot = models(seed)
        got = compared(boot, PAIRS)
        plain = [got[f"{first}_vs_{second}"]["mcnemar_p"] for first, second in PAIRS]
        assert [own["holm_p"] for own in got.values()] == pytest.approx(proportions.holm(plain))
        for own in got.values():
            low, high = own["holm_interval"]
            assert own["holm_p"] < 0.05 or low <= 0 <= high
            assert own["holm_confidence"] == pytest.approx(0.9875)
            assert own["accuracy_difference_interval"][0] >= low
            told.append(own["holm_p"] < 0.05)
    assert 10 < sum(told) < 70


def old_form(pairs: list[tuple[int, int, int]]) -> list[tuple[float, float]]:
    """Negative control: each interval at the level to which Holm's procedure compared its p-value."""
    p_values, failed, result, level = [proportions.paired_p(b, c) for b, c, _ in pairs], False, {}, 0.0
    for step, place in enumerate(np.argsort(p_values, kind="stable")):
        if not failed:
            level = 0.05 / (len(pairs) - step)
            failed = not p_values[place] < level
        result[place] = proportions.paired_interval(*pairs[place], 1 - level)
    return [result[place] for place in range(len(pairs))]


def test_all_intervals_hold_together() -> None:
    """Four independent pairs differ by 10 points on 400 rows, so that Holm's method rejects all of them.

    The level of its last step is then that of a single test, 95%.
    """
    generator, joint, before = np.random.default_rng(0), 0, 0
    for _ in range(1500):
        first, second = generator.binomial(400, 0.12, 4), generator.binomial(400, 0.02, 4)
        pairs = [(int(b), int(c), 400) for b, c in zip(first, second, strict=True)]
        found = together(pairs, 0.95)
        assert all(own["holm_p"] < 0.05 for own in found)
        joint += all(own["holm_interval"][0] <= 0.1 <= own["holm_interval"][1] for own in found)
        before += all(low <= 0.1 <= high for low, high in old_form(pairs))
    assert joint / 1500 > 0.94
    assert before / 1500 < 0.92


def test_intervals_hold_0_where_holm_tells_nothing() -> None:
    generator, told, reached = np.random.default_rng(0), 0, 0
    for _ in range(300):
        pairs = [(int(b), int(c), 100) for b, c in generator.integers(0, 18, (4, 2))]
        for own, (first, second, rows) in zip(together(pairs, 0.95), pairs, strict=True):
            low, high = own["holm_interval"]
            assert own["holm_p"] < 0.05 or low <= 0 <= high
            assert own["excluded"] == max(-low, high)
            plain = proportions.paired_interval(first, second, rows, 0.95)
            assert low <= plain[0] and plain[1] <= high, "never narrower than a single interval"
            told += own["holm_p"] < 0.05
            reached += own["holm_p"] < 0.05 and low <= 0 <= high
    assert told > 100 and 0 < reached < told / 5
    assert together([], 0.95) == []


def test_losses_are_a_family_of_those_that_have_them() -> None:
    got = compared(models(1), PAIRS)
    assert "log_loss_p" not in got["a_vs_bare"]
    for figure in ("log_loss", "brier"):
        own = [one for name, one in got.items() if name != "a_vs_bare"]
        assert [one[f"{figure}_holm_p"] for one in own] == pytest.approx(
            proportions.holm([one[f"{figure}_p"] for one in own])
        )


def test_losses_are_compared_by_the_paired_t_test() -> None:
    generator = np.random.default_rng(1)
    labels, logits = generator.integers(0, 3, 80), generator.normal(size=(2, 80, 3))
    log_p = {name: metrics.log_probabilities(own) for name, own in zip("ab", logits, strict=True)}
    boot = Bootstrap(
        {name: metrics.statistics(labels, own.argmax(1), 3, own, 15) for name, own in log_p.items()},
        3,
        SETTINGS,
    )
    got = paired_losses(boot, "a", "b")
    actual = np.eye(3)[labels]
    each = {
        "log_loss": [-own[np.arange(80), labels] for own in log_p.values()],
        "brier": [((np.exp(own) - actual) ** 2).sum(axis=1) for own in log_p.values()],
    }
    for figure, values in each.items():
        expected = ttest_rel(*values)
        assert got[f"{figure}_difference"] == pytest.approx(values[0].mean() - values[1].mean())
        assert got[f"{figure}_p"] == pytest.approx(expected.pvalue)
        assert got[f"{figure}_difference_interval"] == pytest.approx(list(expected.confidence_interval(0.95)))
    assert paired_losses(boot, "a", "a") == {"log_loss_difference": 0, "brier_difference": 0}
    bare = Bootstrap({"m": metrics.statistics(labels, labels, 3, None, 15)}, 3, SETTINGS)
    assert paired_losses(bare, "m", "m") == {}


def test_losses_that_differ_by_the_same_amount_are_no_certainty() -> None:
    """On each of eight rows, one model has probability 0.9 and one 0.8.

    Without spread, p used to be 0.
    """
    labels, rows = np.arange(8) % 2, {}
    for name, sure in (("a", 0.9), ("b", 0.8)):
        log_p = np.log(np.where(np.eye(2)[labels] > 0, sure, 1 - sure))
        rows[name] = metrics.statistics(labels, labels, 2, log_p, 15)
    got = compared(Bootstrap(rows, 2, SETTINGS), [("a", "b")])["a_vs_b"]
    assert got["log_loss_difference"] == pytest.approx(np.log(0.8 / 0.9))
    assert not {"log_loss_p", "log_loss_holm_p", "brier_p", "log_loss_difference_interval"} & got.keys()
