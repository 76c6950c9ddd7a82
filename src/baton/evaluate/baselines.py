"""What a transformer has to beat, fitted on train: the majority class, and simple models of texts, pixels or frozen features.

Inputs: texts, or matrices of rows, and labels of train and validation -> a fitted baseline that labels others, with log-probabilities.

- majority: the most frequent class of train.
- tfidf: TF-IDF with a linear SVM or logistic regression.
- pixels: logistic regression on the values of small pictures.
- features: logistic regression (a linear probe) or nearest neighbours on what the base model makes of a sample before any training.

How much a linear model is regularised, validation chooses, as it chooses a transformer's epoch: a baseline at a default of C = 1 would
flatter what is compared with it.

A linear SVM's decision values are taken for logits. They mean little as such, but every model's temperature is fitted on validation,
transformers and baselines alike (`temperature`), and what is shown first are the figures at that temperature.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.errors import DataError, ParamsError
from baton.tasks import temperature as temperatures
from baton.tasks.metrics import FLOOR, log_probabilities

# Of the largest change of a weight in an epoch. On Fashion-MNIST's 60,000 rows 3e-3 takes 87 epochs and gives 84.4%; 1e-2 28 and 84.3%.
TOLERANCE = 3e-3
PATIENCE = 2  # values of C that may be no better
VOTE_TEMPERATURE = 0.07  # of neighbours' votes, as in Wu et al. 2018

Inputs = Sequence[str] | NDArray[np.float32]  # texts, or a matrix (rows, width)


@dataclass(frozen=True)
class Outputs:
    """A classifier's answers for n rows: classes (n), and log-probabilities (n, classes) as it was trained."""

    predicted: NDArray[np.int64]
    log_p: NDArray[np.float64]
    temperature: float = 1.0  # fitted on validation
    C: float | None = None  # of a linear baseline, chosen on validation

    @property
    def scaled(self) -> NDArray[np.float64]:
        """Log-probabilities (n, classes) at the temperature: those that are served."""
        return temperatures.scale(self.log_p, self.temperature)


@dataclass(frozen=True)
class Fitted:
    """A baseline fitted on train."""

    vectorizer: Any  # inputs -> what the model takes
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
        """Log-probabilities (n, classes of train)."""
        if hasattr(self.model, "predict_proba"):
            return np.asarray(np.log(np.maximum(self.model.predict_proba(features), np.exp(FLOOR))))
        values = self.model.decision_function(features)  # of two classes one column, the second's lead
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
        baseline: which.
        inputs: texts (n) for `tfidf`, a matrix (n, width) for `pixels` and `features`.
        labels: (n).
        classes: of labels that there are.
        validation: inputs and labels alike; chooses among several values of C, and is not read where there is one or none.
        weights: of the rows (n), as the transformers have them; neighbours know none. None: all alike.

    Raises:
        DataError: no term of the train texts is left to count.
        ParamsError: there are fewer train rows than neighbours to ask.
    """
    from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

    match baseline:
        case params.MajorityBaseline():
            from sklearn.dummy import DummyClassifier

            # "prior" labels everything with the majority class and gives the classes' shares in train as probabilities.
            model, vectorizer = (
                DummyClassifier(strategy="prior"),
                FunctionTransformer(lambda rows: np.zeros((len(rows), 1))),
            )
            return Fitted(vectorizer, model.fit(vectorizer.transform(inputs), labels, weights), classes)
        case params.TfidfBaseline():
            vectorizer, features = _vectorize(baseline, inputs)
            make = _svm if baseline.model == "svm" else partial(_logistic, 1e-4)
        case params.PixelsBaseline():
            vectorizer, features, make = FunctionTransformer(), inputs, partial(_logistic, TOLERANCE)
        case params.FeaturesBaseline(model="linear"):
            vectorizer, make = StandardScaler(), partial(_logistic, TOLERANCE)
            features = vectorizer.fit_transform(inputs)
        case params.FeaturesBaseline():
            vectorizer, model = Normalizer(), _neighbours(baseline.neighbours, len(labels))
            return Fitted(vectorizer, model.fit(vectorizer.fit_transform(inputs), labels), classes)
    held = None if validation is None else (vectorizer.transform(validation[0]), validation[1])
    model, chosen = _regularised(make, baseline.C, (features, labels, weights), held)
    return Fitted(vectorizer, model, classes, chosen)


def names(baselines: Sequence[params.Baseline]) -> list[str]:
    """`majority`, `tfidf_svm`, `tfidf_logistic`, `pixels_logistic`, `features_linear`, `features_knn`; a second one of a kind gets `_2`."""
    result: list[str] = []
    for baseline in baselines:
        match baseline:
            case params.MajorityBaseline():
                name = "majority"
            case params.PixelsBaseline():
                name = "pixels_logistic"
            case _:
                name = f"{baseline.kind}_{baseline.model}"
        count = sum(known == name or known.startswith(f"{name}_") for known in result) + 1
        result.append(name if count == 1 else f"{name}_{count}")
    return result


def _vectorize(baseline: params.TfidfBaseline, texts: Inputs) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        sublinear_tf=True,
        min_df=baseline.min_df,
        ngram_range=(1, baseline.max_ngram),
        stop_words=baseline.stop_words,
    )
    try:
        return vectorizer, vectorizer.fit_transform(texts)
    except ValueError as error:
        hint = "lower min_df or set stop_words to null in evaluate.baselines, or remove the tfidf baselines"
        expected = f"terms that occur in at least {baseline.min_df} documents"
        raise DataError(
            f"TF-IDF finds no term in the {len(texts)} train texts",
            got=str(error),
            expected=expected,
            hint=hint,
        ) from None


def _regularised(
    make: Callable[[float], Any],
    grid: Sequence[float],
    train: tuple[Any, ...],
    held: tuple[Any, NDArray[Any]] | None,
) -> tuple[Any, float]:
    """The model of `train` (features, labels, weights) that is best on the held-out rows (of equals the most regularised), and its C.

    C rises until `PATIENCE` values in a row are no better: the last ones take longest. One value needs no choice.
    """
    from sklearn.exceptions import ConvergenceWarning

    best, accuracy, worse = None, -1.0, 0
    for c in grid:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # one that stops early is a candidate too: its held-out accuracy is known
            model = make(c).fit(*train)
        if len(grid) == 1:
            return model, c
        assert held is not None, "several values of C need rows to choose by"
        found = float(model.score(*held))
        if found > accuracy:
            best, accuracy, worse = (model, c), found, 0
        else:
            worse += 1
        if worse == PATIENCE:
            break
    assert best is not None
    return best


def _logistic(tolerance: float, c: float) -> Any:
    """Unfitted logistic regression."""
    from sklearn.linear_model import LogisticRegression

    # "sag" needs a fraction of the default solver's time on many rows and classes; features of one scale, as here, are what it asks for.
    return LogisticRegression(C=c, solver="sag", tol=tolerance, max_iter=1000, random_state=0)


def _svm(c: float) -> Any:
    """An unfitted linear SVM."""
    from sklearn.svm import LinearSVC

    return LinearSVC(C=c, max_iter=10_000, random_state=0)


def _neighbours(count: int, rows: int) -> Any:
    """Unfitted nearest neighbours by cosine, for rows of length 1; a neighbour's vote is exp(cosine / `VOTE_TEMPERATURE`)."""
    from sklearn.neighbors import KNeighborsClassifier

    if count > rows:
        expected, hint = f"at most {rows}, the rows of train", "lower it"
        raise ParamsError("evaluate.baselines: too many neighbours", got=count, expected=expected, hint=hint)
    return KNeighborsClassifier(count, weights=_votes, algorithm="brute")


def _votes(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Votes, up to a factor, of neighbours at these Euclidean distances: for rows of length 1 the cosine is 1 - distance**2 / 2."""
    return np.asarray(np.exp(-(distances**2) / 2 / VOTE_TEMPERATURE))
