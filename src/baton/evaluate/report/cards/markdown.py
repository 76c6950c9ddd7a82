"""Markdown in which all that comes from data stays text.

Everything that a template writes is escaped, unless it is `Markdown` already. Escaped text is one line, holds
no HTML and starts no list, heading or table.
"""

import re
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r"([\\`*_\[\]|~$])")  # emphasis, code, links, cells, strikethrough, formulas
STARTS = re.compile(r"^(?:[#+\-=:]|\d+(?=[.)]))")  # of headings, lists and rules


class Markdown(str):
    """Text that is Markdown, and is not escaped again."""

    __slots__ = ()


def plain(value: object) -> str:
    """Return a value as one line of characters that can be seen."""
    line = " ".join(str(value).split())
    return "".join(character if character.isprintable() else "\ufffd" for character in line)


def escaped(value: object) -> Markdown:
    """Return a value as Markdown that shows it inside a line or a cell."""
    if isinstance(value, Markdown):
        return value
    text = plain(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markdown(SPECIAL.sub(r"\\\1", text))


def paragraph(value: object) -> Markdown:
    """Return a value as Markdown that shows it as a paragraph of its own."""
    text = escaped(value)
    if (start := STARTS.match(text)) is None:
        return text
    number = start.end() if text[0].isdigit() else 0
    return Markdown(f"{text[:number]}\\{text[number:]}")


def code(value: object) -> Markdown:
    """Return a value as code, such as a digest; a backtick in it is left out."""
    return Markdown(f"`{plain(value).replace('`', '').replace('|', '')}`")


def table(columns: Sequence[object], rows: Iterable[Sequence[object]], numbers: bool = True) -> Markdown:
    """Return a table; cells of `numbers`, all but the first of a row, are aligned to the right."""
    rest = "---:" if numbers else "---"
    lines = [_row(columns), "|" + "|".join(["---", *[rest] * (len(columns) - 1)]) + "|"]
    return Markdown("\n".join([*lines, *map(_row, rows)]))


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"
