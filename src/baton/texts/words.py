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

# Letters of scripts that are written without spaces between words: Han, kana, and those of South-East Asia in
# which lines are broken by a dictionary (Unicode UAX 14, class SA: Thai, Lao, Myanmar, Khmer, Tai, Ahom).
UNSPACED = [(0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303C), (0x3041, 0x30FF), (0x31F0, 0x31FF)]
UNSPACED += [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9D), (0x1AFF0, 0x1B16F)]
UNSPACED += [(0x20000, 0x3FFFD), (0x0E01, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17DC), (0x1950, 0x19DF)]
UNSPACED += [(0x1A20, 0x1AAF), (0xA9E0, 0xA9FF), (0xAA60, 0xAADF), (0x11700, 0x1174F)]
# Characters that nobody sees and that are neither marks nor of the category of formats: fillers of Hangul.
FILLERS = {0x115F, 0x1160, 0x3164, 0xFFA0}
ZERO_WIDTH_SPACE = 0x200B
# What stands for a character when words are looked for: a mark, an invisible character, an unspaced letter.
MARK, HIDDEN, ALONE = "\u0301", "\u00ad", "\u4e00"
UNSEEN = rf"{HIDDEN}{MARK}\x00-\x08\x0e-\x1b\x7f"  # no word without others, and no white space
# `space`: what lies between white space, as in texts that were cut into words before (joined by one space
# each). `pattern`: letters, digits and underscores, each letter of `UNSPACED` alone, and every other visible
# character alone. Marks belong to what is before them. Invisible characters are inside of words, but neither
# begin nor end one, and what has no visible character is not a word.
PATTERNS = {
    "space": re.compile(rf"(?<!\S)[{UNSEEN}]*[^\s{UNSEEN}]\S*"),
    "pattern": re.compile(
        rf"{ALONE}(?:{HIDDEN}*{MARK})*"
        rf"|[^\W{ALONE}](?:{HIDDEN}*[^\W{ALONE}]|{HIDDEN}*{MARK})*"
        rf"|[^\w\s{UNSEEN}](?:{HIDDEN}*{MARK})*"
    ),
}


class _StandIns(dict[int, int | str]):
    """What stands for each character, by its code; `str.translate` reads it."""

    def __missing__(self, code: int) -> int | str:
        category = unicodedata.category(chr(code))
        found: int | str = code
        if code == ZERO_WIDTH_SPACE:
            found = " "
        elif category == "Cf" or code in FILLERS or (0x80 <= code < 0xA0 and not chr(code).isspace()):
            found = HIDDEN
        elif category[0] == "M":
            found = MARK
        elif category in ("Lo", "Lm", "Nl") and any(first <= code <= last for first, last in UNSPACED):
            found = ALONE
        self[code] = found
        return found


_STAND_INS = _StandIns()


def cut(text: str, how: Cut) -> list[Span]:
    """Return the words of a text as (start, end) in characters."""
    if not text.isascii():
        text = text.translate(_STAND_INS)
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
