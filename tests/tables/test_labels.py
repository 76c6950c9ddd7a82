"""Tests of how labels are normalized, which labels read alike, and their order."""

import unicodedata

import pytest

from baton.tables import labels


@pytest.mark.parametrize(
    "label",
    [
        "spam",
        " spam",
        "spam\t",
        "spam\u00a0",
        "\ufeffspam",
        "spam\u200b",
        "\u2028spam\u2060 ",
        "sp\u0061m\u00ad",
        "\x00spam\x7f",
    ],
)
def test_what_nobody_sees_at_the_ends_goes(label: str) -> None:
    assert labels.normal(label) == "spam"


@pytest.mark.parametrize(
    "label",
    [
        "caf\u00e9",
        "not spam",
        "\u2600\ufe0f",
        "\U0001f3f4\U000e0067\U000e0062\U000e007f",
        "می\u200cروم",
        "−1",
    ],
)
def test_what_is_seen_stays(label: str) -> None:
    assert labels.normal(label) == label
    assert labels.normal(unicodedata.normalize("NFD", label)) == label


def test_every_invisible_character_of_unicode_is_known() -> None:
    """Unicode's format, space and control characters are unseen.

    Exceptions are those that print (Arabic and Kaithi signs), musical marks and tags.
    """
    printing = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    for code in range(0x10000):
        character = chr(code)
        if (
            unicodedata.category(character) in {"Cf", "Cc", "Zs", "Zl", "Zp"}
            and code not in printing
            and not 0xFFF9 <= code <= 0xFFFB
        ):
            assert labels.visible(f"{character}x{character}") == "x", hex(code)


ALIKE = [
    ["1", "01", "1.0", "+1", "1e0"],
    ["0", "-0", "0.00"],
    ["spam", "Spam", "SPAM"],
    ["Straße", "STRASSE"],
    ["\ufb01ne", "fine"],
    ["ham", "ha\u200bm"],
    ["true", "TRUE", "True"],
    ["100", "1e2"],
]


@pytest.mark.parametrize("group", ALIKE)
def test_labels_that_read_alike_are_named_with_the_most_frequent(group: list[str]) -> None:
    found = labels.similar([*group, group[0], "another"])
    assert list(found) == sorted(group[1:], key=labels.order)
    assert all(reason.endswith(f"reads like {group[0]!r} (2 rows)") for reason in found.values())


def test_labels_that_differ_are_not_found() -> None:
    apart = [
        "1",
        "10",
        "1.5",
        "-1",
        "0x1",
        "1-2",
        "a",
        "b",
        "not spam",
        "not_spam",
        "é",
        "e",
        "1e9999",
        "2e9999",
        "no",
        "none of these",
    ]
    assert labels.similar(apart) == {}


def test_labels_that_read_like_a_missing_value() -> None:
    found = labels.similar(["nan", "None", "N/A", "NULL", "a", "a"])
    assert list(found) == ["N/A", "NULL", "None", "nan"]
    assert found["None"] == "label 'None' (1 rows) reads like a missing value"


def test_numbers_are_in_their_own_order() -> None:
    assert sorted(["10", "9", "1.5", "b", "-3", "B", "02"], key=labels.order) == [
        "-3",
        "1.5",
        "02",
        "9",
        "10",
        "B",
        "b",
    ]


@pytest.mark.parametrize(("numbers", "found"), [(19, 0), (20, 20), (300, 300)])
def test_decimals_need_to_be_many(numbers: int, found: int) -> None:
    assert len(labels.continuous([f"{number}.5" for number in range(numbers)] * 2)) == found
