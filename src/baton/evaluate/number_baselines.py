"""Baselines for numbers: mean and median of train, and ridge regression on TF-IDF, pixels or frozen features.

Inputs: texts or a matrix of rows, and targets (n, numbers) of train and validation -> a fitted baseline that
gives numbers of other rows. Validation chooses how strongly the ridge is regularised, by the mean absolute
error; its penalty is 1 / C (Hoerl and Kennard 1970, Ridge regression).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Numbers
from baton.evaluate import baselines
from baton.evaluate.number_outputs import NumberOutputs
from baton.linear.regularisation import regularised
from baton.linear.tfidf import vectorize

Targets = NDArray[np.float64]
TOLERANCE = 1e-10  # of conjugate gradients


class Ridge:
    """Ridge regression of standardised numbers on features."""

    def __init__(self, c: float) -> None:
        """Take the inverse of the penalty."""
        from sklearn.linear_model import Ridge as Model

        # Dense features are solved by a factorisation, sparse ones by conjugate gradients, whose default
        # tolerance of 1e-4 changes the third digit of a prediction.
        self.model = Model(alpha=1 / c, solver="auto", tol=TOLERANCE)

    def fit(self, features: Any, targets: Targets, weights: NDArray[np.float32] | None = None) -> "Ridge":
        """Fit on features (n, …) and targets (n, numbers)."""
        self.model.fit(features, targets, weights)
        return self

    def predict(self, features: Any) -> Targets:
        """Return standardised numbers (n, numbers)."""
        return np.asarray(self.model.predict(features), np.float64).reshape(features.shape[0], -1)

    def score(self, features: Any, targets: Targets) -> float:
        """Return minus the mean absolute error of standardised numbers."""
        return -float(np.abs(self.predict(features) - targets).mean())


@dataclass(frozen=True)
class NumberFitted:
    """A baseline fitted on train."""

    values: Callable[[Any], Targets]  # inputs -> (n, numbers), in their units
    C: float | None = None  # chosen on validation

    def outputs(self, inputs: baselines.Inputs) -> NumberOutputs:
        """Return the outputs for `inputs` (n)."""
        return NumberOutputs(self.values(inputs), C=self.C)


@dataclass(frozen=True)
class NumberBaselines:
    """The baselines of this module; see `task_reports.TaskBaselines`."""

    spec: Numbers

    ridge: ClassVar[bool] = True

    def fit(
        self,
        baseline: params.Baseline,
        inputs: baselines.Inputs,
        targets: Targets,
        validation: tuple[baselines.Inputs, Targets] | None,
        weights: NDArray[np.float32] | None,
    ) -> NumberFitted:
        """Fit one baseline on train, see `baselines.fit`; targets are (n, numbers).

        Raises:
            DataError: no term of the train texts is left to count.
        """
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        match baseline:
            case params.MajorityBaseline() | params.MeanBaseline():
                mean = np.average(targets, axis=0, weights=weights)
                return NumberFitted(lambda rows: np.tile(mean, (len(rows), 1)))
            case params.MedianBaseline():
                own = np.ones(len(targets)) if weights is None else weights
                middle = np.array([median(values, own) for values in targets.T])
                return NumberFitted(lambda rows: np.tile(middle, (len(rows), 1)))
            case params.TfidfBaseline():
                vectorizer, features = vectorize(baseline, inputs)
            case params.PixelsBaseline():
                vectorizer, features = FunctionTransformer(), inputs
            case (
                params.CopyBaseline()
                | params.NearestBaseline()
                | params.CrfBaseline()
                | params.SlidingWindowBaseline()
            ):
                raise baselines.foreign(baseline)
            case params.BandsBaseline() | params.FeaturesBaseline():
                vectorizer = StandardScaler()
                features = vectorizer.fit_transform(inputs)
        held = validation and (vectorizer.transform(validation[0]), self._standard(validation[1]))
        train = (features, self._standard(targets), weights)
        nothing = -np.inf  # an error has no value that says that nothing was predicted
        model, chosen = regularised(Ridge, baseline.C, train, held, nothing=nothing)
        return NumberFitted(lambda rows: self._own(model.predict(vectorizer.transform(rows))), chosen)

    def arrays(self, outputs: NumberOutputs) -> dict[str, NDArray[Any]]:
        """Return `values`."""
        return {"values": outputs.values}

    def of_arrays(self, arrays: Mapping[str, NDArray[Any]], C: float | None) -> NumberOutputs:  # noqa: N803
        """Return the outputs whose `arrays` these are."""
        return NumberOutputs(arrays["values"], C=C)

    def _standard(self, targets: Targets) -> Targets:
        return np.asarray((targets - np.array(self.spec.centre)) / np.array(self.spec.scale))

    def _own(self, standard: Targets) -> Targets:
        return np.asarray(np.array(self.spec.centre) + np.array(self.spec.scale) * standard)


def median(values: NDArray[np.float64], weights: NDArray[Any]) -> float:
    """Return the number with the least weighted mean absolute error; the middle of those equally good."""
    order = np.argsort(values, kind="stable")
    ranked, below = values[order], np.cumsum(weights[order], dtype=np.float64)
    half = below[-1] / 2
    low, high = (int(np.searchsorted(below, half, side)) for side in ("left", "right"))
    return float((ranked[low] + ranked[min(high, len(ranked) - 1)]) / 2)
