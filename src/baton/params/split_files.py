"""The files of a source: one, or several that make one table, for each split and for rows without labels.

Soft labels are one file, whose name says how it is read.
"""

from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BeforeValidator

from baton.params.fields import RelativePath, Section, as_tuple, in_inbox

Where = TypeVar("Where")


class PerSplit(Section, Generic[Where]):
    """One value per split.

    Without `val`, a validation split is cut from train; without `test`, a test split is cut too.
    """

    train: Where
    val: Where | None = None
    test: Where | None = None

    def named(self) -> dict[str, Where]:
        """Map the name of each split to its value, for the splits that have one."""
        pairs = {"train": self.train, "val": self.val, "test": self.test}
        return {split: where for split, where in pairs.items() if where is not None}


def _joinable(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("must name at least one file")
    if len(names) > 1 and any(not name.endswith(".parquet") for name in names):
        raise ValueError("several files can be joined into one table only if they are Parquet (*.parquet)")
    return names


Files = PerSplit[RelativePath]
_Shards = Annotated[tuple[RelativePath, ...], BeforeValidator(as_tuple), AfterValidator(_joinable)]
HubFiles = PerSplit[_Shards]


def watched(files: Files) -> Files:
    """Refuse files outside inbox/."""
    for name in files.named().values():
        in_inbox(name)
    return files


InboxFiles = Annotated[Files, AfterValidator(watched)]


def _listed(value: Any) -> Any:
    return None if value is None else as_tuple(value)


def _different(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if names is not None and not names:
        raise ValueError("must name at least one file; null: there are none")
    if names is not None and len(set(names)) < len(names):
        raise ValueError("names a file twice")
    return names


def _watched(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for name in names or ():
        in_inbox(name)
    return names


def _shards(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if names is None else _joinable(names)


# Files of rows without labels, in the format of the splits, read one after the other as one table.
Unlabelled = Annotated[tuple[RelativePath, ...] | None, BeforeValidator(_listed), AfterValidator(_different)]
UnlabelledInbox = Annotated[Unlabelled, AfterValidator(_watched)]
UnlabelledHub = Annotated[Unlabelled, AfterValidator(_shards)]


SOFT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def _table(name: str | None) -> str | None:
    if name is not None and PurePosixPath(name).suffix.lower() not in SOFT_SUFFIXES:
        raise ValueError(
            "must be a file named *.csv, *.tsv, *.jsonl or *.parquet: its name says how it is read, "
            "whatever preprocess.format is"
        )
    return name


def _inside(name: str | None) -> str | None:
    return None if name is None else in_inbox(name)


# A table of texts with probabilities of the classes, or with labels, that need not be the true ones.
SoftLabels = Annotated[RelativePath | None, AfterValidator(_table)]
SoftLabelsInbox = Annotated[SoftLabels, AfterValidator(_inside)]
