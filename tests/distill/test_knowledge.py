"""Soft targets of several sources: calibrated, averaged where they are known, and never of a row seen."""

import numpy as np
import pytest

from baton import params
from baton.batches import subset
from baton.distill import knowledge
from baton.distill.knowledge import Source

DRAW = np.random.default_rng(0)
TFIDF = params.TfidfKnowledge(
    kind="tfidf", weight=1.0, folds=3, min_df=1, max_ngram=1, stop_words=None, C=(100.0,)
)


def log(*rows: list[float]) -> np.ndarray:
    return np.log(np.array(rows))


def test_the_mean_is_that_of_probabilities_with_weights() -> None:
    one, two = Source("one", 3.0, {"train": log([0.9, 0.1])}), Source("two", 1.0, {"train": log([0.1, 0.9])})
    assert np.exp(knowledge.mean([one, two], "train")) == pytest.approx(np.array([[0.7, 0.3]]))


def test_a_row_that_a_source_does_not_know_is_left_to_the_others() -> None:
    file = Source("file", 5.0, {"train": np.array([[np.nan, np.nan], [0.0, -30.0], [np.nan, np.nan]])})
    teacher = Source("teacher", 1.0, {"train": log([0.2, 0.8], [0.5, 0.5], [0.4, 0.6])})
    found = np.exp(knowledge.mean([file, teacher], "train"))
    assert found[[0, 2]] == pytest.approx(np.array([[0.2, 0.8], [0.4, 0.6]]))
    assert found[1, 0] == pytest.approx((5 + 0.5) / 6)
    alone = knowledge.mean([file], "train")
    assert np.isnan(alone[[0, 2]]).all() and np.isfinite(alone[1]).all()


def test_an_overconfident_source_is_calibrated_before_it_is_averaged() -> None:
    labels = DRAW.integers(0, 2, 400)
    right = DRAW.random(400) < 0.7
    logits = np.zeros((400, 2))
    logits[np.arange(400), np.where(right, labels, 1 - labels)] = 50.0
    made = Source("loud", 1.0, {"val": logits, "train": logits}).calibrated(labels)
    assert np.exp(made.answers["train"]).max() == pytest.approx(0.7, abs=0.05)
    file = Source("file", 1.0, {"train": log([0.9, 0.1])})
    assert file.calibrated(labels) is file


def test_tfidf_answers_rows_of_train_out_of_fold() -> None:
    """Each text has a word of its own that gives its random label away to a model that has seen it."""
    labels = DRAW.integers(0, 2, 60)
    texts = {"train": [f"common word{row}" for row in range(60)], "val": ["common"] * 4, "rest": ["word3"]}
    known = {"train": labels, "val": np.array([0, 1, 0, 1])}
    folds = subset.folds(labels, np.arange(60), 3, 0)
    made = knowledge.tfidf(TFIDF, texts, known, folds, 3)
    assert set(made.answers) == {"train", "val", "rest"} and made.answers["train"].shape == (60, 3)
    assert (made.answers["train"][:, :2].argmax(axis=1) == labels).mean() < 0.75
    peeking = [(np.arange(60), scored) for _, scored in folds]  # the control
    seen = knowledge.tfidf(TFIDF, texts, known, peeking, 3)
    assert (seen.answers["train"][:, :2].argmax(axis=1) == labels).mean() > 0.95
    assert np.exp(made.answers["rest"]).sum(axis=1) == pytest.approx(np.ones(1))


def test_a_label_becomes_a_certain_soft_target() -> None:
    found = np.exp(knowledge.of_labels(np.array([2, 0]), 3))
    assert found.argmax(axis=1).tolist() == [2, 0] and found.sum(axis=1) == pytest.approx(np.ones(2))
