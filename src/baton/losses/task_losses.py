"""The losses of each kind of task."""

from baton.contracts.task_spec import Classes, Labels, Numbers, Sequence, Spans, TaskSpec, Tokens
from baton.losses.class_losses import ClassLosses
from baton.losses.label_losses import LabelLosses
from baton.losses.loss import TaskLosses
from baton.losses.number_losses import NumberLosses
from baton.losses.sequence_losses import SequenceLosses
from baton.losses.span_losses import SpanLosses
from baton.losses.token_losses import TokenLosses


def of(spec: TaskSpec) -> TaskLosses:
    """Return the losses of a task."""
    match spec:
        case Classes():
            return ClassLosses(spec)
        case Labels():
            return LabelLosses(spec)
        case Numbers():
            return NumberLosses(spec)
        case Sequence():
            return SequenceLosses(spec)
        case Spans():
            return SpanLosses(spec)
        case Tokens():
            return TokenLosses(spec)
