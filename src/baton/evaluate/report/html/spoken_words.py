"""Which words of a text spoke for a wrong answer, and whether the marks can be trusted.

Inputs: tables/attributions.csv and tables/deletion.csv -> the words of each row that is explained, and what
the deletion test says of them.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baton.evaluate.report.html.csv_reading import Reports, Row, number
from baton.evaluate.report.wording import amount
from baton.evaluate.seeds import student

LEVELS = 3  # of shading
MOST_WORDS = 300  # of a text
NAMED = 5  # words, below a text


@dataclass(frozen=True)
class Word:
    """A word of a text."""

    before: str  # what lies between it and the word before
    word: str
    level: int  # of its shading: 0 is none, LEVELS the strongest
    marked: bool  # whether the deletion test takes it away

    @property
    def plain(self) -> bool:
        """Whether it is neither shaded nor underlined."""
        return not self.level and not self.marked


@dataclass(frozen=True)
class Spoken:
    """The words of one text."""

    answer: str  # for which they spoke
    words: Sequence[Word]
    left_out: int  # words after those, which are read too
    # Words, and their shares of all that spoke for the answer; a word that occurs several times counts once.
    strongest: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class SpokenWords:
    """All texts that are explained, of one model."""

    texts: dict[str, Spoken]  # id of the row -> its words
    said: Sequence[str]  # what the deletion test found, in sentences


def read(reports: Reports, model: str, confidence: float) -> SpokenWords:
    """Return what is known of a model's answers; nothing if none are explained."""
    rows = [row for row in reports.table("attributions.csv") if row["model"] == model]
    tested = [row for row in reports.table("deletion.csv") if row["model"] == model]
    texts = {id_: _text(list(own)) for id_, own in itertools.groupby(rows, lambda row: row["id"])}
    parts = "words, at most a fifth of a text" if rows else "pixels, at most a fifth of an image"
    return SpokenWords(texts, said(tested, confidence, parts) if tested else [])


def said(tested: Sequence[Row], confidence: float, parts: str) -> list[str]:
    """Return what the deletion test found, and whether the attributions can be trusted.

    `parts` are what it takes away: words, or pixels, and how many.
    """
    unit = parts.partition(",")[0]
    wrong, right = ([row for row in tested if row["right"] == kind] for kind in ("0", "1"))
    told = [f"the probability of {_falls(wrong, 'wrong answers', unit)}"] if wrong else []
    told += (
        [f"{'that' if wrong else 'the probability'} of {_falls(right, 'right answers', unit)}"]
        if right
        else []
    )
    begin = f"Without the strongest {parts},"
    return [f"{begin} {'; '.join(told)}.", _trusted(tested, confidence)]


def _falls(own: Sequence[Row], answers: str, unit: str) -> str:
    """Return by how many points the probability falls without the strongest parts, and without others."""
    by, by_random = (
        float(np.mean([_fall(row, name) for row in own])) for name in ("without", "without_random")
    )
    both = _points(by), _points(by_random)
    ways = ["falls" if fall >= 0 else "rises" for fall in (by, by_random)]
    other = both[1] if ways[0] == ways[1] else f"it {ways[1]} {both[1]}"
    return f"{amount(len(own), answers)} {ways[0]} {both[0]}, without as many random {unit} {other}"


def _fall(row: Row, name: str) -> float:
    return number(row["probability"]) - number(row[name])


def _points(fall: float) -> str:
    return f"by {amount(round(100 * abs(fall)), 'points')}"


def _trusted(tested: Sequence[Row], confidence: float) -> str:
    """Say whether the words that are marked are those that the model used.

    They are if the interval of the difference of both falls, over all answers, lies above 0.
    """
    found = student(
        np.array([_fall(row, "without") - _fall(row, "without_random") for row in tested]), confidence
    )
    if found.interval is None:
        return "These are too few answers to tell whether the marks can be trusted."
    low, high = (round(100 * end) for end in found.interval)
    difference = f"the difference is {round(100 * found.mean)} points ({low} to {high})"
    if found.interval[0] > 0:
        return f"So the marks can be trusted here: {difference}."
    return f"So do not rely on the marks here: {difference}, which may be chance."


def _text(rows: Sequence[Row]) -> Spoken:
    scores = [number(row["attribution"]) for row in rows]
    above = [score if score > 0 else 0.0 for score in scores]  # also where it is undefined
    most, total = max(above), math.fsum(above)
    shown = [
        Word(row["before"], row["word"], _level(score, most), row["marked"] == "1")
        for row, score in zip(rows[:MOST_WORDS], above, strict=False)
    ]
    sums = defaultdict[str, float](float)
    for row, score in zip(rows, above, strict=True):
        sums[row["word"]] += score
    order = sorted(sums.items(), key=lambda item: -item[1])[:NAMED]
    strongest = [(word, score / total) for word, score in order if score]
    return Spoken(rows[0]["answer"], shown, max(0, len(rows) - MOST_WORDS), strongest)


def _level(score: float, most: float) -> int:
    """Return how strongly a word is shaded; what is far below the strongest is not."""
    return round(LEVELS * score / most) if most else 0
