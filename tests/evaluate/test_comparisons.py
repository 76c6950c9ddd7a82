"""What a report says of several pairs together."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from baton import params
from baton.evaluate import metrics, proportions
from baton.evaluate.compare import Bootstrap, discordant
from baton.evaluate.comparisons import compared, paired_losses

SETTINGS = params.Bootstrap(resamples=50, confidence=0.95, seed=0)


def models(seed: int) -> Bootstrap:
    """Four models of growing accuracy on the same 300 rows; the last has no probabilities."""
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
            assert (own["holm_p"] < 0.05) == (not low <= 0 <= high)
            assert own["accuracy_difference_interval"][0] >= low
            told.append(own["holm_p"] < 0.05)
    assert 10 < sum(told) < 70


def test_what_is_excluded_is_excluded_at_the_pairs_own_level() -> None:
    boot = models(0)
    for name, own in compared(boot, PAIRS).items():
        first, second = name.split("_vs_")
        p_value = proportions.tost(*discordant(boot.hits(first), boot.hits(second)), 300, own["excluded"])
        assert p_value == pytest.approx(1 - own["holm_confidence"], abs=1e-6)


def test_losses_are_a_family_of_those_that_have_them() -> None:
    got = compared(models(1), PAIRS)
    assert "log_loss_p" not in got["a_vs_bare"]
    for figure in ("log_loss", "brier"):
        own = [one for name, one in got.items() if name != "a_vs_bare"]
        assert [one[f"{figure}_holm_p"] for one in own] == pytest.approx(proportions.holm([one[f"{figure}_p"] for one in own]))


def test_losses_are_compared_by_the_paired_t_test() -> None:
    generator = np.random.default_rng(1)
    labels, logits = generator.integers(0, 3, 80), generator.normal(size=(2, 80, 3))
    log_p = {name: metrics.log_probabilities(own) for name, own in zip("ab", logits, strict=True)}
    boot = Bootstrap({name: metrics.statistics(labels, own.argmax(1), 3, own, 15) for name, own in log_p.items()}, 3, SETTINGS)
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
    same = paired_losses(boot, "a", "a")
    assert [same["log_loss_p"], same["brier_p"]] == [1, 1]
    bare = Bootstrap({"m": metrics.statistics(labels, labels, 3, None, 15)}, 3, SETTINGS)
    assert paired_losses(bare, "m", "m") == {}
