"""Baselines of images on scikit-learn's digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from baton import params
from baton.errors import ParamsError
from baton.evaluate import baselines
from baton.tasks import metrics

PIXELS = params.PixelsBaseline(kind="pixels", side=8, C=(1.0,))
TFIDF = params.TfidfBaseline(kind="tfidf", model="svm", min_df=1, max_ngram=1, stop_words=None, C=(1.0,))


def features(model: str, neighbours: int = 20) -> params.FeaturesBaseline:
    return params.FeaturesBaseline.model_validate(
        {"kind": "features", "model": model, "neighbours": neighbours, "C": (1.0,)}
    )


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train and test: pixels from 0 to 1, labels."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    matrix, labels = (found.data[order] / 16).astype(np.float32), found.target[order]
    return matrix[:1437], labels[:1437], matrix[1437:], labels[1437:]


def test_pixels_reach_what_logistic_regression_reaches(digits: tuple[np.ndarray, ...]) -> None:
    train, labels, test, truth = digits
    got = baselines.fit(PIXELS, train, labels, 10).outputs(test)
    exact = LogisticRegression(max_iter=1000).fit(train, labels)
    accuracy = (got.predicted == truth).mean()
    assert accuracy == pytest.approx(exact.score(test, truth), abs=0.006)  # two of 360 digits
    assert accuracy > 0.95
    assert np.exp(got.log_p) == pytest.approx(exact.predict_proba(test), abs=0.1)
    assert (got.log_p.argmax(1) == got.predicted).all()


@pytest.mark.parametrize(("model", "least"), [("linear", 0.95), ("knn", 0.97)])
def test_features_are_probed(digits: tuple[np.ndarray, ...], model: str, least: float) -> None:
    train, labels, test, truth = digits
    got = baselines.fit(features(model), train, labels, 10).outputs(test)
    assert (got.predicted == truth).mean() > least
    assert np.exp(got.log_p).sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert metrics.scores(got.log_p, truth)["log_loss"] < 0.6


def test_neighbours_vote_by_cosine(digits: tuple[np.ndarray, ...]) -> None:
    """The votes match a direct computation, independent of the length of a row."""
    train, labels, test, _ = digits
    fitted = baselines.fit(features("knn", 5), train, labels, 10)
    got = fitted.outputs(test[:40])
    rows, others = (
        part.astype(np.float64) / np.linalg.norm(part, axis=1, keepdims=True) for part in (test[:40], train)
    )
    cosine = rows @ others.T
    for row in range(40):
        nearest = np.argsort(-cosine[row])[:5]
        votes = np.bincount(labels[nearest], np.exp(cosine[row, nearest] / 0.07), 10)
        assert np.exp(got.log_p[row]) == pytest.approx(votes / votes.sum(), abs=1e-4)
    longer = fitted.outputs(test[:40] * 7)
    assert longer.log_p == pytest.approx(got.log_p, abs=1e-3)
    assert (longer.predicted == got.predicted).all()


def test_a_probe_does_not_mind_the_scale_of_a_feature(digits: tuple[np.ndarray, ...]) -> None:
    train, labels, test, _ = digits
    scale = np.geomspace(1e-3, 1e3, 64).astype(np.float32)
    plain, scaled = (
        baselines.fit(features("linear"), train * by, labels, 10).outputs(test * by)
        for by in (np.float32(1), scale)
    )
    assert (plain.predicted == scaled.predicted).mean() > 0.99


def test_a_class_without_rows_gets_no_probability(digits: tuple[np.ndarray, ...]) -> None:
    train, labels, test, _ = digits
    seen = labels != 3
    for baseline in (PIXELS, features("knn")):
        got = baselines.fit(baseline, train[seen], labels[seen], 10).outputs(test)
        assert (got.log_p[:, 3] == metrics.FLOOR).all()


def test_more_neighbours_than_rows_are_refused(digits: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(ParamsError, match=r"too many neighbours\s+got:\s+6\s+expected: at most 5"):
        baselines.fit(features("knn", 6), digits[0][:5], digits[1][:5], 10)


def test_names() -> None:
    wanted = [PIXELS, features("linear"), features("knn"), features("knn", 5)]
    assert baselines.names(wanted) == ["pixels_logistic", "features_linear", "features_knn", "features_knn_2"]
