"""Baselines on real text: fitted on train alone, with the same labels as a plain SVM."""

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from baton import params
from baton.errors import DataError
from baton.evaluate import baselines
from baton.evaluate.baselines import Outputs
from baton.linear.regularisation import regularised
from baton.tasks import metrics
from tests.evaluate.conftest import NAMES, Split

MAJORITY = params.MajorityBaseline(kind="majority")


def tfidf(
    model: str = "svm",
    min_df: int = 2,
    max_ngram: int = 1,
    stop_words: str | None = "english",
    grid: tuple[float, ...] = (1.0,),
) -> params.TfidfBaseline:
    values = {
        "kind": "tfidf",
        "model": model,
        "min_df": min_df,
        "max_ngram": max_ngram,
        "stop_words": stop_words,
        "C": grid,
    }
    return params.TfidfBaseline.model_validate(values)


def test_majority_says_the_most_frequent_and_the_shares() -> None:
    labels = np.array([2, 2, 0, 2, 1])
    got = baselines.fit(MAJORITY, ["a"] * 5, labels, 4).outputs(["x", "y"])
    assert got.predicted.tolist() == [2, 2]
    assert np.exp(got.log_p) == pytest.approx(np.array([[0.2, 0.2, 0.6, 0]] * 2), abs=1e-12)


@pytest.mark.parametrize("model", ["svm", "logistic"])
def test_tfidf_beats_the_majority_by_far(model: str, splits: dict[str, Split]) -> None:
    texts, labels = splits["train"]
    got = baselines.fit(tfidf(model), texts, labels, len(NAMES)).outputs(splits["test"][0])
    accuracy = (got.predicted == splits["test"][1]).mean()
    assert accuracy > np.bincount(splits["test"][1]).max() / len(splits["test"][1]) + 0.1
    assert np.exp(got.log_p).sum(axis=1) == pytest.approx(1)
    assert metrics.scores(got.log_p, splits["test"][1])["log_loss"] < np.log(len(NAMES))


def test_decision_values_become_probabilities_without_a_change_of_labels(splits: dict[str, Split]) -> None:
    texts, labels = splits["train"]
    fitted = baselines.fit(tfidf(), texts, labels, len(NAMES))
    got = fitted.outputs(splits["test"][0])
    plain = LinearSVC(max_iter=10_000, random_state=0).fit(fitted.vectorizer.transform(texts), labels)
    assert got.predicted.tolist() == plain.predict(fitted.vectorizer.transform(splits["test"][0])).tolist()
    assert got.log_p.argmax(axis=1).tolist() == got.predicted.tolist()


def test_two_classes_too(splits: dict[str, Split]) -> None:
    texts, labels = splits["train"]
    got = baselines.fit(tfidf(), texts, np.minimum(labels, 1), 2).outputs(splits["test"][0])
    assert got.log_p.shape == (len(splits["test"][0]), 2)
    assert got.log_p.argmax(axis=1).tolist() == got.predicted.tolist()


def test_the_vocabulary_is_trains(splits: dict[str, Split]) -> None:
    """Rows to label change neither terms nor weights nor the answers for other rows."""
    texts, labels = splits["train"]
    fitted = baselines.fit(tfidf(min_df=1), texts, labels, len(NAMES))
    terms, weights = set(fitted.vectorizer.vocabulary_), fitted.vectorizer.idf_.copy()
    alone = fitted.outputs(splits["test"][0][:5])
    among = fitted.outputs([*splits["test"][0][:5], "zyzzyva " * 50, *splits["val"][0]])
    assert "zyzzyva" not in fitted.vectorizer.vocabulary_
    assert set(fitted.vectorizer.vocabulary_) == terms
    assert (fitted.vectorizer.idf_ == weights).all()
    assert (alone.log_p == among.log_p[:5]).all()
    # Negative control: fitting on more rows does change the vocabulary.
    more = baselines.fit(tfidf(min_df=1), [*texts, "zyzzyva"], np.append(labels, 0), len(NAMES))
    assert "zyzzyva" in more.vectorizer.vocabulary_


def test_params_reach_the_vectorizer(splits: dict[str, Split]) -> None:
    texts, labels = splits["train"]
    terms = {
        name: set(baselines.fit(one, texts, labels, len(NAMES)).vectorizer.vocabulary_)
        for name, one in {
            "base": tfidf(),
            "rare": tfidf(min_df=1),
            "pairs": tfidf(max_ngram=2),
            "stop": tfidf(stop_words=None),
        }.items()
    }
    assert terms["base"] < terms["rare"]
    assert any(" " in term for term in terms["pairs"])
    assert not any(" " in term for term in terms["base"])
    assert "the" in terms["stop"] - terms["base"]


def test_an_svms_log_probabilities_are_the_softmax_of_its_decision_values(splits: dict[str, Split]) -> None:
    texts, labels = splits["train"]
    for classes in (2, 3):
        fitted = baselines.fit(tfidf(), texts, np.minimum(labels, classes - 1), classes)
        values = fitted.model.decision_function(fitted.vectorizer.transform(splits["test"][0]))
        got = fitted.outputs(splits["test"][0])
        leads = (
            np.log(1 / (1 + np.exp(-values)))
            if classes == 2
            else values[:, 1] - np.log(np.exp(values).sum(axis=1))
        )
        assert got.log_p[:, 1] == pytest.approx(leads)
        once, twice = Outputs(got.predicted, got.log_p, 0.25).scaled, metrics.log_probabilities(got.log_p * 4)
        assert once == pytest.approx(twice)


def test_a_class_with_one_row_has_probabilities_too() -> None:
    texts = ["wheat corn", "wheat barley", "ship port", "ship vessel", "wheat rye", "tariff"]
    got = baselines.fit(tfidf(min_df=1), texts, np.array([0, 0, 1, 1, 0, 2]), 3).outputs(["wheat", "tariff"])
    assert got.predicted.tolist() == got.log_p.argmax(axis=1).tolist() == [0, 2]


def test_a_class_without_rows_gets_no_probability() -> None:
    texts = ["wheat corn", "wheat barley", "ship port", "ship vessel"] * 3
    got = baselines.fit(tfidf(), texts, np.array([0, 0, 2, 2] * 3), 4).outputs(["wheat", "ship"])
    assert got.predicted.tolist() == [0, 2]
    assert (got.log_p[:, [1, 3]] == metrics.FLOOR).all()


@pytest.mark.parametrize("model", ["svm", "logistic"])
def test_validation_chooses_how_much_is_regularised(model: str, splits: dict[str, Split]) -> None:
    """The choice equals fitting with each C and picking the best on validation, with ties to the first.

    At C = 0.001 a logistic model predicts the majority class.
    """
    (texts, labels), val = splits["train"], splits["val"]
    grid = (0.001, 0.1, 1.0, 10.0)
    alone = {c: baselines.fit(tfidf(model, grid=(c,)), texts, labels, len(NAMES)) for c in grid}
    scores = {c: (one.outputs(val[0]).predicted == val[1]).mean() for c, one in alone.items()}
    assert len(set(scores.values())) > 1
    expected = max(grid, key=lambda c: scores[c])
    fitted = baselines.fit(tfidf(model, grid=grid), texts, labels, len(NAMES), val)
    assert fitted.C == expected > 0.001
    assert (
        fitted.outputs(splits["test"][0]).predicted == alone[expected].outputs(splits["test"][0]).predicted
    ).all()


def test_other_validation_rows_choose_another() -> None:
    """Validation alone chooses: ties go to the most regularised model.

    Two values without improvement end the search.
    """
    tried: list[float] = []

    class Scored:
        def __init__(self, c: float) -> None:
            tried.append(c)
            self.c = c

        def fit(self, *_: object) -> "Scored":
            return self

        def score(self, scores: dict[float, float], _: object) -> float:
            return scores[self.c]

    grid, nothing = (0.1, 1.0, 10.0, 100.0), np.array([0])
    for scores, chosen, count in (
        ({0.1: 0.7, 1.0: 0.9, 10.0: 0.9, 100.0: 0.8}, 1.0, 4),
        ({0.1: 0.9, 1.0: 0.8, 10.0: 0.9, 100.0: 1.0}, 0.1, 3),
        ({0.1: 0.5, 1.0: 0.6, 10.0: 0.5, 100.0: 0.7}, 100.0, 4),
    ):
        tried.clear()
        assert regularised(Scored, grid, (nothing, nothing), (scores, nothing))[1] == chosen
        assert len(tried) == count


def test_no_term_left_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no term[\s\S]*min_df"):
        baselines.fit(tfidf(min_df=5), ["wheat", "ship", "corn"], np.array([0, 1, 0]), 2)


def test_names() -> None:
    assert baselines.names([MAJORITY, tfidf(), tfidf("logistic"), tfidf(max_ngram=2), MAJORITY]) == [
        "majority",
        "tfidf_svm",
        "tfidf_logistic",
        "tfidf_svm_2",
        "majority_2",
    ]


@pytest.mark.parametrize(
    "baseline", [MAJORITY, tfidf("svm", grid=(1.0,), min_df=1), tfidf("logistic", grid=(1.0,), min_df=1)]
)
def test_a_baseline_believes_the_rows_of_weight(baseline: params.Baseline) -> None:
    texts = ["wheat crop", "ship port", "oil well"] * 3
    labels, weights = np.repeat([0, 1, 1], 3), np.repeat([9.0, 1.0, 1.0], 3).astype(np.float32)
    assert set(baselines.fit(baseline, texts, labels, 2, weights=weights).outputs(texts).predicted) == {0}
    assert set(baselines.fit(baseline, texts, labels, 2).outputs(texts).predicted) == {1}
