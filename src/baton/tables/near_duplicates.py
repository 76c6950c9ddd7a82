"""Find texts that are almost the same, and group what must stay together because of it.

`Near` maps a key (`text_key.key` of a text, the digest of an image's pixels) to its near-duplicate keys and
their similarity, in both directions; a key without near-duplicates is absent. `preprocess` reports such rows,
keeps them in one split, and records for `evaluate` which test rows have one in train.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from baton.tables import near_candidates
from baton.tables.near_candidates import MEMBERS

T = TypeVar("T")

Near = Mapping[Any, Mapping[Any, float]]  # names are texts, or the numbers of `text_numbers`

# Texts are near-duplicates if they share this part of their runs of three words (shingles; Broder 1997, "On
# the resemblance and containment of documents"): one word in twenty differs, or any number of punctuation
# marks.
SHINGLE_WORDS = 3
SIMILARITY = 0.7
CHUNK = 4096  # texts hashed at a time
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
    found = {names[one]: others for one, others in of_places(names, None, similarity).items()}
    return {name: {names[other]: share for other, share in found[name].items()} for name in sorted(found)}


def of_places(names: Sequence[str], folder: Path | None, similarity: float = SIMILARITY) -> Near:
    """Find near-duplicates as `texts` does: place in `names` -> near place -> Jaccard index.

    In memory are a few bytes for each text, and what is found; hashes, 512 bytes a text, are in temporary
    files.

    Args:
        names: Different texts, in row order; read from start to end, then those of likely pairs.
        folder: Where the temporary files are made; None: where the system has them.
        similarity: The least Jaccard index of a pair, in (0, 1].

    Returns:
        The near places in the order of their texts.
    """
    with near_candidates.Signatures(folder) as signatures:
        for some in _batched(names, CHUNK):
            signatures.append([sorted(shingles(name)) for name in some])
        pairs = signatures.candidates(similarity)
    known, joined = lru_cache(maxsize=CHUNK)(lambda place: shingles(names[place])), Groups()
    found: dict[int, dict[int, float]] = {}
    earlier: Counter[int] = Counter()
    for late, early in pairs:
        if earlier[late] >= MEMBERS and joined.root(late) == joined.root(early):
            continue
        if (jaccard := _jaccard(known(late), known(early))) >= similarity:
            joined.join(late, early)
            earlier[late] += 1
            found.setdefault(late, {})[early] = jaccard
            found.setdefault(early, {})[late] = jaccard
    return {
        one: dict(sorted(others.items(), key=lambda pair: names[pair[0]])) if len(others) > 1 else others
        for one, others in found.items()
    }


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


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
    joined = Groups()
    for pair in pairs:
        joined.join(*pair)
    return [joined.root(number) for number in range(count)]


class Groups:
    """Union-find over numbers from 0; the root of a group is its smallest number.

    Numbers that were never joined take no memory.
    """

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def root(self, number: int) -> int:
        """Return the smallest number in the group of `number`."""
        parent = self._parent
        while (above := parent.get(number, number)) != number:
            if (higher := parent.get(above, above)) != above:
                parent[number] = higher
            number = higher
        return number

    def join(self, one: int, other: int) -> None:
        """Merge the groups of the two numbers."""
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._parent[high] = low


def chains(near: Near) -> dict[Any, Any]:
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
