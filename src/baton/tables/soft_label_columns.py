"""Which columns of a file of soft labels are read: one for each class, or the label column.

A class is called by its name in task.json, or by the raw labels that `preprocess.label_names` maps to it: in
one file by the same kind throughout.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from baton import params
from baton.errors import DataError
from baton.tables import labels
from baton.tables.soft_label_cells import ClassColumns, LabelColumn, Names, listed


def find(
    path: Path, names: Sequence[str], settings: params.TextPreprocess, classes: Sequence[str]
) -> ClassColumns | LabelColumn:
    """Return which of a file's columns, without those of its texts, say something of its rows.

    Raises:
        DataError: There is neither a column for each class nor the label column.
    """
    called = calls(classes, settings.label_names)
    there: dict[str, list[str]] = {}
    for name in names:
        there.setdefault(labels.normal(name), []).append(name)
    lacking = [[name for own in one.values() for name in own if name not in there] for one in called]
    least = min(lacking, key=len)
    chosen = called[lacking.index(least)]
    wanted = [name for own in chosen.values() for name in own]
    if not least:
        if twice := [name for name in wanted if len(there[name]) > 1]:
            raise _twice(path, there[twice[0]])
        places = tuple(place for place, own in enumerate(chosen.values()) for _ in own)
        return ClassColumns(tuple(there[name][0] for name in wanted), places)
    label = settings.label_column
    assert isinstance(label, str), "only numbers have several label columns"
    if len(least) == len(wanted) and label in names:
        if names.count(label) > 1:
            raise _twice(path, [label] * names.count(label))
        return LabelColumn(path, label, called)
    raise _incomplete(path, names, least, wanted, label)


def calls(classes: Sequence[str], label_names: Mapping[str, str]) -> tuple[Names, ...]:
    """Return what the classes may be called: their names, or the raw labels that `label_names` maps."""
    raw: dict[str, tuple[str, ...]] = {}
    for label, name in label_names.items():
        raw[labels.normal(name)] = (*raw.get(labels.normal(name), ()), labels.normal(label))
    return {name: (name,) for name in classes}, {name: raw.get(name, (name,)) for name in classes}


def _incomplete(
    path: Path, names: Sequence[str], lacking: Sequence[str], wanted: Sequence[str], label: str
) -> DataError:
    expected = f"a column for each class ({listed(wanted)}), or the column {label!r}"
    got = f"besides texts: {listed(names)}" if names else "no column besides texts"
    if len(lacking) == len(wanted):
        problem = f"{path} has neither columns for the classes nor the label column {label!r}"
        hint = "name the columns as the classes in data/clean/task.json, or as the keys of label_names"
    else:
        problem = f"{path} has no column for {'class' if len(lacking) == 1 else 'classes'} {listed(lacking)}"
        hint = "add what is missing (a class that is never meant has 0 in each row)"
        hint += f"; to use {label!r} instead, remove the columns of classes" if label in names else ""
    return DataError(problem, got=got, expected=expected, hint=hint)


def _twice(path: Path, columns: Sequence[str]) -> DataError:
    return DataError(
        f"{path} has {len(columns)} columns for the same class or label",
        got=listed(columns),
        expected="one",
        hint="remove the others",
    )
