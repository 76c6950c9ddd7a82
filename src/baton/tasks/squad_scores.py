"""Exact match and F1 of answers in words, as SQuAD defines them (Rajpurkar et al. 2016, section 6.1; 2018).

Input: a predicted answer and the true ones, as texts; no answer is the empty text. Output: two scores from 0
to 1. Served models and evaluation use them, so nothing here imports torch.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


class Score(NamedTuple):
    """How well an answer matches the best of the true ones."""

    exact: float  # 1 or 0
    f1: float


def normal(answer: str) -> str:
    """Return an answer in lower case, without ASCII punctuation, English articles and extra white space."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def score(predicted: str, answers: Sequence[str]) -> Score:
    """Return the scores of an answer against the true answer that gives the highest, each for itself.

    True answers of which nothing is left after `normal` do not count; a question without others has no
    answer, which only no answer matches.
    """
    true = [answer for answer in answers if normal(answer)] or [""]
    return Score(
        max(float(normal(predicted) == normal(answer)) for answer in true),
        max(_f1(normal(predicted).split(), normal(answer).split()) for answer in true),
    )


def _f1(predicted: list[str], true: list[str]) -> float:
    """Return the harmonic mean of precision and recall of the words, each as often as it occurs."""
    if not predicted or not true:
        return float(predicted == true)
    same = sum((Counter(predicted) & Counter(true)).values())
    return 2 * same / (len(predicted) + len(true))
