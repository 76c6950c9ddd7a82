"""Figures and answers of a classifier that gives each row one class; see `task_figures.TaskFigures`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from baton.contracts.task_spec import Classes
from baton.tasks import metrics, temperature
from baton.tasks.answers import PROBABILITY, Misfit, misfit

Fitted = Mapping[str, Any]  # see contracts.fitted_values


@dataclass(frozen=True)
class ClassFigures:
    """The figures of `metrics` at the most probable class; answers are `label` and the probabilities."""

    spec: Classes

    directions: ClassVar[Mapping[str, int]] = {"loss": -1, "accuracy": 1, "macro_f1": 1}
    main: ClassVar[str] = "accuracy"
    gated: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    share: ClassVar[bool] = True
    probes: ClassVar[bool] = True

    def scores(self, logits: ArrayLike, targets: ArrayLike) -> dict[str, float]:
        """Return `loss` (log loss in nats), `accuracy` and `macro_f1` of `logits` (n, classes)."""
        found = metrics.scores(logits, targets)
        return {"loss": found["log_loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

    def fitted(self, logits: NDArray[Any], targets: NDArray[Any]) -> dict[str, Any]:
        """Return the `temperature` of softmax, see `temperature.fit`."""
        return {"temperature": temperature.fit(logits, targets)}

    def probabilities(self, logits: NDArray[Any], temperature: float) -> NDArray[np.float64]:
        """Return softmax(logits / temperature), (n, classes)."""
        return np.exp(metrics.log_probabilities(logits.astype(np.float64) / temperature))

    def texts(self, targets: NDArray[Any]) -> list[str]:
        """Return the name of each row's class."""
        return [self.spec.names[target] for target in targets]

    def answer(
        self,
        logits: NDArray[Any],
        fitted: Fitted,
        index: Any,
        texts: Sequence[str] = (),  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return `label`, the most probable class, and `probability_CLASS` of each class."""
        return self.of_probabilities(self.probabilities(logits, fitted.get("temperature", 1.0)), index)

    def of_probabilities(self, probabilities: NDArray[np.float64], index: Any = None) -> pd.DataFrame:
        """Return the answer of probabilities (n, classes)."""
        frame = pd.DataFrame(probabilities, columns=list(self.columns)[1:], index=index)
        frame.insert(0, self.spec.column, self.texts(probabilities.argmax(axis=1)))
        return frame

    def misfit(self, answers: pd.DataFrame) -> Misfit | None:
        """Return which classes the probabilities lack or have besides; see `answers.misfit`."""
        return misfit(self.spec.names, answers.columns)

    def said(self, answers: pd.DataFrame) -> list[str]:
        """Return the column `label`."""
        return list(answers[self.spec.column])

    def output(self, fitted: Fitted) -> str:
        """Return the columns in words, and the temperature."""
        columns = "`label`, string; `probability_CLASS`, double, one for each class: softmax(logits / T)"
        return f"{columns}, T = {fitted.get('temperature', 1.0):.4g}, fitted on validation"

    @property
    def columns(self) -> Mapping[str, type]:
        """`label` and the probabilities."""
        return {self.spec.column: str} | {f"{PROBABILITY}{name}": float for name in self.spec.names}
