"""The part of a text around what is right and what was predicted, in one line, with both marked.

`[` and `]` mark the actual part and `{` and `}` the predicted one.
"""

from baton.texts.words import Span

AROUND = 40  # characters of the text on either side of a mark


def around(text: str, actual: Span | None, predicted: Span | None) -> str:
    """Return the part of a text around one or two spans, (start, end) in characters.

    Of what lies between two that are far from each other, the middle is left out.
    """
    marks: list[tuple[int, int, str]] = []  # character, order at the same character, mark
    for span, opening, closing in ((actual, "[", "]"), (predicted, "{", "}")):
        if span is not None:
            marks += [(span[0], 1, opening), (span[1], 0, closing)]
    start, end = max(0, min(marks)[0] - AROUND), min(len(text), max(marks)[0] + AROUND)
    parts, at, inside = ["…" if start else ""], start, 0
    for place, _, mark in sorted(marks):
        parts += [text[at:place] if inside else _shortened(text[at:place]), mark]
        at, inside = place, inside + (1 if mark in "[{" else -1)
    return " ".join("".join([*parts, text[at:end], "…" if end < len(text) else ""]).split())


def _shortened(between: str) -> str:
    """Return what lies outside of spans: the longest that is whole is around a first and a last one."""
    return between if len(between) <= 3 * AROUND else f"{between[:AROUND]} … {between[-AROUND:]}"
