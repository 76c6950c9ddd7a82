"""Soft targets from several sources: the weighted mean of their probabilities.

Inputs: what each source says of each row, as logits or log-probabilities (rows, classes) -> log-probabilities
of the mean. Each source is calibrated on val first (temperature scaling), so that an overconfident one does
not outvote the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.soft_labels import FLOOR
from baton.linear.regularisation import TFIDF_TOLERANCE, logistic, regularised
from baton.linear.tfidf import vectorize
from baton.tasks import temperature

Logits = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """What one source says; `answers` has the splits that it knows, and NaN for rows that it does not."""

    name: str
    weight: float
    answers: Mapping[str, Logits]  # split -> (rows, classes)

    def calibrated(self, labels: NDArray[np.int64]) -> "Source":
        """Return the source at the temperature that fits val's `labels` (rows,); a file has no val."""
        if "val" not in self.answers:
            return self
        fitted = temperature.fit(self.answers["val"], labels)
        found: dict[str, Logits] = {
            split: temperature.scale(own, fitted) for split, own in self.answers.items()
        }
        return Source(self.name, self.weight, found)


def mean(sources: Sequence[Source], split: str) -> Logits:
    """Return the log of the weighted mean probabilities, (rows, classes); NaN where no source knows a row."""
    known = [source for source in sources if split in source.answers]
    total = np.zeros_like(known[0].answers[split])
    weight = np.zeros(len(total))
    for source in known:
        own = source.answers[split]
        rows = ~np.isnan(own).any(axis=1)
        total[rows] += source.weight * np.exp(own[rows])
        weight[rows] += source.weight
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight[:, None] > 0, np.log(total / weight[:, None]), np.nan))


def of_labels(labels: NDArray[np.int64], classes: int) -> Logits:
    """Return log-probabilities (rows, classes) that leave nearly everything to each row's label, (rows,)."""
    found = np.full((len(labels), classes), FLOOR)
    found[np.arange(len(labels)), labels] = 1 - FLOOR * (classes - 1)
    return np.asarray(np.log(found))


def tfidf(
    own: params.TfidfKnowledge,
    texts: Mapping[str, Sequence[str] | Sequence[tuple[str, str]]],
    labels: Mapping[str, NDArray[np.int64]],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    classes: int,
) -> Source:
    """Return the answers of a logistic regression on TF-IDF, fitted on train.

    Args:
        own: its settings; val chooses `C`.
        texts: of train, val and any other splits.
        labels: of train and val, (rows,).
        folds: of train: rows to fit on, rows to answer.
        classes: number of classes.

    Raises:
        DataError: no term of the train texts is left to count.
    """
    settings = params.TfidfBaseline(
        kind="tfidf",
        model="logistic",
        min_df=own.min_df,
        max_ngram=own.max_ngram,
        stop_words=own.stop_words,
        C=own.C,
    )
    vectorizer, features = vectorize(settings, texts["train"])

    held = vectorizer.transform(texts["val"]), labels["val"]
    make = partial(logistic, TFIDF_TOLERANCE)
    model, chosen = regularised(make, own.C, (features, labels["train"], None), held)
    answers = {
        split: _log(model, vectorizer.transform(read), classes)
        for split, read in texts.items()
        if split != "train"
    }
    answers["train"] = np.full((len(labels["train"]), classes), np.log(FLOOR))
    for fitted, scored in folds:
        if len(known := np.unique(labels["train"][fitted])) == 1:  # a fold of few rows
            answers["train"][scored] = of_labels(np.repeat(known, len(scored)), classes)
            continue
        part = make(chosen).fit(features[fitted], labels["train"][fitted])
        answers["train"][scored] = _log(part, features[scored], classes)
    return Source("tfidf", own.weight, answers)


def _log(model: object, features: object, classes: int) -> Logits:
    """Return log-probabilities (rows, classes); classes that the model does not know have `FLOOR`."""
    found = np.full((features.shape[0], classes), FLOOR)  # type: ignore[attr-defined]
    found[:, model.classes_] = np.maximum(model.predict_proba(features), FLOOR)  # type: ignore[attr-defined]
    return np.asarray(np.log(found / found.sum(axis=1, keepdims=True)))
