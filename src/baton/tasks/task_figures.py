"""The figures and answers of each kind of task, without torch.

Training, evaluation, the gate and served models ask for them.

Input: the description of a task (`contracts.task_spec`). Output: its `TaskFigures`.
"""

from collections import abc
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import pandas as pd

from baton.contracts.task_spec import Classes, Labels, Numbers, Sequence, Spans, TaskSpec, Tokens
from baton.tasks.answers import Misfit
from baton.tasks.class_figures import ClassFigures
from baton.tasks.label_figures import LabelFigures
from baton.tasks.number_figures import NumberFigures
from baton.tasks.sequence_figures import SequenceFigures
from baton.tasks.span_figures import SpanFigures
from baton.tasks.token_figures import TokenFigures


class TaskFigures(Protocol):
    """The figures and answers of one kind of task.

    Logits are those of `contracts.predictions`, targets as `Targets.take` gives.
    """

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

    def scores(self, logits: Any, targets: Any) -> dict[str, float]:
        """Return the validation figures, those of `directions`.

        Raises:
            DataError: a logit is not finite, or logits and targets do not match.
        """
        ...

    def fitted(self, logits: Any, targets: Any) -> dict[str, Any]:
        """Return what is fitted on validation rows, such as a temperature: JSON values, in baton.json."""
        ...

    def texts(self, targets: Any) -> list[str]:
        """Return each row's targets as the answer writes them, in the column that the task names."""
        ...

    def answer(
        self, logits: Any, fitted: Mapping[str, Any], index: Any, texts: abc.Sequence[str] = ()
    ) -> pd.DataFrame:
        """Return what a served model answers, one row per input; `index` is that of the inputs, or None.

        `texts` are the inputs themselves, for answers that quote them.

        Without a value in `fitted`, the model answers as trained.
        """
        ...

    def said(self, answers: pd.DataFrame) -> list[str]:
        """Return each row's targets in an answer, as `texts` writes them."""
        ...

    def misfit(self, answers: pd.DataFrame) -> Misfit | None:
        """Return how the columns or names of answers differ from those of the task; None if they do not."""
        ...

    @property
    def columns(self) -> Mapping[str, type]:
        """The columns of `answer` and the types of their cells, `str` or `float`; first the targets' own."""
        ...

    def output(self, fitted: Mapping[str, Any]) -> str:
        """Return what the columns hold and what was fitted, for a model's page."""
        ...


def of(spec: TaskSpec) -> TaskFigures:
    """Return the figures and answers of a task."""
    match spec:
        case Classes():
            return ClassFigures(spec)
        case Labels():
            return LabelFigures(spec)
        case Numbers():
            return NumberFigures(spec)
        case Sequence():
            return SequenceFigures(spec)
        case Spans():
            return SpanFigures(spec)
        case Tokens():
            return TokenFigures(spec)


def decides(spec: TaskSpec) -> bool:
    """Return whether what is fitted on validation changes the main figure of a task.

    Then the training run of each seed has its own values.
    """
    return isinstance(spec, Labels | Spans)


def identities(spec: TaskSpec, targets: Any) -> list[str]:
    """Return what tells each row's targets from all others: `TaskFigures.texts`, or with the places of units.

    A row whose targets have another identity is another row.
    """
    match spec:
        case Tokens():
            return TokenFigures(spec).identities(targets)
        case Spans():
            return SpanFigures(spec).identities(targets)
        case _:
            return of(spec).texts(targets)


def aligned(spec: TaskSpec, answers: pd.DataFrame, inputs: Iterable[Any], targets: Any) -> pd.DataFrame:
    """Return answers in terms of the units of a table's rows, whatever units their model has.

    Args:
        spec: the task of the table.
        answers: of a served model for the table's rows.
        inputs: what it read of them.
        targets: those of the table.
    """
    return TokenFigures(spec).aligned(answers, inputs, targets) if isinstance(spec, Tokens) else answers
