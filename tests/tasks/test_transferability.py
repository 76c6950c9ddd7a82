"""LogME against a direct maximisation of the marginal likelihood, and on features of known quality."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from baton.contracts.task_spec import Classes, Labels, Numbers, Spans
from baton.errors import DataError
from baton.tasks import transferability

Floats = NDArray[np.float64]
CLASSES = Classes(("a", "b", "c"))
NUMBERS = Numbers(("one", "other"), (0.0, 0.0), (1.0, 1.0), "smooth_l1", 0.9)


def direct(features: Floats, column: Floats) -> float:
    """Return the highest log marginal likelihood per row of Bayesian ridge regression.

    Its rows are normal with the covariance I / beta + features features' / alpha, without any decomposition.
    """
    rows = len(column)

    def cost(logs: Floats) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(rows) / beta + features @ features.T / alpha
        _, log_determinant = np.linalg.slogdet(covariance)
        fit = column @ np.linalg.solve(covariance, column)
        return float(0.5 * (rows * np.log(2 * np.pi) + log_determinant + fit) / rows)

    starts = [(0.0, 0.0), (3.0, 0.0), (0.0, 3.0), (-3.0, 1.0)]
    bounds = [(-12.0, 14.0)] * 2
    return max(-float(minimize(cost, start, bounds=bounds, tol=1e-12).fun) for start in starts)


def drawn(rows: int, width: int, noise: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Return features (rows, width) of unequal variances, and a column that is linear in them, with noise."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, width)) * np.linspace(0.2, 2.0, width)
    return features, features @ random.normal(size=width) + noise * random.normal(size=rows)


@pytest.mark.parametrize(("rows", "width"), [(60, 8), (30, 30), (20, 50)])
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_it_is_the_highest_marginal_likelihood(rows: int, width: int, noise: float) -> None:
    features, column = drawn(rows, width, noise)
    found = transferability.evidence(features, column[:, None])
    assert found.shape == (1,)
    assert found[0] == pytest.approx(direct(features, column), abs=1e-5)


def test_of_features_that_say_nothing_it_is_that_of_noise_alone() -> None:
    """The best precision of the weights is then without bounds, where an iteration need not converge."""
    features, column = np.ones((50, 1)), np.tile([1.0, -1.0], 25)  # orthogonal
    noise = -0.5 * (np.log(2 * np.pi * column.var()) + 1)
    assert transferability.evidence(features, column[:, None])[0] == pytest.approx(noise, abs=1e-6)
    random = np.random.default_rng(1)
    features, column = random.normal(size=(40, 3)), random.normal(size=40)
    assert transferability.evidence(features, column[:, None])[0] == pytest.approx(
        direct(features, column), abs=1e-5
    )


def test_a_perfect_fit_is_finite_and_best() -> None:
    features, column = drawn(40, 5, noise=0.0)
    exact = transferability.evidence(features, column[:, None])[0]
    assert np.isfinite(exact)
    wide = np.random.default_rng(6).normal(size=(10, 300))  # fits anything
    assert np.isfinite(transferability.evidence(wide, np.eye(10))).all()
    assert np.isfinite(transferability.evidence(np.zeros((10, 3)), np.eye(10))).all()
    noisy = transferability.evidence(features, (column + 0.01 * np.arange(40) % 3)[:, None])[0]
    assert exact > noisy


def test_units_and_directions_of_features_do_not_matter() -> None:
    features, column = drawn(50, 12, noise=1.0)
    found = transferability.evidence(features, column[:, None])
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))
    for other in (features @ turn, 1000 * features, 0.001 * features):
        np.testing.assert_allclose(transferability.evidence(other, column[:, None]), found, atol=1e-6)


def test_columns_are_independent_of_each_other() -> None:
    features, one = drawn(50, 12, noise=1.0)
    _, other = drawn(50, 12, noise=4.0, seed=5)
    both = transferability.evidence(features, np.stack([one, other], axis=1))
    alone = [transferability.evidence(features, own[:, None])[0] for own in (one, other)]
    np.testing.assert_allclose(both, alone, atol=1e-9)


def classes_of(rows: int = 300, seed: int = 3) -> tuple[Floats, NDArray[np.int64]]:
    """Return what tells classes apart (rows, 3), and the classes."""
    labels = np.random.default_rng(seed).integers(0, 3, rows)
    return np.eye(3)[labels], labels


@pytest.mark.parametrize("width", [6, 400])
def test_it_ranks_encoders_by_what_their_features_say(width: int) -> None:
    """The planted order is that of the noise; with exchanged labels nothing is left of it."""
    signal, labels = classes_of()
    random = np.random.default_rng(4)
    mixing = random.normal(size=(3, width))
    noises = (0.5, 1.0, 2.0, 4.0)
    encoders = [signal @ mixing + noise * random.normal(size=(len(labels), width)) for noise in noises]
    found = [transferability.logme(CLASSES, own, labels) for own in encoders]
    assert found == sorted(found, reverse=True) and found[0] > found[-1] + 0.05  # type: ignore[type-var, operator]
    exchanged = random.permutation(labels)
    without = [transferability.logme(CLASSES, own, exchanged) for own in encoders]
    assert max(without) - min(without) < 0.3 * (found[0] - found[-1])  # type: ignore[type-var, operator]
    numbers = np.stack([labels == 1, labels == 2], axis=1) + 0.1 * random.normal(size=(len(labels), 2))
    ranked = [transferability.logme(NUMBERS, own, numbers) for own in encoders]
    assert ranked == sorted(ranked, reverse=True)  # type: ignore[type-var]


def test_of_classes_it_is_the_mean_over_one_versus_the_rest() -> None:
    signal, labels = classes_of(90)
    features = signal + np.random.default_rng(0).normal(size=signal.shape)
    expected = np.mean([direct(features, (labels == k).astype(float)) for k in range(3)])
    assert transferability.logme(CLASSES, features, labels) == pytest.approx(expected, abs=1e-5)
    of_labels = transferability.logme(Labels(CLASSES.names), features, np.eye(3)[labels])
    assert of_labels == pytest.approx(expected, abs=1e-5)
    more = Classes((*CLASSES.names, "has no rows"))
    assert transferability.logme(more, features, labels) == pytest.approx(expected, abs=1e-5)


def test_of_numbers_it_is_the_mean_over_columns_in_deviations() -> None:
    features, one = drawn(60, 7, noise=1.0)
    _, other = drawn(60, 7, noise=2.0, seed=9)
    numbers = np.stack([one, other], axis=1)
    scaled = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    expected = np.mean([direct(features, scaled[:, k]) for k in range(2)])
    assert transferability.logme(NUMBERS, features, numbers) == pytest.approx(expected, abs=1e-5)
    in_other_units = numbers * [1000.0, 1.0] + [5.0, -3.0]
    assert transferability.logme(NUMBERS, features, in_other_units) == pytest.approx(expected, abs=1e-5)


def test_of_words_there_is_none() -> None:
    assert transferability.logme(Spans(max_answer_words=5), np.ones((2, 2)), np.ones(2)) is None


def test_what_cannot_be_compared_is_refused() -> None:
    features, labels = np.random.default_rng(0).normal(size=(6, 4)), np.array([0, 1, 2, 0, 1, 2])
    with pytest.raises(DataError, match=r"5 rows of features, 6 of targets"):
        transferability.logme(CLASSES, features[:5], labels)
    with pytest.raises(DataError, match="every row has the same target"):
        transferability.logme(CLASSES, features, np.zeros(6, np.int64))
    features[2, 1] = np.nan
    with pytest.raises(DataError, match="row 2"):
        transferability.logme(CLASSES, features, labels)
