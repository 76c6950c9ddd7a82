"""Markdown in which all that comes from data stays text: the only place that escapes it.

Cards, the gate's verdict, the report of a retraining, comparisons and MLflow's descriptions use it.
Everything that a template writes is escaped, unless it is `Markdown` already. Escaped text is one line, holds
no HTML, starts no list, heading or table, and mentions nobody.
"""

import re
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r"([\\`*_\[\]|~$])")  # emphasis, code, links, cells, strikethrough, formulas
# What a forge makes a mention or a link of, `@name` and `#12`; an invisible character in between prevents it.
MENTION, JOINER = re.compile(r"(?<![\w.])@(?=\w)|#(?=\d)"), "\u2060"
STARTS = re.compile(r"^(?:[#+\-=:]|\d+(?=[.)]))")  # of headings, lists and rules


class Markdown(str):
    """Text that is Markdown, and is not escaped again."""

    __slots__ = ()


def plain(value: object) -> str:
    """Return a value as one line of characters that can be seen."""
    return _line(" ".join(str(value).split()))


def _line(line: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in line)


def escaped(value: object) -> Markdown:
    """Return a value as Markdown that shows it inside a line or a cell."""
    if isinstance(value, Markdown):
        return value
    text = plain(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markdown(SPECIAL.sub(r"\\\1", MENTION.sub(rf"\g<0>{JOINER}", text)))


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


def fenced(text: str) -> Markdown:
    """Return lines as a block of code, which no line of them can end."""
    lines = "\n".join(map(_line, text.split("\n")))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", lines)), default=0))
    return Markdown(f"{fence}\n{lines}\n{fence}")


def table(columns: Sequence[object], rows: Iterable[Sequence[object]], numbers: bool = True) -> Markdown:
    """Return a table; cells of `numbers`, all but the first of a row, are aligned to the right."""
    rest = "---:" if numbers else "---"
    lines = [_row(columns), "|" + "|".join(["---", *[rest] * (len(columns) - 1)]) + "|"]
    return Markdown("\n".join([*lines, *map(_row, rows)]))


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"
