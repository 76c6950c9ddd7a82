"""What a cell of the label column means if each row has one class; see `target_cells.TargetCells`."""

from dataclasses import dataclass

from baton.contracts.task_spec import Classes


@dataclass(frozen=True)
class ClassCells:
    """A cell is the name of a class."""

    def spec(self, names: list[str]) -> Classes:
        """Return the task with these names of classes, in the order of a model's outputs."""
        return Classes(tuple(names))
