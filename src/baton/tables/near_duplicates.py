"""Near-duplicates: which texts are almost the same, and what belongs together because of it.

`Near` maps a key (`checks.key` of a text, the digest of a picture's pixels) to the keys that are almost the same and how much, both ways;
a key that is like no other is absent. `preprocess` names such rows, keeps them in one split, and tells `evaluate` which test rows have
one in train.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Near = dict[str, dict[str, float]]

# Texts are near-duplicates when of their runs of three words (Broder 1997, "On the resemblance and containment of documents": shingles)
# this share is common to both: one word in twenty is another, or any number of punctuation marks.
SHINGLE_WORDS = 3
SIMILARITY = 0.7
# A pair of that similarity shares a band with probability 1 - (1 - 0.7^4)^32 = 0.9998; each candidate is then compared exactly.
PERMUTATIONS, BANDS, SEED = 128, 32, 0
CHUNK = 4096  # texts hashed at a time
MEMBERS = 8  # that a text is compared with, of those that share a band; all pairs are given of so many that are alike
# Where a script puts no spaces between words (Thai, Lao, Khmer, Chinese, Japanese), each character counts as one.
WORD = re.compile(
    r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]|\w+?(?=[\u0e00-\u0eff\u3040-\u9fff])|\w+"
)


def texts(keys: Iterable[str], similarity: float = SIMILARITY) -> Near:
    """Find the near-duplicates among texts, by MinHash and banding, verified by the exact Jaccard index of their shingles.

    Where many texts are alike (a template, filled in), not all pairs are given: each text is compared with the first `MEMBERS` of every
    band that it shares, which are enough to join it to them (`chains`). A pair depends on what comes before the later of the two only.

    Args:
        keys: the texts, in the order of their rows; equal ones count once.
        similarity: least Jaccard index of a pair, in (0, 1].

    Returns:
        text -> near text -> Jaccard index. The same for the same texts on any machine and process.
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
    """MinHash of each text, (texts, PERMUTATIONS)."""
    from rensa import RMinHash

    found = np.empty((len(names), PERMUTATIONS), np.uint32)
    for start in range(0, len(names), CHUNK):
        some = [sorted(shingles(name)) for name in names[start : start + CHUNK]]
        found[start : start + len(some)] = RMinHash.digests_from_token_sets(some, PERMUTATIONS, SEED)
    return found


def _candidates(signatures: NDArray[np.uint32], similarity: float) -> NDArray[np.int64]:
    """Pairs of a text and one of the first `MEMBERS` that share a band with it, the later one first, in order; (pairs, 2)."""
    count, width = len(signatures), PERMUTATIONS // BANDS
    pairs = np.empty(0, np.int64)
    for start in range(0, PERMUTATIONS, width):
        _, bands = np.unique(signatures[:, start : start + width], axis=0, return_inverse=True)
        late, early = _first_members(bands.reshape(-1))
        pairs = np.union1d(pairs, late * count + early)
    # The share of equal hashes estimates the Jaccard index, with a deviation below 0.045: a pair that is near has more than this.
    least, likely = (similarity - 5 * 0.5 / PERMUTATIONS**0.5) * PERMUTATIONS, np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), CHUNK):
        late, early = np.divmod(pairs[start : start + CHUNK], count)
        likely[start : start + CHUNK] = (signatures[late] == signatures[early]).sum(axis=1) >= least
    return np.stack(np.divmod(pairs[likely], max(count, 1)), axis=1)


def _first_members(buckets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair each place with the first `MEMBERS` earlier places of its bucket: later places, earlier ones."""
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
    """Runs of `SHINGLE_WORDS` words, whatever their case and the punctuation around them; a shorter text is one, as a whole."""
    words = WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(words) < SHINGLE_WORDS:
        return frozenset([" ".join(words) or text])
    return frozenset(
        " ".join(words[place : place + SHINGLE_WORDS]) for place in range(len(words) - SHINGLE_WORDS + 1)
    )


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Join what is paired, directly or through others (union-find).

    Args:
        count: of things, which are numbered from 0.
        pairs: of their numbers.

    Returns:
        for each thing the smallest number of its group.
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
        """The smallest number of its group."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    def join(self, one: int, other: int) -> None:
        """Make their groups one."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low


def chains(near: Near) -> dict[str, str]:
    """Of groups in which not all pairs are given (see `texts`): text -> the first of its group."""
    names = list(near)
    place = {name: number for number, name in enumerate(names)}
    roots = groups(
        len(names), ((place[name], place[other]) for name, others in near.items() for other in others)
    )
    sizes = Counter(roots)
    return {name: names[root] for name, root in zip(names, roots, strict=True) if sizes[root] > MEMBERS}


def links(keys: Iterable[str], near: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[int, int]]:
    """Pairs of places in `keys`, the later one last, that have the same key or near ones: enough of them to join what belongs together."""
    first: dict[str, int] = {}
    for place, key in enumerate(keys):
        for other in (key, *near.get(key, ())):
            if other in first:
                yield first[other], place
        first.setdefault(key, place)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
