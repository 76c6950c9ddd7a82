"""Entities as spans of characters, and as tags of tokens (IOB1, IOB2, BIOES) -> spans of words.

Every function returns the fault, as text, of what cannot be read.
"""

import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from baton.tables.rows import plain
from baton.texts.words import Span, covering

TAG = re.compile(r"([BIESLU])[-_](.+)", re.DOTALL)
KEYS = ("start", "end", "label")
# What is remarkable about a row: I-TYPE where no tag of that type precedes it; B-TYPE where IOB1 would have
# I-TYPE; a span that cuts a word.
INSIDE, BEGINS, WIDENED = "inside", "begins", "widened"
SHOWN = 40  # characters of a value in a fault


class Spans(NamedTuple):
    """(start, end, type) in characters or words, in order, and what is remarkable."""

    spans: list[tuple[int, int, str]]
    marks: set[str]


def of_tokens(tokens: Sequence[Any]) -> tuple[str, list[Span]] | str:
    """Return tokens joined by single spaces, and the characters of each."""
    parts, places, end = [], [], -1
    for number, value in enumerate(tokens, 1):
        token = plain(value)
        if not token:
            return f"token {number} is {'empty' if token == '' else f'a {type(value).__name__}'}"
        if token.split() != [token]:
            return f"token {number}, {token[:SHOWN]!r}, has white space in it"
        parts.append(token)
        places.append((end + 1, end + 1 + len(token)))
        end = places[-1][1]
    return " ".join(parts), places


def between_spaces(text: str) -> list[Span]:
    """Return the tokens of a text that was cut at white space, also those that nobody sees."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def of_tags(tokens: Sequence[Span], tags: Sequence[Any]) -> Spans | str:
    """Return the entities of a tag for each token, in characters.

    An entity begins at B, at S, and at any tag that no tag of its type precedes; it ends before the next one
    and after E or S (conlleval: Tjong Kim Sang & Buchholz 2000). L and U are other names of E and S.
    """
    if len(tags) != len(tokens):
        return f"{len(tokens)} tokens, but {len(tags)} tags"
    spans: list[tuple[int, int, str]] = []
    marks: set[str] = set()
    current = ""  # the type of the entity that the next token may continue
    for number, ((start, end), value) in enumerate(zip(tokens, tags, strict=True), 1):
        if (tag := plain(value)) == "O":
            current = ""
            continue
        match = TAG.fullmatch(tag or "")
        if match is None:
            shown = str(value if tag is None else tag)[:SHOWN]
            return f"tag {number}, {shown!r}, is not O, B-TYPE or I-TYPE"
        prefix, name = match[1], match[2]
        if prefix in "IEL" and current == name:
            spans[-1] = (spans[-1][0], end, name)
        else:
            if prefix in "IEL":
                marks.add(INSIDE)
            elif current != name:
                marks.add(BEGINS)
            spans.append((start, end, name))
        current = "" if prefix in "ESLU" else name
    return Spans(spans, marks)


def of_spans(text: str, items: Sequence[Any]) -> Spans | str:
    """Return the spans of a text, sorted by start; each is {start, end, label}."""
    spans: list[tuple[int, int, str]] = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or any(item.get(key) is None for key in KEYS):
            return f"span {number} is not an object with {', '.join(KEYS)}"
        start, end, name = _integer(item["start"]), _integer(item["end"]), plain(item["label"])
        if start is None or end is None or name is None:
            got = ", ".join(f"{key} {str(item[key])[:SHOWN]!r}" for key in KEYS)
            return f"span {number} needs whole numbers and a name: {got}"
        if start >= end:
            return f"span {number} is empty: it starts at {start} and ends at {end}"
        if start < 0 or end > len(text):
            return f"span {number}, {start} to {end}, lies outside of the text of {len(text)} characters"
        spans.append((start, end, name))
    spans.sort()
    for (first, until, _), (start, end, _) in itertools.pairwise(spans):
        if start < until:
            return f"spans overlap: {first} to {until}, and {start} to {end}"
    return Spans(spans, set())


def fitted(text: str, spans: Sequence[tuple[int, int, str]], words: Sequence[Span]) -> Spans | str:
    """Return spans of characters, sorted, as spans of words; those that cut a word are widened."""
    found: list[tuple[int, int, str]] = []
    marks: set[str] = set()
    for start, end, name in spans:
        place, last = covering(words, start, end)
        if last == place:
            return f"the span {start} to {end}, {text[start:end][:SHOWN]!r}, has no word"
        if found and found[-1][1] > place:
            word = text[slice(*words[place])]
            return f"two spans share the word {word[:SHOWN]!r}, at {words[place][0]}"
        own = text[start:end]
        inner = start + len(own) - len(own.lstrip()), end - len(own) + len(own.rstrip())
        if inner != (words[place][0], words[last - 1][1]):
            marks.add(WIDENED)
        found.append((place, last, name))
    return Spans(found, marks)


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if float(value).is_integer() else None  # neither NaN nor infinity is
