"""The words that spoke for a wrong answer, in report.html, and what the deletion test says of them."""

from pathlib import Path

import numpy as np
import pytest

from baton.evaluate import attributions
from baton.evaluate.attributions import Answer, Explained
from baton.evaluate.report.csv_files import write_csv
from baton.evaluate.report.html import page, spoken_words
from baton.evaluate.report.html.about import About
from baton.evaluate.report.html.csv_reading import Reports, Row
from tests.evaluate.report import made_up
from tests.evaluate.report.reading import Page

PARTS = "words, at most a fifth of a text"
HOSTILE = ["<script>alert(1)</script>", '"><img', "src=x>", "{{", "'quoted'", "wheat", "a&b", "</p>"]


def explained(reports: Reports, words: list[str], count: int = 3) -> list[str]:
    """Write the tables of the student's first errors; return their ids."""
    ids = [row["id"] for row in reports.table("errors.csv") if row["model"] == "student"][:count]
    scores = np.linspace(-1, 2, len(words))
    found = [
        Explained(Answer(row, 0, True, False), words, ["", *[" "] * (len(words) - 1)], scores, 0.9, 0.3, 0.85)
        for row in range(len(ids))
    ]
    for name, table in attributions.tables(found, "student", ids, ["corn"]).items():
        write_csv(reports.folder / "tables" / name, *table)
    return ids


def test_words_are_shaded_underlined_and_named(tmp_path: Path) -> None:
    reports = made_up.classes(tmp_path, shares=made_up.SHARES | {"teacher": 0.5})  # the student is shown
    words = [f"word{place}" for place in range(10)]
    ids = explained(reports, words)
    found = Page(page.render(reports, About()))
    shown = found.root.xpath("//p[@class='spoken']")
    assert len(shown) == len(ids)
    assert found.text(shown[0]) == " ".join(words)
    assert [one.text for one in shown[0].xpath(".//mark")] == ["word8", "word9"]
    assert shown[0].xpath(".//mark[@class='s3']"), "the strongest is the darkest"
    assert shown[0].xpath(".//span[starts-with(@class, 's')]")
    assert "word0" not in [one.text for one in shown[0].iter() if one is not shown[0]], "it spoke against"
    assert "For corn: word9 " in found.text(shown[0].getnext()), "not by colour alone"
    said = found.text(found.part("failures"))
    assert "of 3 wrong answers falls by 60 points, without as many random words by 5 points." in said
    assert "word9" not in found.text(found.part("verdict"))


def test_hostile_words_stay_text(tmp_path: Path) -> None:
    reports = made_up.classes(tmp_path, shares=made_up.SHARES | {"teacher": 0.5})
    explained(reports, HOSTILE)
    found = Page(page.render(reports, About()))
    assert len(found.root.xpath("//script")) == 1 and not found.root.xpath("//img")
    shown = found.root.xpath("//p[@class='spoken']")
    assert [found.text(one) for one in shown] == [" ".join(HOSTILE)] * 3


def test_without_attributions_texts_are_shown_as_before(tmp_path: Path) -> None:
    found = Page(page.render(made_up.classes(tmp_path), About()))
    assert "Which words spoke" not in found.text()
    assert not found.root.xpath("//p[@class='spoken']")


def test_the_same_words_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        reports = made_up.classes(tmp_path / name)
        explained(reports, HOSTILE)
        tables = [reports.folder / "tables" / file for file in ("attributions.csv", "deletion.csv")]
        made.append([path.read_bytes() for path in tables])
    assert made[0] == made[1]


def test_a_word_that_occurs_several_times_is_named_once(tmp_path: Path) -> None:
    reports = made_up.classes(tmp_path, shares=made_up.SHARES | {"teacher": 0.5})
    explained(reports, ["vs", "cts", "vs", "cts", "vs"], count=1)
    text = spoken_words.read(reports, "student", 0.95).texts
    assert [word for word, _ in next(iter(text.values())).strongest] == ["vs", "cts"]


def test_long_texts_are_cut(tmp_path: Path) -> None:
    reports = made_up.classes(tmp_path, shares=made_up.SHARES | {"teacher": 0.5})
    explained(reports, ["word"] * (spoken_words.MOST_WORDS + 7), count=1)
    found = Page(page.render(reports, About()))
    assert "… 7 more words" in found.text(found.root.xpath("//p[@class='spoken']")[0])


def fallen(falls: list[tuple[float, float]]) -> list[Row]:
    return [
        {
            "right": str(row % 2),
            "probability": "0.9",
            "without": str(0.9 - by),
            "without_random": str(0.9 - other),
        }
        for row, (by, other) in enumerate(falls)
    ]


def test_marks_are_trusted_if_the_marked_words_matter_more_than_random_ones() -> None:
    told = spoken_words.said(fallen([(0.5, 0.1), (0.6, 0.0), (0.4, 0.1), (0.7, 0.2)]), 0.95, PARTS)
    assert told[0] == (
        "Without the strongest words, at most a fifth of a text, the probability of 2 wrong answers "
        "falls by 45 points, without as many random words by 10 points; that of 2 right answers "
        "falls by 65 points, without as many random words by 10 points."
    )
    assert told[1].startswith("So the marks can be trusted here: the difference is 45 points (")


@pytest.mark.parametrize(
    "falls", [[(0.1, 0.2), (0.2, 0.1), (-0.1, 0.0), (0.3, 0.3)], [(0.0, 0.1), (-0.1, 0.2)]]
)
def test_marks_that_matter_no_more_than_random_words_are_not_trusted(
    falls: list[tuple[float, float]],
) -> None:
    """Negative control."""
    assert spoken_words.said(fallen(falls), 0.95, PARTS)[1].startswith("So do not rely on the marks here")


def test_one_answer_tells_nothing() -> None:
    assert "too few" in spoken_words.said(fallen([(0.5, 0.1)]), 0.95, PARTS)[1]
