"""Words: how a text is cut into the units to which token labels belong, and which tokens stand for them.

Input: a text, and the tokens of a tokenizer with their characters -> words as (start, end) in characters, and
places of words in the windows that a model reads. Served models carry this module.
"""

import bisect
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Cut = Literal["space", "pattern"]
Span = tuple[int, int]

# `space`: what lies between white space, as in texts that were cut into words before (joined by one space
# each). `pattern`: letters, digits, underscores and the marks that belong to them (`word`), and every other
# visible character for itself.
PATTERNS = {"space": re.compile(r"\S+"), "pattern": re.compile(r"\w+|[^\w\s]")}


def cut(text: str, how: Cut) -> list[Span]:
    """Return the words of a text as (start, end) in characters."""
    if how == "pattern" and not text.isascii():
        # Combining marks (vowel signs of Indic scripts, accents) are not letters to `re`.
        text = "".join("a" if unicodedata.category(one)[0] == "M" else one for one in text)
    return [match.span() for match in PATTERNS[how].finditer(text)]


def covering(words: Sequence[Span], start: int, end: int) -> Span:
    """Return which words have a character from `start` to `end`: the first of them, and the end.

    Both are the same if none has.
    """
    first = bisect.bisect_right(words, start, key=lambda word: word[1])
    return first, max(first, bisect.bisect_left(words, end, key=lambda word: word[0]))


def tokens_of(words: Sequence[Span], offsets: Sequence[Span]) -> NDArray[np.int64]:
    """Return the first token of each word, (words,); -1 if no token has a character of it.

    Args:
        words: (start, end) of each word, in order.
        offsets: (start, end) of each of the text's own tokens, in order; special tokens are left out.
    """
    if not words or not offsets:
        return np.full(len(words), -1, np.int64)
    starts, ends = np.asarray(words, np.int64).T
    firsts, lasts = np.asarray(offsets, np.int64).T
    found = np.searchsorted(np.maximum.accumulate(lasts), starts, side="right")  # the first that ends later
    inside = found < len(offsets)
    inside &= firsts[np.minimum(found, len(offsets) - 1)] < ends
    return np.where(inside, found, -1)


def places_of(
    tokens: NDArray[np.int64], windows: Sequence[Sequence[Span]], length: int, before: int, special: int
) -> NDArray[np.int64]:
    """Return where tokens of a document are read, in its concatenated windows, (tokens,); -1: nowhere.

    A token in several windows is read where it has most context: where the smaller of the numbers of tokens
    to its left and to its right is largest (as BERT reads SQuAD: Devlin et al. 2019), the first of equals.

    Args:
        tokens: indices of the document's own tokens, or -1.
        windows: the parts of the document that each window reads, see `document_windows.windows`.
        length: the number of the document's own tokens.
        before: special tokens before those of a window.
        special: special tokens around those of a window.
    """
    place, context = np.full(length + 1, -1, np.int64), np.full(length + 1, -1, np.int64)
    begin = 0
    for parts in windows:
        own = np.concatenate([np.arange(start, end) for start, end in parts])
        around = np.minimum(np.arange(len(own)), np.arange(len(own))[::-1])
        better = around > context[own]
        context[own[better]] = around[better]
        place[own[better]] = begin + before + np.flatnonzero(better)
        begin += len(own) + special
    return place[tokens]  # the last element, -1, stands for no token
