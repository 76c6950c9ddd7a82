"""Find texts that are almost the same, and group what must stay together because of it.

`Near` maps a key (`checks.key` of a text, the digest of an image's pixels) to its near-duplicate keys and
their similarity, in both directions; a key without near-duplicates is absent. `preprocess` reports such rows,
keeps them in one split, and records for `evaluate` which test rows have one in train.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Near = dict[str, dict[str, float]]

# Texts are near-duplicates if they share this part of their runs of three words (shingles; Broder 1997, "On
# the resemblance and containment of documents"): one word in twenty differs, or any number of punctuation
# marks.
SHINGLE_WORDS = 3
SIMILARITY = 0.7
# A pair of that similarity shares a band with probability 1 - (1 - 0.7^4)^32 = 0.9998; each candidate is then
# compared exactly.
PERMUTATIONS, BANDS, SEED = 128, 32, 0
CHUNK = 4096  # texts hashed at a time
MEMBERS = 8  # texts in a band that each text is compared with; groups of up to this many get all their pairs
# In scripts without spaces between words (Thai, Lao, Khmer, Chinese, Japanese), each character counts as a
# word.
WORD = re.compile(
    r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
    r"|\w+?(?=[\u0e00-\u0eff\u3040-\u9fff])|\w+"
)


def texts(keys: Iterable[str], similarity: float = SIMILARITY) -> Near:
    """Find near-duplicate texts by MinHash and banding, verified by the exact Jaccard index of shingles.

    If many texts are alike (a filled-in template), not all pairs are returned: each text is compared with the
    first `MEMBERS` of every band that it shares, which is enough to join it to them (`chains`). A pair
    depends only on what comes before the later of the two.

    Args:
        keys: The texts, in row order; equal ones count once.
        similarity: The least Jaccard index of a pair, in (0, 1].

    Returns:
        Text -> near text -> Jaccard index; the same for the same texts on any machine and in any process.
    """
    names = list(dict.fromkeys(keys))
    pairs = _candidates(_signatures(names), similarity)
    known, joined = lru_cache(maxsize=CHUNK)(shingles), Groups(len(names))
    found: Near = {}
    earlier: Counter[int] = Counter()
    for late, early in pairs.tolist():
        if earlier[late] >= MEMBERS and joined.root(late) == joined.root(early):
            continue
        if (jaccard := _jaccard(known(names[late]), known(names[early]))) >= similarity:
            joined.join(late, early)
            earlier[late] += 1
            found.setdefault(names[late], {})[names[early]] = jaccard
            found.setdefault(names[early], {})[names[late]] = jaccard
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}


def _signatures(names: list[str]) -> NDArray[np.uint32]:
    """Return the MinHash of each text, (texts, PERMUTATIONS)."""
    from rensa import RMinHash

    found = np.empty((len(names), PERMUTATIONS), np.uint32)
    for start in range(0, len(names), CHUNK):
        some = [sorted(shingles(name)) for name in names[start : start + CHUNK]]
        found[start : start + len(some)] = RMinHash.digests_from_token_sets(some, PERMUTATIONS, SEED)
    return found


def _candidates(signatures: NDArray[np.uint32], similarity: float) -> NDArray[np.int64]:
    """Pair each text with the first `MEMBERS` that share a band with it.

    Returns:
        Sorted pairs of indices, the later one first, (pairs, 2).
    """
    count, width = len(signatures), PERMUTATIONS // BANDS
    pairs = np.empty(0, np.int64)
    for start in range(0, PERMUTATIONS, width):
        _, bands = np.unique(signatures[:, start : start + width], axis=0, return_inverse=True)
        late, early = _first_members(bands.reshape(-1))
        pairs = np.union1d(pairs, late * count + early)
    # The share of equal hashes estimates the Jaccard index with a standard deviation below 0.045: near pairs
    # exceed this bound.
    least, likely = (similarity - 5 * 0.5 / PERMUTATIONS**0.5) * PERMUTATIONS, np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), CHUNK):
        late, early = np.divmod(pairs[start : start + CHUNK], count)
        likely[start : start + CHUNK] = (signatures[late] == signatures[early]).sum(axis=1) >= least
    return np.stack(np.divmod(pairs[likely], max(count, 1)), axis=1)


def _first_members(buckets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair each place with the first `MEMBERS` earlier ones in its bucket: later places, earlier places."""
    order = np.argsort(buckets, kind="stable")
    starts = np.searchsorted(buckets[order], buckets[order])  # where the bucket of each begins
    rank = np.arange(len(order)) - starts
    late, early = [], []
    for number in range(MEMBERS):
        places = np.nonzero(rank > number)[0]
        late.append(order[places])
        early.append(order[starts[places] + number])
    return np.concatenate(late), np.concatenate(early)


def shingles(text: str) -> frozenset[str]:
    """Return the runs of `SHINGLE_WORDS` words, ignoring case and punctuation; a shorter text is one run."""
    words = WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(words) < SHINGLE_WORDS:
        return frozenset([" ".join(words) or text])
    return frozenset(
        " ".join(words[place : place + SHINGLE_WORDS]) for place in range(len(words) - SHINGLE_WORDS + 1)
    )


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Join paired items, directly or through others (union-find).

    Args:
        count: The number of items, which are numbered from 0.
        pairs: Pairs of item numbers.

    Returns:
        The smallest number in the group of each item.
    """
    joined = Groups(count)
    for pair in pairs:
        joined.join(*pair)
    return [joined.root(number) for number in range(count)]


class Groups:
    """Union-find over numbers from 0; the root of a group is its smallest number."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, number: int) -> int:
        """Return the smallest number in the group of `number`."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    def join(self, one: int, other: int) -> None:
        """Merge the groups of the two numbers."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low


def chains(near: Near) -> dict[str, str]:
    """Map each text of a group with missing pairs (see `texts`) to the first text of its group."""
    names = list(near)
    place = {name: number for number, name in enumerate(names)}
    roots = groups(
        len(names), ((place[name], place[other]) for name, others in near.items() for other in others)
    )
    sizes = Counter(roots)
    return {name: names[root] for name, root in zip(names, roots, strict=True) if sizes[root] > MEMBERS}


def links(keys: Iterable[str], near: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[int, int]]:
    """Yield pairs of places in `keys`, the later last, with equal or near keys: enough to join each group."""
    first: dict[str, int] = {}
    for place, key in enumerate(keys):
        for other in (key, *near.get(key, ())):
            if other in first:
                yield first[other], place
        first.setdefault(key, place)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
