"""What a transformer has to beat: the majority class, and TF-IDF with a linear model. Fitted on train only.

Inputs: train texts and labels -> a fitted baseline that labels other texts, with log-probabilities.

A linear SVM's decision values are no probabilities. They become some by temperature scaling, whose one number is fitted on train by 5-fold
cross-validation; the SVM itself is fitted on all of train. Temperature scaling keeps the order of classes, so labels, accuracy and F1 are
the plain SVM's, and only log loss, Brier score and ECE depend on it (Guo et al. 2017).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.errors import DataError
from baton.evaluate.metrics import FLOOR

FOLDS = 5


@dataclass(frozen=True)
class Outputs:
    """A classifier's answers for n rows: classes (n), and log-probabilities (n, classes) or None where it has no probabilities."""

    predicted: NDArray[np.int64]
    log_p: NDArray[np.float64] | None


@dataclass(frozen=True)
class Fitted:
    """A baseline fitted on train."""

    vectorizer: Any
    model: Any
    classes: int

    def outputs(self, texts: Sequence[str]) -> Outputs:
        """Label `texts` (n)."""
        features = self.vectorizer.transform(texts) if self.vectorizer is not None else np.zeros((len(texts), 1))
        calibrated = getattr(self.model, "calibrated_classifiers_", None)
        plain = (
            calibrated[0].estimator if calibrated else self.model
        )  # the plain model's own labels, whatever rounding does to its probabilities
        predicted = np.asarray(plain.predict(features), dtype=np.int64)
        if not hasattr(self.model, "predict_proba"):
            return Outputs(predicted, None)
        log_p = np.full((len(texts), self.classes), FLOOR)  # a class without a row in train
        log_p[:, self.model.classes_] = np.log(np.maximum(self.model.predict_proba(features), np.exp(FLOOR)))
        return Outputs(predicted, log_p)


def fit(baseline: params.Baseline, texts: Sequence[str], labels: NDArray[Any], classes: int) -> Fitted:
    """Fit one baseline on the train texts (n) and labels (n).

    Raises:
        DataError: no term of the train texts is left to count.
    """
    match baseline:
        case params.MajorityBaseline():
            from sklearn.dummy import DummyClassifier

            # "prior" labels everything with the majority class and gives the classes' shares in train as probabilities.
            return Fitted(None, DummyClassifier(strategy="prior").fit(np.zeros((len(texts), 1)), labels), classes)
        case params.TfidfBaseline():
            vectorizer, features = _vectorize(baseline, texts)
            return Fitted(vectorizer, _linear(baseline, labels).fit(features, labels), classes)


def names(baselines: Sequence[params.Baseline]) -> list[str]:
    """`majority`, `tfidf_svm`, `tfidf_logistic`; a second one of a kind gets `_2`."""
    result: list[str] = []
    for baseline in baselines:
        name = baseline.kind if isinstance(baseline, params.MajorityBaseline) else f"{baseline.kind}_{baseline.model}"
        count = sum(known == name or known.startswith(f"{name}_") for known in result) + 1
        result.append(name if count == 1 else f"{name}_{count}")
    return result


def _vectorize(baseline: params.TfidfBaseline, texts: Sequence[str]) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        sublinear_tf=True, min_df=baseline.min_df, ngram_range=(1, baseline.max_ngram), stop_words=baseline.stop_words
    )
    try:
        return vectorizer, vectorizer.fit_transform(texts)
    except ValueError as error:
        hint = "lower min_df or set stop_words to null in evaluate.baselines, or remove the tfidf baselines"
        expected = f"terms that occur in at least {baseline.min_df} documents"
        raise DataError(f"TF-IDF finds no term in the {len(texts)} train texts", got=str(error), expected=expected, hint=hint) from None


def _linear(baseline: params.TfidfBaseline, labels: NDArray[Any]) -> Any:
    """The unfitted linear model, with scikit-learn's regularisation (C = 1)."""
    if baseline.model == "logistic":
        from sklearn.linear_model import LogisticRegression

        # "sag" needs a fifteenth of the default solver's time on 20 classes; features of one scale, as here, are what it asks for.
        return LogisticRegression(solver="sag", max_iter=1000, random_state=0)
    from sklearn.svm import LinearSVC

    svm = LinearSVC(max_iter=10_000, random_state=0)
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    if smallest < 2:
        return svm  # nothing to cross-validate: this SVM has labels but no probabilities
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import StratifiedKFold

    return CalibratedClassifierCV(svm, method="temperature", ensemble=False, cv=StratifiedKFold(min(FOLDS, smallest)))
