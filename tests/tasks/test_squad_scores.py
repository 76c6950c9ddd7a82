"""Scores of answers agree with SQuAD's published script (evaluate-v2.0.py), written out here on its own."""

import collections
import re
import string

import numpy as np
import pytest

from baton.tasks import squad_scores

WORDS = [
    "the",
    "a",
    "An",
    "Theatre",
    "andes",
    "U.S.",
    "year-old",
    "don't",
    "£5",
    "5",
    "42%",
    "「東京」",
    "  ",
    "",
    ".",
]


def normalized(text: str) -> str:
    """As in the script: lower case, then punctuation, then articles, then white space."""
    kept = "".join(one for one in text.lower() if one not in set(string.punctuation))
    return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", kept).split())


def script(prediction: str, answers: list[str]) -> tuple[float, float]:
    """The two scores of a question, by the script's rules: the best over answers that are not empty."""
    golds = [answer for answer in answers if normalized(answer)] or [""]
    exact = max(int(normalized(gold) == normalized(prediction)) for gold in golds)
    f1s = []
    for gold in golds:
        gold_words, words = normalized(gold).split() if gold else [], normalized(prediction).split()
        common = collections.Counter(gold_words) & collections.Counter(words)
        same = sum(common.values())
        if len(gold_words) == 0 or len(words) == 0:
            f1s.append(float(gold_words == words))
        elif same == 0:
            f1s.append(0.0)
        else:
            precision, recall = 1.0 * same / len(words), 1.0 * same / len(gold_words)
            f1s.append((2 * precision * recall) / (precision + recall))
    return exact, max(f1s)


def test_random_answers_have_the_scores_of_the_script() -> None:
    random = np.random.default_rng(0)

    def draw() -> str:
        return " ".join(random.choice(WORDS, random.integers(0, 6)))

    seen = set()
    for _ in range(3000):
        predicted, answers = draw(), [draw() for _ in range(random.integers(0, 4))]
        expected = script(predicted, answers)
        assert squad_scores.score(predicted, answers) == pytest.approx(expected, abs=1e-9)
        seen.add((expected[0], 0 < expected[1] < 1))
    assert seen == {(0, False), (0, True), (1, False)}


def test_by_hand() -> None:
    assert squad_scores.normal("The  Andes,  a range") == "andes range"
    assert squad_scores.score("the range", ["Andes range", "Alps"]) == (0, pytest.approx(2 / 3))
    assert squad_scores.score("", []) == (1, 1) == squad_scores.score("the", [])
    assert squad_scores.score("Alps", []) == (0, 0) == squad_scores.score("", ["Alps"])
