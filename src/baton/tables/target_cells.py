"""What a cell of the label column means for each kind of task.

Input: params `task`. Output: its `TargetCells`. A cell holds names (of classes or labels): they are
normalized, checked and counted, and become the names of the task. Or it holds a number, named by its column.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from baton import params
from baton.contracts.task_spec import TaskSpec
from baton.tables.checks import Check
from baton.tables.class_cells import ClassCells
from baton.tables.label_cells import LabelCells
from baton.tables.number_cells import NumberCells
from baton.tables.row_sets import Rows
from baton.tables.rows import Cell, Joined, RawTable
from baton.tables.sequence_cells import SequenceCells
from baton.tables.span_cells import SpanCells
from baton.tables.token_cells import TokenCells


class TargetCells(Protocol):
    """How cells of the label column are read, checked, divided among splits and written.

    A row keeps its target as text, `Row.label`; `names` returns the names in it.
    """

    @property
    def word(self) -> str:
        """What a name denotes, for messages: `class` or `label`."""
        ...

    @property
    def words(self) -> str:
        """The plural of `word`."""
        ...

    @property
    def small_policies(self) -> str:
        """The values of `preprocess.checks.small_class` that help if a cut is too small for every name."""
        ...

    @property
    def found(self) -> str:
        """The participle for what a model does with names, for messages: `told apart` or `predicted`."""
        ...

    @property
    def names_leave(self) -> bool:
        """Whether dropping a name leaves its rows, which have others or none, in the table."""
        ...

    @property
    def contexts(self) -> bool:
        """Whether the second text of a pair is a context, about which several questions may be asked."""
        ...

    @property
    def joined(self) -> Callable[[Any, Any, Any], Joined | str] | None:
        """What makes a text and its label complete, if the label says something about places in a text.

        It takes text, label and second text, and returns the first two, or the fault. None: all are complete.
        """
        ...

    def read(self, value: Any) -> Cell | str:
        """Return the label of a cell, each name in its normal form (`labels.normal`), or the fault."""
        ...

    def names(self, label: str) -> tuple[str, ...]:
        """Return the names in a label."""
        ...

    def renamed(self, label: str, new: Callable[[str], str | None]) -> str:
        """Return the label with new names; a name that becomes None leaves it."""
        ...

    def checks(self) -> dict[str, Check]:
        """Return the checks of labels that apply, by their names in `preprocess.checks`."""
        ...

    def strata(self, rows: Rows) -> Iterable[str]:
        """Return the stratum of each row of one table, in file order; it is cut in proportion to its size."""
        ...

    def drift(self, rows: Rows) -> dict[str, Any] | None:
        """Compare the labels of train and test, see `label_drift`; None if there is no test file."""
        ...

    def too_few(self, train: Iterable[str]) -> str:
        """Return why the labels of train's rows do not suffice for a model; '' if they do."""
        ...

    def small_advice(self, left: int, listed: str) -> str:
        """Return what to do about names with too few rows.

        `left` names are in train; `listed` are the labels of the rows found, with their numbers.
        """
        ...

    def notes(self, table: RawTable, known: Mapping[str, str], /) -> list[str]:
        """Return notes on the labels of a raw file for the user; `known` is `preprocess.label_names`."""
        ...

    def summary(self, parts: Mapping[str, Rows]) -> dict[str, Any]:
        """Return what report.json says of the targets of each split besides the numbers of names."""
        ...

    def spec(self, names: list[str], train: Iterable[str]) -> TaskSpec:
        """Return the task with these names, in the order of a model's outputs.

        `train` holds the labels of the rows of the clean table train.
        """
        ...

    def type(self) -> Any:
        """Return the Arrow type of the clean column `TaskSpec.column`."""
        ...

    def target(self, label: str, places: Mapping[str, int]) -> Any:
        """Return a label as the clean column holds it; `places` has the index of each name."""
        ...


def of(task: params.Task, columns: str | tuple[str, ...] = ()) -> TargetCells:
    """Return what the cells of the label column mean for a task; `columns` name the numbers."""
    match task:
        case params.ClassesTask():
            return ClassCells()
        case params.LabelsTask(separator=separator):
            return LabelCells(separator)
        case params.NumbersTask(loss=loss, coverage=coverage):
            return NumberCells((columns,) if isinstance(columns, str) else columns, loss, coverage)
        case params.SequenceTask():
            return SequenceCells(task)
        case params.SpansTask(max_answer_words=most):
            return SpanCells(most)
        case params.TokensTask(words=cut):
            return TokenCells(cut)
