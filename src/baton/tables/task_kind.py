"""Infer what is to be predicted from the cells of the label column: params `task: {kind: auto}`.

Input: the values of a raw column. Output: the params of a task, and the reason. The rules look at the cells
alone, in this order: answers; spans and tags; lists; numbers; names with a separator between them; names that
repeat.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from baton.errors import DataError
from baton.tables import labels, span_cells
from baton.tables.rows import is_null, plain
from baton.tables.token_spans import KEYS, TAG

SEPARATORS = ("|", ";", ",")
LEAST_SHARE = 0.02  # of the cells that hold a separator
MOST_WHOLE = 100  # distinct whole numbers that may still be classes
LONG_WORDS = 4  # words per cell on average, from which cells are texts rather than names
ANSWER_WORDS = 30  # the most of an answer, as BERT's on SQuAD (Devlin et al. 2019)
NUMBERS = {"kind": "numbers", "loss": "smooth_l1", "coverage": 0.9}


@dataclass(frozen=True)
class Inferred:
    """The params of a task, and why they fit the column."""

    task: dict[str, Any]
    reason: str


def infer(values: Sequence[Any], column: str) -> Inferred:
    """Return the task that the cells of a column are for.

    Raises:
        DataError: all cells are empty, or they are texts that differ from row to row.
    """
    cells = [value for value in values if not is_null(value) and value != ""]
    if not cells:
        raise DataError(
            f"column {column!r} has no values",
            got=f"{len(values):,} empty cells",
            expected="labels, numbers or lists of labels",
            hint="set task.kind in params.yaml, or preprocess.label_column to another column",
        )
    if (found := _of_answers(cells, column) or _of_entities(cells, column)) is not None:
        return found
    lists = sum(isinstance(value, list) for value in cells)
    if 2 * lists > len(cells):
        return _labels(None, f"{lists:,} of {len(cells):,} cells of {column!r} are lists")
    texts = [text.strip() for text in map(plain, cells) if text is not None]
    if 2 * (written := sum(_is_list(text) for text in texts)) > len(texts):
        return _labels(None, f"{written:,} of {len(texts):,} cells of {column!r} are lists, written as JSON")
    return _of_numbers(texts, column) or _of_separator(texts, column) or _of_names(texts, column)


def _of_answers(cells: Sequence[Any], column: str) -> Inferred | None:
    """Return the task of cells that list answers with their places, as SQuAD does."""
    read = [own for own in map(span_cells.listed, cells) if not isinstance(own, str)]
    answered = sum(map(bool, read))  # an empty list may mean other things
    if not answered or 2 * len(read) <= len(cells):
        return None
    keys = " and ".join(span_cells.KEYS)
    reason = f"{answered:,} of {len(cells):,} cells of {column!r} hold {keys} of answers"
    return Inferred({"kind": "spans", "max_answer_words": ANSWER_WORDS}, reason)


def _of_entities(cells: Sequence[Any], column: str) -> Inferred | None:
    """Return the task of cells that list spans of characters, or a tag for each token."""
    listed = [value for value in map(_as_list, cells) if value is not None]
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
    return Inferred({"kind": "labels", "separator": separator}, reason)


def _is_list(text: str) -> bool:
    if not (text.startswith("[") and text.endswith("]")):
        return False
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _of_numbers(texts: list[str], column: str) -> Inferred | None:
    """Return numbers or, for few different ones, classes; None if a cell is not a number."""
    if any(_number(text) is None for text in texts):
        return None
    distinct = {_number(text) for text in texts}
    decimals = labels.continuous(texts)
    if decimals:
        return Inferred(NUMBERS, f"{column!r} has {len(decimals):,} different decimal numbers")
    if len(distinct) > MOST_WHOLE:
        return Inferred(NUMBERS, f"{column!r} has {len(distinct):,} different numbers")
    reason = f"{column!r} has only {len(distinct):,} different numbers in {len(texts):,} rows"
    return Inferred({"kind": "classes"}, reason)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _of_separator(texts: list[str], column: str) -> Inferred | None:
    """Return labels if names recur across cells that join them in different ways."""
    whole = set(texts)
    for separator in SEPARATORS:
        joined = [text for text in texts if separator in text]
        if len(joined) < LEAST_SHARE * len(texts):
            continue
        names = Counter(name.strip() for text in texts for name in text.split(separator) if name.strip())
        recurring = sum(count for count in names.values() if count > 1) / names.total()
        if 2 * recurring > 1 and len(names) < len(whole) and _words(list(names)) < LONG_WORDS:
            return _labels(
                separator,
                f"{len(joined):,} of {len(texts):,} cells of {column!r} join names with {separator!r}: "
                f"{len(names):,} different names in {len(whole):,} different cells",
            )
    return None


def _words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)


def _of_names(texts: list[str], column: str) -> Inferred:
    distinct = len(set(texts))
    if 2 * distinct > len(texts) and _words(texts) >= LONG_WORDS:
        raise DataError(
            f"column {column!r} holds texts that differ from row to row",
            got=f"{distinct:,} different texts of {_words(texts):.0f} words in {len(texts):,} rows",
            expected="names, lists of names, or numbers",
            hint="if a model is to write them, start from `recipes/sequence-csv.yaml`, which has an "
            "encoder-decoder; otherwise set preprocess.label_column to another column",
        )
    return Inferred(
        {"kind": "classes"},
        f"{column!r} has {distinct:,} different names in {len(texts):,} rows, one in each",
    )
