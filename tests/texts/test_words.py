"""Words of texts, and the tokens that stand for them."""

import numpy as np
import pytest

from baton.texts import words


def cut(text: str, how: words.Cut) -> list[str]:
    return [text[start:end] for start, end in words.cut(text, how)]


@pytest.mark.parametrize(
    ("text", "space", "pattern"),
    [
        ("", [], []),
        (" \n\t\u00a0", [], []),
        ("Smith\n\nParis \tx", ["Smith", "Paris", "x"], ["Smith", "Paris", "x"]),
        ("A man, a plan", ["A", "man,", "a", "plan"], ["A", "man", ",", "a", "plan"]),
        ("U.S. don't 3,5", ["U.S.", "don't", "3,5"], ["U", ".", "S", ".", "don", "'", "t", "3", ",", "5"]),
        ("Zürich\u00a0\u2013 東京", ["Zürich", "\u2013", "東京"], ["Zürich", "\u2013", "東", "京"]),
        # Scripts without spaces: one word per letter, with its marks; digits and Latin letters stay together.
        (
            "東京タワーは1958年〇、か\u3099",
            ["東京タワーは1958年〇、か\u3099"],
            [*"東京タワーは", "1958", *"年〇、", "か\u3099"],
        ),
        ("กรุงเทพ ๑๒", ["กรุงเทพ", "๑๒"], ["ก", "รุ", "ง", "เ", "ท", "พ", "๑๒"]),
        ("ຫຼວງ ភ្នំ ရန်", ["ຫຼວງ", "ភ្នំ", "ရန်"], ["ຫຼ", "ວ", "ງ", "ភ្", "នំ", "ရ", "န်"]),
        ("서울은 Київ", ["서울은", "Київ"], ["서울은", "Київ"]),
        # Invisible characters: joiners, a soft hyphen and marks of direction; zero-width spaces divide words.
        ("co\u00adop\u00ad می\u200cخواهم\u200f.", ["co\u00adop\u00ad", "می\u200cخواهم\u200f."], None),
        ("❤\ufe0f \ufe0f \u200d\u2060 \ufeffa\u200bb", ["❤\ufe0f", "\ufeffa", "b"], ["❤\ufe0f", "a", "b"]),
        ("👩\u200d💻 \u3164 \x08 \x7f", ["👩\u200d💻"], ["👩", "💻"]),
        # Vowel signs and accents belong to the letter before them.
        ("हिन्दी e\u0301te\u0301", ["हिन्दी", "e\u0301te\u0301"], ["हिन्दी", "e\u0301te\u0301"]),
        ("ok👍🏽!", ["ok👍🏽!"], ["ok", "👍", "🏽", "!"]),
    ],
)
def test_words(text: str, space: list[str], pattern: list[str] | None) -> None:
    assert cut(text, "space") == space
    assert cut(text, "pattern") == (["co\u00adop", "می\u200cخواهم", "."] if pattern is None else pattern)


def test_a_long_run_of_invisible_characters_takes_no_time() -> None:
    text = "a " + "\u200d\ufe0f" * 100_000 + " \ufe0f\u200db"
    assert cut(text, "space") == ["a", "\ufe0f\u200db"] and cut(text, "pattern") == ["a", "b"]


def test_the_first_token_that_has_a_character_of_the_word() -> None:
    offsets = [(0, 2), (2, 5), (5, 6), (6, 9), (8, 12)]  # the third is a space, as of SentencePiece
    assert words.tokens_of([(0, 5), (6, 9), (9, 12), (20, 22)], offsets).tolist() == [0, 3, 4, -1]
    assert words.tokens_of([(2, 3), (3, 5)], offsets).tolist() == [1, 1]  # one token for both
    assert words.tokens_of([], offsets).tolist() == []
    assert words.tokens_of([(0, 1)], []).tolist() == [-1]


def test_places_agree_with_a_search_over_all_windows() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        length = int(random.integers(1, 40))
        windows, before, after = [], int(random.integers(3)), int(random.integers(3))
        for _ in range(random.integers(1, 4)):
            start, end = sorted(random.choice(length + 1, 2, replace=False).tolist())
            windows.append([(start, end)])
        found = words.places_of(np.arange(length), windows, length, before, before + after)
        for token in range(length):
            best, begin = (-1, -1), 0  # context, place
            for [(start, end)] in windows:
                if start <= token < end:
                    context = min(token - start, end - 1 - token)
                    if context > best[0]:
                        best = (context, begin + before + token - start)
                begin += before + end - start + after
            assert found[token] == best[1]
