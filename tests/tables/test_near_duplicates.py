"""Near-duplicates equal the result of comparing all pairs; groups are connected components."""

import random
import time
from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from baton.tables import near_duplicates, near_rows, text_key
from baton.tables.rows import Row

LONG = (
    "of twenty words one is another and this is the whole difference "
    "between these two texts that follow each other here"
)


def jaccard(one: str, other: str) -> float:
    """Compute the Jaccard index of runs of three words independently, for letters and single spaces."""
    sets = []
    for text in (one, other):
        words = text.split(" ")
        sets.append({tuple(words[place : place + 3]) for place in range(len(words) - 2)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def varied(seed: int) -> list[str]:
    """Return texts of 5 to 60 words, and copies with up to a tenth of the words changed, added or removed."""
    random_ = random.Random(seed)
    words = [f"{a}{b}" for a in "abcdefghij" for b in "aeiou"]
    texts = [" ".join(random_.choices(words, k=random_.randint(5, 60))) for _ in range(60)]
    for text in list(texts):
        for _ in range(3):
            copy = text.split(" ")
            for _ in range(random_.randint(0, 1 + len(copy) // 10)):
                place = random_.randrange(len(copy))
                copy[place : place + 1] = random_.choice(
                    [[], [random_.choice(words)], [copy[place], random_.choice(words)]]
                )
            texts.append(" ".join(copy))
    return [text for text in texts if text.count(" ") > 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_pairs_are_those_that_comparing_all_pairs_finds(seed: int) -> None:
    texts = sorted(set(varied(seed)))
    expected = {
        pair: value
        for pair in combinations(texts, 2)
        if (value := jaccard(*pair)) >= near_duplicates.SIMILARITY
    }
    assert len(expected) > 30
    found = near_duplicates.texts(texts)
    assert {
        (one, other): value for one, others in found.items() for other, value in others.items() if one < other
    } == expected
    assert all(
        found[other][one] == value for one, others in found.items() for other, value in others.items()
    ), "in both directions"
    assert near_duplicates.texts([*texts[::-1], texts[0]]) == found, "all pairs of small groups, in any order"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("The parcel came late, the box was broken.", "the parcel came late; the box was broken", True),
        ("the box was broken", "the box was open", False),
        ("very good", "very bad", False),
        (LONG, LONG, False),  # a text is not paired with itself
        (LONG, LONG.replace("whole", "only"), True),
        ("今天天气很好我们去公园散步", "今天天气很好我们去公园散步吧", True),  # no spaces between words
        ("今天天气很好我们去公园散步", "明天也许下雨大家留在家里看书", False),
        ("สวัสดีครับวันนี้อากาศดีมาก", "สวัสดีครับวันนี้อากาศดีมากๆ", True),
        ("!!!", "???", False),
    ],
)
def test_what_is_called_near(one: str, other: str, alike: bool) -> None:
    assert (other in near_duplicates.texts([one, other]).get(one, {})) is alike


def test_groups_are_connected_components() -> None:
    random_ = random.Random(0)
    for count, number in ((1, 0), (10, 4), (200, 90), (200, 250)):
        pairs = [(random_.randrange(count), random_.randrange(count)) for _ in range(number)]
        rows, columns = np.array(pairs, dtype=int).reshape(-1, 2).T
        _, expected = connected_components(
            coo_array((np.ones(number), (rows, columns)), shape=(count, count)), directed=False
        )
        first = {component: place for place, component in reversed(list(enumerate(expected.tolist())))}
        assert near_duplicates.groups(count, pairs) == [first[component] for component in expected.tolist()]


def test_links_join_equal_and_near_keys() -> None:
    keys = ["a", "b", "c", "a", "d", "b"]
    pairs = list(near_duplicates.links(keys, {"b": {"d": 0.8}, "d": {"b": 0.8, "e": 0.7}, "e": {"d": 0.7}}))
    assert all(early < late for early, late in pairs)
    assert near_duplicates.groups(len(keys), pairs) == [0, 1, 2, 0, 1, 1]


def filled(count: int) -> list[str]:
    """Return a filled-in template: any two texts share 22 of 28 shingles."""
    start = "dear customer we are glad to tell you that your order with the number"
    end = "has been shipped today and will be with you in three days"
    return [f"{start} {number} {end}" for number in range(count)]


@pytest.mark.slow
def test_a_template_is_one_group_in_little_time_and_memory() -> None:
    texts = [*filled(20_000), "something else that is like no other text at all"]
    start = time.process_time()
    found = near_duplicates.texts(texts)
    assert time.process_time() - start < 60, "a few seconds; comparing all pairs takes half an hour"
    assert sum(map(len, found.values())) <= 2 * near_duplicates.MEMBERS * len(texts)
    assert set(near_duplicates.groups(len(texts), near_duplicates.links(texts, found))) == {0, 20_000}
    assert set(near_duplicates.chains(found).values()) == {min(texts[:20_000])}


def test_a_text_that_comes_later_changes_no_pair_of_those_before_it() -> None:
    texts = filled(200) + varied(0)
    random.Random(0).shuffle(texts)
    before = near_duplicates.texts(texts[:300])
    after = near_duplicates.texts(texts)
    known = set(texts[:300])
    assert {
        name: {other: share for other, share in after[name].items() if other in known} for name in before
    } == before


def test_what_a_test_row_is_like_through_others_is_named() -> None:
    rows = [
        Row("test" if number == 399 else "train", number + 1, text, "a")
        for number, text in enumerate(filled(400))
    ]
    found = near_duplicates.texts(text_key.key(row.text) for row in rows)
    assert len(near_rows.near_duplicate(rows, found)) == 399
    assert all("test:400" in reason for reason in near_rows.near_duplicate(rows, found).values())
    parts = {"train": rows[200:399], "val": [], "test": rows[399:]}
    assert near_rows.near_training(parts, found) == ["test:400"]
