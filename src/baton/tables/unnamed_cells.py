"""What holds for the cells of every target that has no names to count; see `target_cells.TargetCells`."""

from collections.abc import Callable, Iterable, Mapping
from itertools import repeat
from typing import Any, ClassVar

from baton.tables.row_sets import Rows


class UnnamedCells:
    """The base of cells with numbers, texts or answers; a kind overrides what it has more to say on."""

    small_policies: ClassVar[str] = "keep"
    contexts: ClassVar[bool] = False

    def names(self, label: str) -> tuple[str, ...]:  # noqa: ARG002
        """Return no names."""
        return ()

    def renamed(self, label: str, new: Callable[[str], str | None]) -> str:  # noqa: ARG002
        """Return the label as it is: it has no names to change."""
        return label

    def strata(self, rows: Rows) -> Iterable[str]:
        """Return one stratum for all rows: they are cut at random."""
        return repeat("", len(rows))

    def drift(self, rows: Rows) -> dict[str, Any] | None:  # noqa: ARG002
        """Return None: the targets of two files have no shares to compare."""
        return None

    def small_advice(self, left: int, listed: str) -> str:  # noqa: ARG002
        """Return nothing: without names none is too rare."""
        return ""

    def summary(self, parts: Mapping[str, Rows]) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing more."""
        return {}
