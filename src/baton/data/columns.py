"""The columns that are read, and the error for one that is not there."""

from dataclasses import dataclass
from pathlib import Path

from baton.errors import DataError


@dataclass(frozen=True)
class Columns:
    """The names of the two columns that are read, and the keys of params that name them."""

    text: str
    label: str
    section: str = "preprocess"
    text_key: str = "text_column"

    @property
    def pair(self) -> tuple[str, str]:
        """Both names."""
        return self.text, self.label


def missing(path: Path, name: str, columns: list[str], wanted: Columns) -> DataError:
    """The error for a column that is not there, or there more than once."""
    times = columns.count(name)
    problem = f"{path} has {times} columns named {name!r}" if times else f"{path} has no column {name!r}"
    hint = f"set {wanted.text_key} and label_column of {wanted.section} to columns of the file; check its delimiter too"
    return DataError(problem, got=", ".join(map(repr, columns[:50])), expected=f"one column {name!r}", hint=hint)
