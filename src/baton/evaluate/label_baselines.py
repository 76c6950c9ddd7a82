"""Baselines for several labels per row: each label's share in train, and one linear model per label.

Inputs: texts or a matrix of rows, and targets (n, labels) of train and validation -> a fitted baseline that
gives logits of other rows. Validation chooses the regularisation of all labels together, by micro F1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import baselines
from baton.evaluate.label_outputs import LARGEST, LabelOutputs, of_probabilities
from baton.linear.regularisation import TFIDF_TOLERANCE, TOLERANCE, logistic, regularised, svm
from baton.linear.tfidf import vectorize
from baton.tasks.label_figures import micro_f1
from baton.tasks.label_thresholds import crossed

Targets = NDArray[np.float32]


class OneVsRest:
    """One binary model per label; a label that none or all of the train rows have is answered so.

    scikit-learn's OneVsRestClassifier neither takes weights of rows without metadata routing, nor gives a
    label that is constant in train a logit.
    """

    def __init__(self, make: Callable[[float], Any], c: float) -> None:
        """Take what makes an unfitted binary model at an inverse regularisation."""
        self.make, self.c = make, c
        self.models: list[Any] = []  # a model, or the logit of a constant label

    def fit(self, features: Any, targets: Targets, weights: NDArray[np.float32] | None = None) -> "OneVsRest":
        """Fit every label on features (n, …) and targets (n, labels)."""
        for own in targets.T > 0:
            constant = LARGEST if own.all() else -LARGEST
            varies = own.any() and not own.all()
            self.models.append(self.make(self.c).fit(features, own, weights) if varies else constant)
        return self

    def logits(self, features: Any) -> NDArray[np.float64]:
        """Return decision values (n, labels)."""
        rows = features.shape[0]
        columns = [
            np.full(rows, model) if isinstance(model, float) else model.decision_function(features)
            for model in self.models
        ]
        return np.stack(columns, axis=1)

    def score(self, features: Any, targets: Targets) -> float:
        """Return micro F1 at thresholds of the other half of the rows, as validation measures models."""
        return micro_f1(targets, crossed(self.logits(features), targets > 0))


@dataclass(frozen=True)
class LabelFitted:
    """A baseline fitted on train."""

    logits: Callable[[Any], NDArray[np.float64]]  # inputs -> (n, labels)
    C: float | None = None  # chosen on validation

    def outputs(self, inputs: baselines.Inputs) -> LabelOutputs:
        """Return the outputs for `inputs` (n)."""
        return LabelOutputs(self.logits(inputs), C=self.C)


@dataclass(frozen=True)
class LabelBaselines:
    """The baselines of this module; see `task_reports.TaskBaselines`."""

    ridge: ClassVar[bool] = False

    def fit(
        self,
        baseline: params.Baseline,
        inputs: baselines.Inputs,
        targets: Targets,
        validation: tuple[baselines.Inputs, Targets] | None,
        weights: NDArray[np.float32] | None,
    ) -> LabelFitted:
        """Fit a baseline, see `fit`."""
        return fit(baseline, inputs, targets, validation, weights)

    def arrays(self, outputs: LabelOutputs) -> dict[str, NDArray[Any]]:
        """Return `logits`."""
        return {"logits": outputs.logits}

    def of_arrays(self, arrays: Mapping[str, NDArray[Any]], C: float | None) -> LabelOutputs:  # noqa: N803
        """Return the outputs whose `arrays` these are."""
        return LabelOutputs(arrays["logits"], C=C)


def fit(
    baseline: params.Baseline,
    inputs: baselines.Inputs,
    targets: Targets,
    validation: tuple[baselines.Inputs, Targets] | None = None,
    weights: NDArray[np.float32] | None = None,
) -> LabelFitted:
    """Fit one baseline on train, see `baselines.fit`; targets are (n, labels).

    Raises:
        DataError: no term of the train texts is left to count.
    """
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    match baseline:
        case params.MajorityBaseline() | params.MeanBaseline() | params.MedianBaseline():
            # Params refuse the mean and the median of labels.
            shares = np.average(targets.astype(np.float64), axis=0, weights=weights)
            logits = of_probabilities(shares)
            return LabelFitted(lambda rows: np.tile(logits, (len(rows), 1)))
        case params.TfidfBaseline():
            vectorizer, features = vectorize(baseline, inputs)
            make = svm if baseline.model == "svm" else partial(logistic, TFIDF_TOLERANCE)
        case params.PixelsBaseline():
            vectorizer, features = FunctionTransformer(), inputs
            make = partial(logistic, TOLERANCE)
        case params.BandsBaseline() | params.FeaturesBaseline():
            vectorizer, make = StandardScaler(), partial(logistic, TOLERANCE)
            features = vectorizer.fit_transform(inputs)
        case (
            params.CopyBaseline()
            | params.NearestBaseline()
            | params.CrfBaseline()
            | params.SlidingWindowBaseline()
        ):
            raise baselines.foreign(baseline)
    held = None if validation is None else (vectorizer.transform(validation[0]), validation[1])
    model, chosen = regularised(
        partial(OneVsRest, make), baseline.C, (features, targets, weights), held, nothing=0.0
    )
    return LabelFitted(lambda rows: model.logits(vectorizer.transform(rows)), chosen)
