"""TF-IDF of pairs: by hand, and that a linear model learns from it what two vectors do not show it."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from baton import params
from baton.contracts.task_spec import Numbers
from baton.errors import DataError
from baton.evaluate import baselines
from baton.evaluate.number_baselines import NumberBaselines
from baton.linear import tfidf
from baton.linear.pair_features import PairVectorizer

TFIDF = params.TfidfBaseline(kind="tfidf", model="svm", min_df=1, max_ngram=1, stop_words=None, C=(1.0, 10.0))
WORDS = [f"word{number}" for number in range(60)]


def draw(seed: int, count: int) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Return pairs of texts of 6 words: those of class 1 share 4 words, those of class 0 none."""
    random = np.random.default_rng(seed)
    pairs = []
    for row in range(count):
        words = random.permutation(WORDS)
        second = [*words[:4], *words[6:8]] if row % 2 else words[6:12]
        pairs.append((" ".join(words[:6]), " ".join(random.permutation(second))))
    return pairs, np.arange(count) % 2


def test_features_by_hand() -> None:
    """Both terms have the idf 1: a is (1, 1) / sqrt(2), b is (0, 1)."""
    vectorizer = PairVectorizer(TfidfVectorizer(use_idf=False))
    found = vectorizer.fit_transform([("red blue", "blue"), ("red", "red")])  # terms: blue, red
    half = 2**-0.5
    assert sparse.issparse(found)
    np.testing.assert_allclose(
        found.toarray(),
        [
            [half, half, 1, 0, 1 - half, half, half, 0, half],
            [0, 1, 0, 1, 0, 0, 0, 1, 1],
        ],
    )
    assert vectorizer.transform([("green", "red")]).toarray().tolist() == [[0, 0, 0, 1, 0, 1, 0, 0, 0]]


def test_a_baseline_compares_the_texts_of_a_pair() -> None:
    (pairs, labels), (val, val_labels), (test, truth) = draw(0, 200), draw(1, 100), draw(2, 200)
    fitted = baselines.fit(TFIDF, pairs, labels, 2, (val, val_labels))
    assert (fitted.outputs(test).predicted == truth).mean() > 0.95
    # Negative control: the two vectors side by side do not tell the classes apart.
    vectorizer = TfidfVectorizer().fit([text for pair in pairs for text in pair])
    sides = [
        sparse.hstack([vectorizer.transform([pair[side] for pair in some]) for side in (0, 1)])
        for some in (pairs, test)
    ]
    assert (LinearSVC(C=1.0).fit(sides[0], labels).predict(sides[1]) == truth).mean() < 0.65


def test_a_ridge_rates_how_much_the_texts_share() -> None:
    random, pairs, shares = np.random.default_rng(0), [], []
    for _ in range(600):
        words, same = random.permutation(WORDS), int(random.integers(0, 7))
        pairs.append((" ".join(words[:6]), " ".join([*words[:same], *words[6 : 12 - same]])))
        shares.append([same / 6])
    numbers = np.array(shares)
    fitted = NumberBaselines(Numbers(("share",), (0.5,), (0.3,), "mse", 0.9)).fit(
        TFIDF, pairs[:400], numbers[:400], (pairs[400:500], numbers[400:500]), None
    )
    error = np.abs(fitted.outputs(pairs[500:]).values - numbers[500:]).mean()
    assert error < 0.05 < np.abs(numbers - numbers.mean()).mean()


def test_pairs_without_terms_are_refused_as_texts_are() -> None:
    with pytest.raises(DataError, match="TF-IDF finds no term in the 2 train texts"):
        tfidf.vectorize(TFIDF, [("!", "?"), (".", ",")])
