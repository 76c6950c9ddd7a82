"""Groups of test rows by length, by what is read, and by near-duplicates."""

from collections import Counter

import numpy as np
import pytest

from baton.evaluate import row_groups
from baton.evaluate.inputs import Rows


def rows(texts: list[str], shown: str = "text") -> Rows:
    return Rows([f"test:{place + 1}" for place in range(len(texts))], texts, np.zeros(len(texts)), shown)


def test_lengths_are_parts_of_about_as_many_rows_from_short_to_long() -> None:
    counts = np.random.default_rng(0).permutation(np.arange(1, 101))
    found = row_groups.groups(rows(["word " * count for count in counts]), set(), None)
    group = found["length of the text"]
    assert list(group.order) == [
        "1 to 20 words",
        "21 to 40 words",
        "41 to 60 words",
        "61 to 80 words",
        "81 to 100 words",
    ]
    for value, count in zip(group.values, counts, strict=True):
        low, high = (int(part) for part in value.removesuffix(" words").split(" to "))
        assert low <= count <= high


def test_many_equal_lengths_make_fewer_parts() -> None:
    texts = ["one"] * 90 + ["two words"] * 10
    group = row_groups.groups(rows(texts), set(), None)["length of the text"]
    assert Counter(group.values) == {"1 word": 90, "2 words": 10}
    assert "length of the text" not in row_groups.groups(rows(["one"] * 9), set(), None), "all alike"


def test_text_without_spaces_is_counted_in_characters() -> None:
    texts = ["語" * count for count in range(50, 150)]
    group = row_groups.groups(rows(texts), set(), None)["length of the text"]
    assert group.order[0] == "50 to 69 characters" and group.order[-1].endswith(" to 149 characters")


def test_names_of_images_have_no_length() -> None:
    assert row_groups.groups(rows(["a.png", "a longer name.png"], "name"), set(), None) == {}


def test_texts_that_fill_what_is_read_are_apart() -> None:
    read = row_groups.Read(np.array([128, 3, 128, 127]), 128)
    group = row_groups.groups(rows(["a b"] * 4), set(), read)["how much of it is read"]
    assert list(group.order) == ["read to its end", "cut after 128 tokens, or just as long"]
    assert [value == group.order[1] for value in group.values] == [True, False, True, False]
    short = row_groups.Read(np.array([3, 4, 5, 6]), 128)
    assert "how much of it is read" not in row_groups.groups(rows(["a b"] * 4), set(), short)


@pytest.mark.parametrize("repeats", [{"test:2"}, {"test:1", "test:3"}])
def test_near_duplicates_are_a_group(repeats: set[str]) -> None:
    group = row_groups.groups(rows(["a"] * 3), repeats, None)["near-duplicates"]
    near = [
        id_
        for id_, value in zip(("test:1", "test:2", "test:3"), group.values, strict=True)
        if value != "none"
    ]
    assert set(near) == repeats
