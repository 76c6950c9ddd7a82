"""The columns to read, and the error for a missing one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baton.errors import DataError
from baton.tables.extra_columns import NO_EXTRA_COLUMNS, ExtraColumns
from baton.tables.rows import NO_PAIR, Extras, plain

JOINT = "\n\n"  # between a title and a body
SHOWN, SHOWN_CHARACTERS = 20, 60


@dataclass(frozen=True)
class Columns:
    """The columns to read, and the params keys that name them. Several texts of a row are joined."""

    text: str | tuple[str, ...]
    label: str | tuple[str, ...]  # several: the numbers of a row
    section: str = "preprocess"  # of params, with `format`; '': a file's name alone says how it is read
    text_key: str = "text_column"
    extra: ExtraColumns = NO_EXTRA_COLUMNS
    given: Mapping[str, str] = field(
        default_factory=dict
    )  # columns that the file's path gives: name -> value
    pair: str | None = None  # the column of the second text, if rows are pairs
    optional: tuple[str, ...] = ()  # columns that a file without header may lack: the labels of new rows

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns of the text, of a pair's first one."""
        return (self.text,) if isinstance(self.text, str) else self.text

    @property
    def labels(self) -> tuple[str, ...]:
        """The label columns."""
        return (self.label,) if isinstance(self.label, str) else self.label

    @property
    def unlabelled(self) -> bool:
        """Whether no label is read: new rows have none, and their text takes its place."""
        return set(self.labels) <= set(self.texts)

    @property
    def encoding_key(self) -> str:
        """The YAML path of the file's encoding, for messages; '' if params do not set it."""
        return f"{self.section}.format.encoding" if self.section else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns to read from a file, each once."""
        wanted = dict.fromkeys([*self.texts, *filter(None, [self.pair]), *self.labels, *self.extra.names])
        return tuple(name for name in wanted if name not in self.given)

    def row(self, values: Mapping[str, Any]) -> tuple[Any, Any, Extras | str, Any]:
        """Return text, label, extras and second text of a row from the values of `names`.

        `RawTable.add` takes them.
        """
        values = {**values, **self.given}
        second = NO_PAIR if self.pair is None else values[self.pair]
        return self._text(values), self.target(values), self.extra.read(values), second

    def target(self, values: Mapping[str, Any]) -> Any:
        """Return the value of the label column, or a tuple of the values of several."""
        values = {**values, **self.given}
        if isinstance(self.label, str):
            return values.get(self.label)
        return tuple(values.get(name) for name in self.label)

    def _text(self, values: Mapping[str, Any]) -> Any:
        if isinstance(self.text, str):
            return values[self.text]
        parts = {name: plain(values[name]) for name in self.text}
        strange = [values[name] for name, part in parts.items() if part is None]
        return (
            strange[0]
            if strange
            else JOINT.join(part.strip() for part in parts.values() if part and part.strip())
        )


def missing(path: Path, name: str, columns: list[str], wanted: Columns, hint: str = "") -> DataError:
    """Return the error for a column that is missing or repeated; `hint` replaces the default advice."""
    times = columns.count(name)
    problem = f"{path} has {times} columns named {name!r}" if times else f"{path} has no column {name!r}"
    key = wanted.extra.names.get(name) or f"{wanted.text_key} and label_column"
    key = "text_pair_column" if name == wanted.pair else key
    hint = hint or f"set {key} of {wanted.section} to columns of the file, and check its delimiter"
    more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    got = ", ".join(repr(column[:SHOWN_CHARACTERS]) for column in columns[:SHOWN]) + more
    return DataError(problem, got=got or "no column", expected=f"one column {name!r}", hint=hint)
