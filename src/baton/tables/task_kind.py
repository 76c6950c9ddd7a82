"""Infer what is to be predicted from the cells of the label column: params `task: {kind: auto}`.

Input: the values of a raw column. Output: the params of a task, what was seen and how to say otherwise. The
rules look at the cells alone, in this order: answers; spans and tags; lists; numbers; names with a separator
between them; names that repeat. Cells that are read in two ways are not guessed at: the error lists both.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from baton.errors import DataError
from baton.tables import labels, span_cells
from baton.tables.number_readings import of_numbers
from baton.tables.rows import is_null, plain
from baton.tables.task_readings import CLASSES, SPANS, Inferred, Reading, several, some, written
from baton.tables.token_spans import KEYS, TAG

SEPARATORS = ("|", ";", ",")
LEAST_SHARE = 0.02  # of the cells that hold a separator
LONG_WORDS = 4  # words per cell on average, from which cells are texts rather than names
MOST_SHARED = 0.1  # of the names before a comma, that are also after one where a cell is `Surname, First`


def infer(values: Sequence[Any], column: str, where: str = "the recipe") -> Inferred:
    """Return the task that the cells of a column are for; `where` names the file with `task`, for errors.

    Raises:
        DataError: all cells are empty; they are read in two ways; or they differ from row to row.
    """
    cells = [value for value in values if not is_null(value) and value != ""]
    if not cells:
        raise _no_values(column, f"{len(values):,} empty cells", where)
    listed = [own for own in map(_as_list, cells) if own is not None]
    if (places := _of_answers(cells, column) or _of_entities(cells, listed, column)) is not None:
        return places
    _refuse_vectors(cells, listed, column)
    lists = sum(isinstance(value, list) for value in cells)
    if 2 * lists > len(cells):
        return _labels(None, f"{lists:,} of {len(cells):,} cells of {column!r} are lists")
    texts = [text.strip() for text in map(plain, cells) if text is not None]
    if 2 * (as_json := sum(_is_list(text) for text in texts)) > len(texts):
        return _labels(None, f"{as_json:,} of {len(texts):,} cells of {column!r} are lists, written as JSON")
    if 2 * sum(text[:1] + text[-1:] in {"[]", "{}", "()"} for text in texts) > len(texts):
        raise DataError(
            f"column {column!r} holds lists that are not JSON",
            got=texts[0][:40],
            expected='JSON such as ["a", "b"], or names with a separator between them',
            hint="write lists with json.dumps, not str; or set "
            f"{written(CLASSES)} in {where} if each cell is one name",
        )
    if set(map(str.lower, texts)) <= labels.NULLS:
        raise _no_values(column, f"{len(cells):,} cells such as {str(cells[0])[:40]!r}", where)
    return (
        of_numbers(texts, column, where)
        or _of_separator(texts, column, where)
        or _of_names(texts, column, where)
    )


def _refuse_vectors(cells: Sequence[Any], listed: Sequence[list[Any]], column: str) -> None:
    """Refuse lists of numbers: `[0, 1, 0]` for the second of three labels names the labels 0 and 1."""
    numbers = [own for own in listed if own and all(isinstance(item, int | float) for item in own)]
    if 2 * len(numbers) <= len(cells):
        return
    vectors = len(set(map(len, numbers))) == 1 and any(len(set(own)) < len(own) for own in numbers)
    if vectors or any(isinstance(item, float) for own in numbers for item in own):
        raise DataError(
            f"column {column!r} holds lists of numbers",
            got=json.dumps(numbers[0])[:40],
            expected="lists of names, or one column for each number",
            hint="write the names of labels instead of 0 and 1, or the numbers in columns of their own",
        )


def _no_values(column: str, got: str, where: str) -> DataError:
    return DataError(
        f"column {column!r} has no values",
        got=got,
        expected="labels, numbers or lists of labels",
        hint=f"set task.kind in {where}, or preprocess.label_column to another column",
    )


# ---- spans, tags and lists -------------------------------------------------------------------------------


def _of_answers(cells: Sequence[Any], column: str) -> Inferred | None:
    """Return the task of cells that list answers with their places, as SQuAD does."""
    read = [own for own in map(span_cells.listed, cells) if not isinstance(own, str)]
    answered = sum(map(bool, read))  # an empty list may mean other things
    if not answered or 2 * len(read) <= len(cells):
        return None
    keys = " and ".join(span_cells.KEYS)
    return Inferred(SPANS, f"{answered:,} of {len(cells):,} cells of {column!r} hold {keys} of answers")


def _of_entities(cells: Sequence[Any], listed: Sequence[list[Any]], column: str) -> Inferred | None:
    """Return the task of cells that list (`listed`) spans of characters, or a tag for each token."""
    if 2 * len(listed) <= len(cells):
        return None
    lists = [value for value in listed if value]  # a row without an entity says nothing about the form
    spans = sum(all(isinstance(item, dict) and set(KEYS) <= set(item) for item in own) for own in lists)
    tags = sum(all(_is_tag(item) for item in own) for own in lists)
    if 2 * spans > len(lists):
        reason = f"{spans:,} of {len(cells):,} cells of {column!r} are lists of {', '.join(KEYS)}"
        return Inferred({"kind": "tokens", "words": "pattern"}, reason)
    if 2 * tags > len(lists):
        reason = f"{tags:,} of {len(cells):,} cells of {column!r} are lists of tags such as B-TYPE and O"
        return Inferred({"kind": "tokens", "words": "space"}, reason)
    return None


def _as_list(value: Any) -> list[Any] | None:
    if isinstance(value, str | bytes) and _is_list(text := (plain(value) or "").strip()):
        value = json.loads(text)
    return value if isinstance(value, list) else None


def _is_tag(item: Any) -> bool:
    tag = plain(item) or ""
    return tag == "O" or TAG.fullmatch(tag) is not None


def _labels(separator: str | None, reason: str) -> Inferred:
    otherwise = f"{written(CLASSES)} if each cell is one name" if separator else ""
    return Inferred({"kind": "labels", "separator": separator}, reason, otherwise)


def _is_list(text: str) -> bool:
    if not (text.startswith("[") and text.endswith("]")):
        return False
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


# ---- names -----------------------------------------------------------------------------------------------


def _of_separator(texts: list[str], column: str, where: str) -> Inferred | None:
    """Return labels if names recur across cells that join them in different ways.

    Raises:
        DataError: what is before a comma is never after one, as in `Surname, First`.
    """
    whole = set(texts)
    for separator in SEPARATORS:
        joined = [text for text in texts if separator in text]
        if len(joined) < LEAST_SHARE * len(texts):
            continue
        names = Counter(name.strip() for text in texts for name in text.split(separator) if name.strip())
        recurring = sum(count for count in names.values() if count > 1) / names.total()
        if 2 * recurring <= 1 or len(names) >= len(whole) or _words(list(names)) >= LONG_WORDS:
            continue
        seen = (
            f"{len(joined):,} of {len(texts):,} cells of {column!r} join names with {separator!r} "
            f"({some(joined)}): {len(names):,} different names in {len(whole):,} different cells"
        )
        found = _labels(separator, seen)
        if separator == "," and _two_places(joined):
            raise several(
                column,
                f"{seen}; names before a comma are not after one",
                [Reading(found.task, "if a cell joins labels"), Reading(CLASSES, "if each cell is one name")],
                where,
            )
        return found
    return None


def _two_places(joined: list[str]) -> bool:
    """Return whether cells have two parts, of which hardly any is both a first and a second one."""
    parts = [[part.strip() for part in text.split(",")] for text in set(joined)]
    pairs = [own for own in parts if len(own) == 2]
    first, second = {own[0] for own in pairs}, {own[1] for own in pairs}
    shared = len(first & second) / max(1, min(len(first), len(second)))
    return len(pairs) >= (1 - MOST_SHARED) * len(parts) and shared <= MOST_SHARED


def _words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)


def _of_names(texts: list[str], column: str, where: str) -> Inferred:
    distinct = len(set(texts))
    seen = f"{distinct:,} different names in {len(texts):,} rows"
    if 2 * distinct <= len(texts):
        return Inferred(CLASSES, f"{column!r} has {seen}, one in each ({some(texts)})")
    raise DataError(
        f"column {column!r} holds texts that differ from row to row",
        got=f"{seen}, of {_words(texts):.0f} words on average ({some(texts)})",
        expected="names that repeat, lists of names, or numbers",
        hint=f"write into {where}"
        "\n    - another `preprocess.label_column` if they only identify the rows"
        "\n    - what `recipes/sequence-csv.yaml` has, an encoder-decoder, if a model is to write them"
        f"\n    - {Reading(CLASSES, 'if they are classes nevertheless')}",
    )
