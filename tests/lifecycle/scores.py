"""Models as the gate sees them, made from probabilities."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.task_spec import Classes, Labels
from baton.lifecycle.promotion.gate import Scored
from baton.tasks import answers
from baton.tasks.class_figures import ClassFigures
from baton.tasks.label_figures import LabelFigures

Floats = NDArray[np.float64]


def of(task: Classes | Labels, probabilities: Floats, **values: Any) -> Scored:
    """Return a model that answers with probabilities (rows, names of the task)."""
    figures = ClassFigures(task) if isinstance(task, Classes) else LabelFigures(task)
    own = {"size": 100, "latency": np.full(20, 1.0), "training_rows": frozenset({"x"})}
    return Scored(figures.of_probabilities(probabilities), **(own | values))


def probabilities(model: Scored) -> Floats:
    """Return a model's probabilities, (rows, names)."""
    names = [name for name in model.answers if name.startswith(answers.PROBABILITY)]
    return model.answers[names].to_numpy(copy=True)


def renamed(model: Scored, task: Classes | Labels, columns: Sequence[int] | None = None) -> Scored:
    """Return a model whose probabilities, or some of their columns, have the names of another task."""
    own = probabilities(model)
    return replace(model, answers=of(task, own if columns is None else own[:, columns]).answers)


def changed(model: Scored, task: Classes | Labels, rows: Any, column: int, value: float) -> Scored:
    """Return a model with another probability of one name for some rows."""
    own = probabilities(model)
    own[rows, column] = value
    return replace(model, answers=of(task, own).answers)
