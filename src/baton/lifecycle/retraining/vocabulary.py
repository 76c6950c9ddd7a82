"""The words of texts as `drift` compares them: a profile's vocabulary, and the share of words that it lacks.

Input: texts -> words, without case and punctuation.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from baton.lifecycle import test_table
from baton.texts import words

WORDS = 50_000  # of a profile's vocabulary: the most frequent ones
# One in HELD_OUT texts is kept out of the vocabulary; new texts are compared with the share of words it lacks
# of them.
HELD_OUT = 4


def profile(texts: Sequence[str]) -> dict[str, Any]:
    """Return the words of a profile, and the counts of unknown words in held-out texts.

    The counts map the share of a text's words that the vocabulary lacks, in hundredths, to the number of
    texts kept out of the vocabulary. New texts of the same source relate to the vocabulary as those do, so
    both are compared as two samples, with no estimate in between.
    """
    digests = test_table.digests(texts)
    order = sorted(range(len(texts)), key=lambda place: digests[place])
    left_out = set(order[: max(1, len(texts) // HELD_OUT)])
    counts = Counter(
        word for place, text in enumerate(texts) if place not in left_out for word in set(words_of(text))
    )
    vocabulary = [word for word, _ in counts.most_common(WORDS)]
    lacking = unknown((texts[place] for place in order[: len(left_out)]), vocabulary)
    return {"vocabulary": vocabulary, "unknown": [lacking[place / 100] for place in range(101)]}


def words_of(text: str) -> list[str]:
    """Return the words of a text without punctuation; of scripts without spaces, the letters."""
    folded = text.casefold()
    found = (folded[start:end] for start, end in words.cut(folded, "pattern"))
    return [word for word in found if word[0].isalnum() or word[0] == "_"]


def unknown(texts: Iterable[str], vocabulary: Iterable[str]) -> Counter[float]:
    """Count texts by the share of their words that the vocabulary lacks, in hundredths."""
    known = set(vocabulary)
    found = (words_of(text) for text in texts)
    return Counter(
        round(100 * sum(word not in known for word in some) / max(1, len(some))) / 100 for some in found
    )
