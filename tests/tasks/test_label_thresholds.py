"""Thresholds of labels: closed forms, brute force, and labels with few positives."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import f1_score

from baton.tasks import label_thresholds
from baton.tasks.label_figures import sigmoid


def calibrated(rows: int, base: list[float], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of true probabilities, and labels drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, len(base))) * 1.5 + np.log(base) - np.log1p(-np.array(base))
    return logits, random.random(logits.shape) < sigmoid(logits)


def test_the_best_threshold_of_calibrated_probabilities_is_half_the_best_f1() -> None:
    """Lipton et al. 2014, theorem 1, for the common threshold and for each of many rows' labels."""
    logits, true = calibrated(200_000, [0.3, 0.05])
    middle = label_thresholds.common(logits, true)
    best = f1_score(true.ravel(), logits.ravel() >= middle)
    assert sigmoid(np.array(middle)) == pytest.approx(best / 2, abs=0.01)
    own = label_thresholds.fit(logits, true)
    for place in range(2):
        best = f1_score(true[:, place], logits[:, place] >= own[place])
        assert sigmoid(own[place]) == pytest.approx(best / 2, abs=0.02)
    assert abs(own[0] - own[1]) > 0.3  # labels with thousands of positives have thresholds of their own


def test_no_threshold_gives_a_better_f1() -> None:
    random = np.random.default_rng(1)
    logits, true = random.normal(size=(30, 4)).round(1), random.random((30, 4)) < 0.4
    middle = label_thresholds.common(logits, true)
    tried = [f1_score(true.ravel(), logits.ravel() >= t) for t in np.arange(-4.05, 4.1, 0.1)]
    assert f1_score(true.ravel(), logits.ravel() >= middle) == pytest.approx(max(tried), abs=1e-12)


def test_without_borrowed_positives_each_label_has_its_best_f1(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    logits, true = random.normal(size=(40, 3)).round(1), random.random((40, 3)) < [0.5, 0.2, 0.1]
    monkeypatch.setattr(label_thresholds, "BORROWED", 1e-9)
    found = label_thresholds.fit(logits, true)
    for place in range(3):
        own, scores = true[:, place], logits[:, place]
        best = max(f1_score(own, scores >= t, zero_division=0) for t in np.arange(-4.05, 4.1, 0.1))
        assert f1_score(own, scores >= found[place]) == pytest.approx(best, abs=1e-12)


def test_the_threshold_of_a_label_is_the_best_of_the_formula() -> None:
    random = np.random.default_rng(3)
    logits, true = random.normal(size=(25, 3)).round(1), random.random((25, 3)) < [0.5, 0.3, 0.1]
    found, m, total = label_thresholds.fit(logits, true), label_thresholds.BORROWED, true.sum()

    def f1(place: int, t: float) -> float:
        own, every = logits[:, place] >= t, logits >= t
        hit = (own & true[:, place]).sum() + m * (every & true).sum() / total
        return float(2 * hit / (own.sum() + m * every.sum() / total + true[:, place].sum() + m))

    for place in range(3):
        best = max(f1(place, t) for t in np.arange(-4.05, 4.1, 0.1))
        assert f1(place, found[place]) == pytest.approx(best, abs=1e-9)


def test_a_label_with_few_positives_gets_about_the_threshold_of_all() -> None:
    """The only positive row of label 2 ranks in its middle: alone, half of the rows would be predicted."""
    logits, true = calibrated(2000, [0.3, 0.3, 0.001])
    true[:, 2] = False
    true[np.argsort(logits[:, 2])[1000], 2] = True
    middle, found = label_thresholds.common(logits, true), label_thresholds.fit(logits, true)
    assert abs(found[2] - middle) < 0.2
    true[:, 2] = False
    assert abs(label_thresholds.fit(logits, true)[2] - middle) < 0.2
    true[:, 2] |= logits[:, 2] > np.quantile(logits[:, 2], 0.5)  # 1000 positives are evidence
    assert label_thresholds.fit(logits, true)[2] < middle - 2


def test_fewer_rows_do_not_cost_more_than_one_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 40 tables of 60 validation rows, test micro F1 is above that of 1/2, and of each label alone."""
    cost = {"half": 0.0, "alone": 0.0, "fitted": 0.0}
    for seed in range(40):
        logits, true = calibrated(60, [0.3, 0.1, 0.05, 0.02, 0.2], seed)
        others, wanted = calibrated(3000, [0.3, 0.1, 0.05, 0.02, 0.2], 1000 + seed)
        with monkeypatch.context() as patch:
            own = label_thresholds.fit(logits, true)
            patch.setattr(label_thresholds, "BORROWED", 1e-9)
            alone = label_thresholds.fit(logits, true)
        for name, t in (("half", 0.0), ("alone", alone), ("fitted", own)):
            cost[name] += f1_score(wanted, others >= t, average="micro", zero_division=0) / 40
    assert cost["fitted"] > cost["half"] + 0.05
    assert cost["fitted"] > cost["alone"] + 0.02


def test_validation_is_not_judged_by_thresholds_that_saw_it() -> None:
    """Of noise, no threshold can do better than to predict every label; those fitted on the rows seem to."""
    honest, fitted, everything = [], [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        logits, true = random.normal(size=(60, 20)), random.random((60, 20)) < 0.1
        everything.append(f1_score(true, np.ones_like(true), average="micro"))
        honest.append(
            f1_score(true, label_thresholds.crossed(logits, true), average="micro", zero_division=0)
        )
        fitted.append(f1_score(true, logits >= label_thresholds.fit(logits, true), average="micro"))
    assert np.mean(fitted) > np.mean(everything) + 0.01
    assert np.mean(honest) < np.mean(everything) + 0.005
    one = np.array([[2.0, -1.0]])
    assert label_thresholds.crossed(one, one > 0).tolist() == [[True, False]], "one row is decided at 1/2"


def test_without_a_positive_the_threshold_is_one_half() -> None:
    logits = norm.ppf(np.linspace(0.1, 0.9, 12)).reshape(6, 2)
    assert label_thresholds.common(logits, np.zeros((6, 2), bool)) == 0.0
    assert label_thresholds.fit(logits, np.zeros((6, 2), bool)).tolist() == [0.0, 0.0]


def test_equally_good_thresholds_give_way_to_one_half() -> None:
    """Nothing lies between -2 and 3, so 1/2 separates as well as any other threshold."""
    logits, true = np.array([[-2.0], [3.0], [4.0], [-5.0]]), np.array([[False], [True], [True], [False]])
    assert label_thresholds.common(logits, true) == 0.0
    assert label_thresholds.fit(logits, true).tolist() == [0.0]
    same = np.full((4, 1), -1.0)  # a constant: everything or nothing
    assert label_thresholds.common(same, true) < -1.0
