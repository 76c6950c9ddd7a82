"""Near-duplicates: which texts are almost the same, and what belongs together because of it.

`Near` maps a key (`checks.key` of a text, the digest of a picture's pixels) to the keys that are almost the same and how much, both ways;
a key that is like no other is absent. `preprocess` names such rows, keeps them in one split, and tells `evaluate` which test rows have
one in train.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice

Near = dict[str, dict[str, float]]

# Texts are near-duplicates when of their runs of three words (Broder 1997, "On the resemblance and containment of documents": shingles)
# this share is common to both: one word in twenty is another, or any number of punctuation marks.
SHINGLE_WORDS = 3
SIMILARITY = 0.7
# A pair of that similarity shares a band with probability 1 - (1 - 0.7^4)^32 = 0.9998; each candidate is then compared exactly.
PERMUTATIONS, BANDS, SEED = 128, 32, 0
CHUNK = 4096  # texts hashed at a time
# Where a script puts no spaces between words (Thai, Lao, Khmer, Chinese, Japanese), each character counts as one.
WORD = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]|\w+?(?=[\u0e00-\u0eff\u3040-\u9fff])|\w+")


def texts(keys: Iterable[str], similarity: float = SIMILARITY) -> Near:
    """Find the near-duplicates among texts, by MinHash and banding, verified by the exact Jaccard index of their shingles.

    Args:
        keys: the texts; equal ones count once.
        similarity: least Jaccard index of a pair, in (0, 1].

    Returns:
        text -> near text -> Jaccard index. The same for the same texts in any order, machine and process.
    """
    from rensa import RMinHash, RMinHashLSH

    names = sorted(set(keys))
    index = RMinHashLSH(threshold=similarity, num_perm=PERMUTATIONS, num_bands=BANDS)
    known = lru_cache(maxsize=CHUNK)(shingles)
    found: Near = {}
    for start, some in _chunks(names, CHUNK):
        hashes = RMinHash.from_token_sets([sorted(shingles(name)) for name in some], num_perm=PERMUTATIONS, seed=SEED)
        index.insert_many(hashes, start_key=start)
        for place, candidates in enumerate(index.query_all(hashes), start=start):
            for other in candidates:
                if other < place and (jaccard := _jaccard(known(names[place]), known(names[other]))) >= similarity:
                    found.setdefault(names[place], {})[names[other]] = jaccard
                    found.setdefault(names[other], {})[names[place]] = jaccard
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}


def shingles(text: str) -> frozenset[str]:
    """Runs of `SHINGLE_WORDS` words, whatever their case and the punctuation around them; a shorter text is one, as a whole."""
    words = WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(words) < SHINGLE_WORDS:
        return frozenset([" ".join(words) or text])
    return frozenset(" ".join(words[place : place + SHINGLE_WORDS]) for place in range(len(words) - SHINGLE_WORDS + 1))


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Join what is paired, directly or through others (union-find).

    Args:
        count: of things, which are numbered from 0.
        pairs: of their numbers.

    Returns:
        for each thing the smallest number of its group.
    """
    parent = list(range(count))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for pair in pairs:
        low, high = sorted(map(root, pair))
        parent[high] = low
    return [root(number) for number in range(count)]


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


def _chunks(names: list[str], size: int) -> Iterator[tuple[int, list[str]]]:
    rest = iter(names)
    for start in range(0, len(names), size):
        yield start, list(islice(rest, size))
