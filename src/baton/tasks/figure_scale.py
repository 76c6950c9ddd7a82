"""Which way a figure of a task is better, and how it is written.

Input: a task's figures (`task_figures.TaskFigures`) -> the `Scale` of one of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from baton.tasks.task_figures import TaskFigures

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """A figure by which models are compared."""

    name: str
    direction: int  # 1 if higher is better, -1 if lower is
    share: bool  # from 0 to 1, written as a percentage, and differences in points

    @property
    def points(self) -> str:
        """The unit of differences, with a space before it; empty for a figure that is no share."""
        return " points" if self.share else ""

    def value(self, value: float, digits: int = 1) -> str:
        """Return a value in words: a share with `digits` decimals, another figure with 4 digits."""
        return f"{self.number(value, digits)}{'%' if self.share else ''}"

    def number(self, value: float, digits: int = 1, sign: str = "") -> str:
        """Return a value or a difference without its unit; `sign` is "+" to write that of a gain too."""
        return f"{100 * value:{sign}.{digits}f}" if self.share else f"{value:{sign}.4g}"

    def gain(self, value: float) -> float:
        """Return a value or a difference such that higher is better."""
        return self.direction * value

    def worst(self, interval: Iterable[float]) -> float:
        """Return the worse end of an interval, such that higher is better."""
        return min(self.gain(end) for end in interval)

    def best(self, items: Iterable[T], value: Callable[[T], float]) -> T | None:
        """Return the item of the best value, the first of equal ones; None if there is none."""
        return max(items, key=lambda item: self.gain(value(item)), default=None)


def of(figures: TaskFigures, name: str | None = None) -> Scale:
    """Return the scale of one of the task's `gated` figures, of its main one by default."""
    name = name or figures.main
    return Scale(name, figures.directions[name], figures.share)
