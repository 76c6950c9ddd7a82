"""The figures and answers of each kind of task, without torch.

Training, evaluation, the gate and served models ask for them.

Input: the description of a task (`contracts.task_spec`). Output: its `TaskFigures`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from baton.contracts.task_spec import Classes, Labels, TaskSpec
from baton.tasks.class_figures import ClassFigures
from baton.tasks.label_figures import LabelFigures

Floats = NDArray[np.float64]


class TaskFigures(Protocol):
    """The figures and answers of one kind of task. Logits are (n, width), targets as `Targets.take` gives."""

    @property
    def spec(self) -> TaskSpec:
        """The task."""
        ...

    @property
    def directions(self) -> Mapping[str, int]:
        """Validation figures -> 1 if higher is better, -1 if lower is, in the order of the curves' columns.

        Params `finetune.metric` and `distill.metric` name one of them. `loss` is among them.
        """
        ...

    @property
    def main(self) -> str:
        """The figure that says how good a model is, one of `gated`."""
        ...

    @property
    def gated(self) -> tuple[str, ...]:
        """Those of `directions` by which the gate may decide: params `promotion.metric` names one of them."""
        ...

    @property
    def share(self) -> bool:
        """Whether the `gated` figures are shares, from 0 to 1; see `figure_scale`."""
        ...

    @property
    def probes(self) -> bool:
        """Whether `train.probe` can fit a head for the task."""
        ...

    def scores(self, logits: ArrayLike, targets: ArrayLike) -> dict[str, float]:
        """Return the validation figures, those of `directions`.

        Raises:
            DataError: a logit is not finite, or logits and targets do not match.
        """
        ...

    def temperature(self, logits: NDArray[Any], targets: NDArray[Any]) -> float:
        """Return the temperature that calibrates the probabilities of validation rows."""
        ...

    def probabilities(self, logits: NDArray[Any], temperature: float) -> Floats:
        """Return the probabilities (n, width) at a temperature."""
        ...

    def texts(self, targets: NDArray[Any]) -> list[str]:
        """Return each row's targets as the answer writes them, in the column that the task names."""
        ...

    def answer(self, probabilities: Floats, index: Any) -> pd.DataFrame:
        """Return what a served model answers, one row per input; `index` is that of the inputs, or None."""
        ...

    @property
    def columns(self) -> Mapping[str, type]:
        """The columns of `answer` and the types of their cells, `str` or `float`; first the targets' own."""
        ...

    @property
    def output(self) -> str:
        """What the columns hold, for a model's page; T is the temperature."""
        ...


def of(spec: TaskSpec) -> TaskFigures:
    """Return the figures and answers of a task."""
    match spec:
        case Classes():
            return ClassFigures(spec)
        case Labels():
            return LabelFigures(spec)
