"""Baselines that a transformer has to beat, fitted on train.

They are the majority class, and simple models of text, pixels or frozen features.

Inputs: texts, or matrices of rows, and labels of train and validation -> a fitted baseline that labels other
rows, with log-probabilities.

- majority: the most frequent class of train.
- tfidf: TF-IDF with a linear SVM or logistic regression.
- pixels: logistic regression on the pixel values of small images.
- bands: logistic regression on the mean and deviation over time of a spectrogram's bands.
- features: logistic regression (a linear probe) or nearest neighbours on the base model's features before any
  training.

Validation chooses how strongly a linear model is regularised, as it chooses a transformer's epoch: a baseline
at the default C = 1 would flatter the models compared with it.

A linear SVM's decision values are treated as logits. They mean little as such, but the temperature of every
model, transformer or baseline, is fitted on validation (`temperature`), and reports lead with the figures at
that temperature.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.text_pairs import Pair
from baton.errors import ParamsError
from baton.linear.regularisation import TFIDF_TOLERANCE, TOLERANCE, logistic, regularised, svm
from baton.linear.tfidf import vectorize
from baton.tasks import temperature as temperatures
from baton.tasks.metrics import FLOOR, log_probabilities

VOTE_TEMPERATURE = 0.07  # of neighbours' votes, as in Wu et al. 2018

# Texts, pairs of texts, or a matrix (rows, width).
Inputs = Sequence[str] | Sequence[Pair] | NDArray[np.float32]


@dataclass(frozen=True)
class Outputs:
    """A classifier's answers for n rows: classes (n), and log-probabilities (n, classes) as trained."""

    predicted: NDArray[np.int64]
    log_p: NDArray[np.float64]
    temperature: float = 1.0  # fitted on validation
    C: float | None = None  # of a linear baseline, chosen on validation

    @property
    def scaled(self) -> NDArray[np.float64]:
        """Log-probabilities (n, classes) at the temperature, as served."""
        return temperatures.scale(self.log_p, self.temperature)


@dataclass(frozen=True)
class Fitted:
    """A baseline fitted on train."""

    vectorizer: Any  # inputs -> features of the model
    model: Any
    classes: int
    C: float | None = None  # chosen on validation

    def outputs(self, inputs: Inputs) -> Outputs:
        """Label `inputs` (n)."""
        features = self.vectorizer.transform(inputs)
        predicted = np.asarray(self.model.predict(features), dtype=np.int64)
        log_p = np.full((len(inputs), self.classes), FLOOR)  # a class without a row in train
        log_p[:, self.model.classes_] = self._log_p(features)
        return Outputs(predicted, log_p, C=self.C)

    def _log_p(self, features: Any) -> NDArray[np.float64]:
        """Return log-probabilities (n, classes of train)."""
        if hasattr(self.model, "predict_proba"):
            return np.asarray(np.log(np.maximum(self.model.predict_proba(features), np.exp(FLOOR))))
        values = self.model.decision_function(features)  # two classes have one column, the second's lead
        return log_probabilities(
            values if values.ndim == 2 else np.stack([np.zeros_like(values), values], axis=1)
        )


def fit(
    baseline: params.Baseline,
    inputs: Inputs,
    labels: NDArray[Any],
    classes: int,
    validation: tuple[Inputs, NDArray[Any]] | None = None,
    weights: NDArray[np.float32] | None = None,
) -> Fitted:
    """Fit one baseline on train.

    Args:
        baseline: which one.
        inputs: texts or pairs of texts (n) for `tfidf`, a matrix (n, width) for the others.
        labels: (n).
        classes: number of classes.
        validation: inputs and labels of the same form; chooses among several values of C, and is otherwise
            unused.
        weights: of the rows (n), as the transformers use them; nearest neighbours ignore them. None: all
            equal.

    Raises:
        DataError: no term of the train texts is left to count.
        ParamsError: `neighbours` exceeds the number of train rows.
    """
    from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

    match baseline:
        # Params refuse the mean and the median of classes.
        case params.MajorityBaseline() | params.MeanBaseline() | params.MedianBaseline():
            from sklearn.dummy import DummyClassifier

            # "prior" predicts the majority class; probabilities are the classes' shares in train.
            model, vectorizer = (
                DummyClassifier(strategy="prior"),
                FunctionTransformer(lambda rows: np.zeros((len(rows), 1))),
            )
            return Fitted(vectorizer, model.fit(vectorizer.transform(inputs), labels, weights), classes)
        case params.TfidfBaseline():
            vectorizer, features = vectorize(baseline, inputs)
            make = svm if baseline.model == "svm" else partial(logistic, TFIDF_TOLERANCE)
        case params.PixelsBaseline():
            vectorizer, features, make = FunctionTransformer(), inputs, partial(logistic, TOLERANCE)
        case params.BandsBaseline() | params.FeaturesBaseline(model="linear"):
            vectorizer, make = StandardScaler(), partial(logistic, TOLERANCE)
            features = vectorizer.fit_transform(inputs)
        case params.FeaturesBaseline():
            vectorizer, model = Normalizer(), _neighbours(baseline.neighbours, len(labels))
            return Fitted(vectorizer, model.fit(vectorizer.fit_transform(inputs), labels), classes)
        case (
            params.CopyBaseline()
            | params.NearestBaseline()
            | params.CrfBaseline()
            | params.SlidingWindowBaseline()
        ):
            raise foreign(baseline)
    held = None if validation is None else (vectorizer.transform(validation[0]), validation[1])
    model, chosen = regularised(make, baseline.C, (features, labels, weights), held)
    return Fitted(vectorizer, model, classes, chosen)


def foreign(baseline: params.Baseline) -> ParamsError:
    """Return the error for a baseline of another kind of task; params refuse it earlier."""
    return ParamsError(
        "evaluate.baselines: this one is for another kind of task",
        got=baseline.kind,
        expected="a baseline of this task",
        hint="remove it",
    )


def names(baselines: Sequence[params.Baseline], ridge: bool = False) -> list[str]:
    """Return the baselines' names.

    These are `majority`, `mean`, `median`, `tfidf_svm`, `tfidf_logistic`, `tfidf_ridge`, `pixels_logistic`,
    `bands_logistic` (of numbers `pixels_ridge`, `bands_ridge`, if linear models are ridges),
    `features_linear`, `features_knn` (those of one encoder with its name), `copy`, `nearest_word`,
    `nearest_char`, `crf` and `sliding_window`; the second one of a kind gets `_2`.
    """
    result: list[str] = []
    for baseline in baselines:
        match baseline:
            case params.PixelsBaseline():
                name = f"pixels_{'ridge' if ridge else 'logistic'}"
            case params.NearestBaseline():
                name = f"nearest_{baseline.analyzer}"
            case params.BandsBaseline():
                name = f"bands_{'ridge' if ridge else 'logistic'}"
            case params.FeaturesBaseline(encoder=encoder):
                name = f"features_{baseline.model}" + (f"_{encoder}" if encoder else "")
            case params.TfidfBaseline():
                name = f"{baseline.kind}_{baseline.model}"
            case _:
                name = baseline.kind
        count = sum(re.fullmatch(rf"{name}(_\d+)?", known) is not None for known in result) + 1
        result.append(name if count == 1 else f"{name}_{count}")
    return result


def _neighbours(count: int, rows: int) -> Any:
    """Return an unfitted nearest-neighbours model by cosine, for rows of length 1.

    A neighbour's vote is exp(cosine / `VOTE_TEMPERATURE`).
    """
    from sklearn.neighbors import KNeighborsClassifier

    if count > rows:
        expected, hint = f"at most {rows}, the rows of train", "lower it"
        raise ParamsError("evaluate.baselines: too many neighbours", got=count, expected=expected, hint=hint)
    return KNeighborsClassifier(count, weights=_votes, algorithm="brute")


def _votes(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the votes, up to a factor, of neighbours at these Euclidean distances.

    For rows of length 1 the cosine is 1 - distance**2 / 2.
    """
    return np.asarray(np.exp(-(distances**2) / 2 / VOTE_TEMPERATURE))
