"""The inputs of a served model: what users pass -> a list of values, or the error that refuses it.

Columns of its answer are named here too.
"""

import re
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.contracts import unseen

PROBABILITY = "probability_"  # with a name after it: the column of the name's probability
SOME = 3  # names in a message
Pairs = list[tuple[str, str]]
SHOWN = 60  # characters of an input that an error message shows
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def column(data: Any, name: str, lone: type | tuple[type, ...]) -> tuple[list[Any], Any]:
    """Return the values of any accepted input and, for pandas objects, their index.

    Args:
        data: A value, a list, a Series, an array, or a DataFrame whose first column is called `name`.
        name: The name of the column.
        lone: The types of a single value.

    Raises:
        ValueError: If the DataFrame's first column has a different name.
    """
    index = data.index if isinstance(data, pd.Series | pd.DataFrame) else None
    if isinstance(data, pd.DataFrame):
        first = data.columns[0] if len(data.columns) else None
        # MLflow passes on only the first column: its name is the only sign that it may be the wrong one.
        if first not in (name, "0", 0):
            hint = "rename it, or pass the values alone: model.predict(list(frame[COLUMN]))"
            problem = "the input's first column is not the one to classify"
            raise refused(ValueError, problem, first, repr(name), hint)
        data = data[first]
    if isinstance(data, lone):
        return [data], index
    return _values(data, name), index


def _values(data: Any, name: str) -> list[Any]:
    """Return one value per row of a list, a Series or an array, which may be a column of one value each.

    Raises:
        ValueError: If a row has several values.
    """
    try:
        values = np.asarray(data, dtype=object)
    except ValueError:  # rows of several shapes
        values = np.empty((1, 0, 0), dtype=object)
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
        hint = f"send a list of single values, or a table whose first column is {name!r}"
        raise refused(ValueError, "a row is a list of values", data, f"one {name} in each row", hint)
    return values.reshape(-1).tolist()


def texts(data: Any, accept_empty: bool = False) -> tuple[list[str], Any]:
    """Return the texts of any accepted input and, for pandas objects, their index.

    Raises:
        ValueError: If the DataFrame's first column has a different name, or a text is empty.
        TypeError: If a row is not text.
    """
    values, index = column(data, "text", str)
    for row, value in enumerate(values):
        check_text(value, f"row {row}", accept_empty)
    return values, index


def check_text(value: Any, place: str, accept_empty: bool = False) -> None:
    """Refuse what is no text, or empty: a model would answer it with some label, and confidently.

    Raises:
        TypeError: If it is not text.
        ValueError: If nothing in it is visible, or it is not valid Unicode.
    """
    hint = "fill or drop missing texts"
    if not isinstance(value, str):
        raise refused(TypeError, f"{place} is not text", value, "a string", hint)
    if not accept_empty and not value.strip(unseen.UNSEEN):
        raise refused(ValueError, f"{place} is empty", value, "a text with something visible", hint)
    if LONE_SURROGATE.search(value):
        raise refused(ValueError, f"{place} is not valid Unicode", value, "no lone surrogates", hint)


@dataclass(frozen=True)
class Misfit:
    """What is wrong with the columns of a served model's answer, for a task."""

    text: str
    comparable: bool  # whether the model is merely wrong where it lacks a name


def misfit(names: Sequence[str], columns: Iterable[str]) -> Misfit | None:
    """Return how the names of the probabilities in an answer differ from a task's; None if they do not."""
    found = [name.removeprefix(PROBABILITY) for name in columns if name.startswith(PROBABILITY)]
    missing, more = sorted(set(names) - set(found)), sorted(set(found) - set(names))
    if not missing and not more:
        return None
    parts = [*(f"no {own}" for own in missing[:SOME]), *([unexpected(more)] if more else [])]
    return Misfit(", ".join(parts), bool(found) and not more)


def unexpected(names: Sequence[str]) -> str:
    """Return names that answers have and the task does not, in words."""
    return ", ".join(f"unexpected {own}" for own in names[:SOME])


def probabilities(names: Sequence[str], answers: pd.DataFrame) -> NDArray[np.float64]:
    """Return the probabilities (rows, names) of an answer; a name that it lacks has none."""
    result = np.zeros((len(answers), len(names)))
    for place, name in enumerate(names):
        if (column := f"{PROBABILITY}{name}") in answers:
            result[:, place] = answers[column].to_numpy(dtype=np.float64)
    return result


def pairs(data: Any, accept_empty: bool = False) -> tuple[Pairs, Any]:
    """Return the pairs of texts of any accepted input and, for a DataFrame, its index.

    Args:
        data: A DataFrame with columns `text` and `text_pair`, a list of pairs, or one pair.
        accept_empty: Whether a text may be empty.

    Raises:
        ValueError: If the DataFrame has other columns, or a text is empty.
        TypeError: If a row is not a pair of texts.
    """
    index, rows = None, data
    if isinstance(data, pd.DataFrame):
        index, names = data.index, [*data.columns[:2]]
        if set(names) == {"text", "text_pair"}:
            names = ["text", "text_pair"]
        elif names not in ([0, 1], ["0", "1"]):
            problem, expected = "the input is not a table of pairs", "columns 'text' and 'text_pair'"
            raise refused(ValueError, problem, [*data.columns], expected, "rename the columns of both texts")
        rows = list(zip(*(data[name] for name in names), strict=True))
    elif isinstance(data, tuple) and len(data) == 2 and all(isinstance(one, str) for one in data):
        rows = [data]
    found: Pairs = []
    for number, row in enumerate(rows):
        both = tuple(row) if isinstance(row, tuple | list | np.ndarray) else (row,)
        problem, hint = f"row {number} is not a pair of texts", "fill or drop rows that lack a text"
        if len(both) != 2 or not all(isinstance(one, str) for one in both):
            raise refused(TypeError, problem, row, "two texts", hint)
        for one in both:
            check_text(one, f"row {number}", accept_empty)
        found.append(both)
    return found, index


def refused(kind: type[Exception], problem: str, got: Any, expected: str, hint: str) -> Exception:
    """Return the error for an input that cannot be classified."""
    return kind(f"{problem}\n  got:      {_shown(got)}\n  expected: {expected}\n  next:     {hint}")


def _shown(value: Any) -> str:
    text = (
        reprlib.repr(value)
        if isinstance(value, list | tuple | dict | np.ndarray)
        else repr(value[: 2 * SHOWN] if isinstance(value, str | bytes) else value)
    )
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
