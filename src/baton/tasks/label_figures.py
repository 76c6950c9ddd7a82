"""Figures and answers of a model that gives each row any number of labels; see `task_figures.TaskFigures`.

Probabilities are sigmoid(logits / temperature), one per label. A row has the labels whose probability reaches
the label's threshold; temperature and thresholds are fitted on validation.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from baton.contracts.task_spec import Labels
from baton.errors import DataError
from baton.tasks import label_thresholds, metrics
from baton.tasks.answers import PROBABILITY, Misfit, misfit

BOUND = 4.0  # of |log temperature|, as for classes
THRESHOLD = 0.5  # of every label, if none were fitted
Floats = NDArray[np.float64]
Fitted = Mapping[str, Any]  # see contracts.fitted_values
Thresholds = float | Sequence[float] | NDArray[Any]  # of every label, or of each


@dataclass(frozen=True)
class LabelFigures:
    """F1 over labels and rows; answers are `labels` and the probabilities."""

    spec: Labels

    directions: ClassVar[Mapping[str, int]] = {"loss": -1, "micro_f1": 1, "macro_f1": 1}
    main: ClassVar[str] = "micro_f1"
    gated: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1")
    share: ClassVar[bool] = True
    probes: ClassVar[bool] = True

    def scores(self, logits: ArrayLike, targets: ArrayLike) -> dict[str, float]:
        """Return `loss` (mean binary cross-entropy, nats), `micro_f1` and `macro_f1` of `logits` (n, width).

        F1 is that of thresholds fitted on the other half of the rows, see `label_thresholds.crossed`: how
        well a checkpoint decides at 1/2 says little about one whose thresholds are fitted after training.
        Macro F1 is the mean over labels that some row has. F1 is 0 without labels, true or predicted.
        """
        raw, true = np.asarray(logits), np.asarray(targets)
        check(raw, true)
        predicted = label_thresholds.crossed(raw.astype(np.float64), true > 0)
        hit = (predicted & (true > 0)).sum(axis=0)
        both = predicted.sum(axis=0) + (true > 0).sum(axis=0)  # (width,)
        own = (true > 0).any(axis=0)
        f1 = 2 * hit / np.maximum(both, 1)
        return {
            "loss": float(losses(raw, true).mean()),
            "micro_f1": micro_f1(true, predicted),
            "macro_f1": float(f1[own].mean()) if own.any() else 0.0,
        }

    def fitted(self, logits: NDArray[Any], targets: NDArray[Any]) -> dict[str, Any]:
        """Return the `temperature` and the `thresholds` of the labels on validation rows, to 6 digits.

        Thresholds are probabilities at the temperature, in the order of the names; see `label_thresholds`.
        """
        check(logits, targets)
        raw, true = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
        temperature = self.temperature(raw, true)
        found = sigmoid(label_thresholds.fit(raw / temperature, true > 0))
        return {"temperature": temperature, "thresholds": [float(f"{value:.6g}") for value in found]}

    def temperature(self, raw: Floats, true: Floats) -> float:
        """Return the temperature that minimises the binary cross-entropy.

        One extra row, half of each label, keeps it finite, as in `temperature.fit`.
        """
        from scipy.optimize import minimize_scalar

        def cost(log_t: float) -> float:
            scaled = raw * np.exp(-log_t)
            return float(
                losses(scaled, true).sum() + losses(scaled, np.full_like(true, 0.5)).mean(axis=0).sum()
            )

        found = minimize_scalar(cost, bounds=(-BOUND, BOUND), method="bounded", options={"xatol": 1e-8})
        return float(f"{np.exp(found.x):.6g}")

    def probabilities(self, logits: NDArray[Any], temperature: float) -> Floats:
        """Return sigmoid(logits / temperature), (n, width)."""
        return sigmoid(np.asarray(logits, np.float64) / temperature)

    def texts(self, targets: NDArray[Any]) -> list[str]:
        """Return each row's labels as a JSON list."""
        names = np.asarray(self.spec.names, dtype=object)
        return [json.dumps(names[row > 0].tolist(), ensure_ascii=False) for row in targets]

    def answer(
        self,
        logits: NDArray[Any],
        fitted: Fitted,
        index: Any,
        texts: Sequence[str] = (),  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return `labels`, a JSON list of names that reach their thresholds, and each `probability_LABEL`."""
        p = self.probabilities(logits, fitted.get("temperature", 1.0))
        return self.of_probabilities(p, index, fitted.get("thresholds", THRESHOLD))

    def of_probabilities(
        self, probabilities: Floats, index: Any = None, thresholds: Thresholds = THRESHOLD
    ) -> pd.DataFrame:
        """Return the answer of probabilities (n, width)."""
        frame = pd.DataFrame(probabilities, columns=list(self.columns)[1:], index=index)
        frame.insert(0, self.spec.column, self.texts(probabilities >= np.asarray(thresholds)))
        return frame

    def misfit(self, answers: pd.DataFrame) -> Misfit | None:
        """Return which labels the probabilities lack or have besides; see `answers.misfit`."""
        return misfit(self.spec.names, answers.columns)

    def said(self, answers: pd.DataFrame) -> list[str]:
        """Return the column `labels`."""
        return list(answers[self.spec.column])

    def output(self, fitted: Fitted) -> str:
        """Return the columns in words, the temperature and the range of the thresholds."""
        limits = np.asarray(fitted.get("thresholds", THRESHOLD))
        columns = (
            "`labels`, string, a JSON list of those whose probability reaches the label's threshold; "
            "`probability_LABEL`, double, one for each label: sigmoid(logits / T)"
        )
        values = (
            f"T = {fitted.get('temperature', 1.0):.4g}, thresholds {limits.min():.3g} to {limits.max():.3g}"
        )
        return f"{columns}; {values}, in `baton.json`, fitted on validation"

    @property
    def columns(self) -> Mapping[str, type]:
        """`labels` and the probabilities."""
        return {"labels": str} | {f"{PROBABILITY}{name}": float for name in self.spec.names}


def sigmoid(logits: Floats) -> Floats:
    """Return the probabilities (n, width) of logits."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))


def micro_f1(targets: NDArray[Any], predicted: NDArray[np.bool_]) -> float:
    """Return micro F1; 0 if there is no label and none is predicted."""
    actual = targets > 0
    return float(2 * (actual & predicted).sum() / max(actual.sum() + predicted.sum(), 1))


def losses(logits: NDArray[Any], targets: NDArray[Any]) -> Floats:
    """Return the binary cross-entropy of each row and label, (n, width), in nats and double precision."""
    raw, true = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    return np.asarray(np.logaddexp(0, raw) - raw * true)


def check(logits: NDArray[Any], targets: NDArray[Any]) -> None:
    """Refuse predictions and targets from which no figure can be computed.

    Raises:
        DataError: there are no rows, the shapes do not match, or a logit is not finite.
    """
    if logits.ndim != 2 or logits.shape != targets.shape or not len(logits):
        raise DataError(
            "predictions do not match the labels",
            got=f"logits {logits.shape}, targets {targets.shape}",
            expected="both (n, labels), n > 0",
            hint="predictions and labels must come from the same rows and the same task.json",
        )
    metrics.check_finite(logits)
