"""chrF and BLEU from sums of rows are sacrebleu's corpus scores."""

import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from baton.tasks import text_scores

WORDS = ("the", "a", "grain", "ship", "left", "port,", "wheat", "crop.", "1,000", "It's", "über", "中文", "—")


def corpus(seed: int, rows: int, mistakes: float) -> tuple[list[str], list[str]]:
    """Return references and texts that differ in words dropped, changed or repeated."""
    draw = random.Random(seed)
    references = [" ".join(draw.choices(WORDS, k=draw.randint(0, 12))) for _ in range(rows)]

    def spoilt(text: str) -> str:
        words = [draw.choice(WORDS) if draw.random() < mistakes else word for word in text.split()]
        return " ".join(word for word in words if draw.random() > mistakes / 3)

    return references, [spoilt(text) for text in references]


@pytest.mark.parametrize("mistakes", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("rows", [1, 2, 50])
def test_corpus_scores_are_those_of_sacrebleu(rows: int, mistakes: float) -> None:
    for seed in range(5):
        references, texts = corpus(seed, rows, mistakes)
        found = text_scores.figures(text_scores.statistics(references, texts).sum(axis=0))
        assert 100 * found["chrf"] == pytest.approx(CHRF().corpus_score(texts, [references]).score, abs=1e-9)
        assert 100 * found["bleu"] == pytest.approx(BLEU().corpus_score(texts, [references]).score, abs=1e-9)
        exact = np.mean([one == other for one, other in zip(texts, references, strict=True)])
        assert found["exact_match"] == pytest.approx(exact)


def test_nothing_in_common_and_empty_texts_score_zero() -> None:
    for texts in (["zzz"], [""]):
        found = text_scores.figures(text_scores.statistics(["the grain"], texts).sum(axis=0))
        assert found["chrf"] == found["bleu"] == found["exact_match"] == 0
        assert CHRF().corpus_score(texts, [["the grain"]]).score == 0
        assert BLEU().corpus_score(texts, [["the grain"]]).score == 0


def test_figures_of_many_sums_are_those_of_each() -> None:
    references, texts = corpus(3, 20, 0.4)
    statistics = text_scores.statistics(references, texts)
    counts = np.random.default_rng(0).integers(0, 3, (7, 20)).astype(np.float64)
    many = text_scores.figures(counts @ statistics)
    for place, own in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(20), own)
        again = [[side[row] for row in rows] for side in (texts, references)]
        assert 100 * many["chrf"][place] == pytest.approx(CHRF().corpus_score(again[0], [again[1]]).score)
        assert 100 * many["bleu"][place] == pytest.approx(BLEU().corpus_score(again[0], [again[1]]).score)


def test_signatures_name_version_and_settings() -> None:
    found = text_scores.signatures()
    assert "nc:6" in found["chrf"]
    assert "tok:13a" in found["bleu"]
    assert all("nrefs:1" in one and "version:" in one for one in found.values())
