"""What a cell of the label column means for each kind of task.

Input: params `task`. Output: its `TargetCells`.
"""

from typing import Protocol

from baton import params
from baton.contracts.task_spec import TaskSpec
from baton.tables.class_cells import ClassCells


class TargetCells(Protocol):
    """How cells of the label column are read, checked, divided among splits and written."""

    def spec(self, names: list[str]) -> TaskSpec:
        """Return the task with these names, in the order of a model's outputs."""
        ...


def of(task: params.Task) -> TargetCells:
    """Return what the cells of the label column mean for a task."""
    match task:
        case params.ClassesTask():
            return ClassCells()
