"""Which words of a text a model reads, and in which of its tokens.

Inputs: a text, or a pair of texts, and the model's tokenizer -> its words, and the word of each token of each
window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from baton.contracts import text_pairs
from baton.contracts.input_spec import TextInput
from baton.texts import document_windows, pair_windows, words

NOTHING = -1  # in place of a word: of a special token, or of one that belongs to no word


@dataclass(frozen=True)
class Places:
    """The words of one row."""

    words: Sequence[str]  # (words)
    before: Sequence[str]  # (words): what lies between each word and the one before it
    windows: Sequence[NDArray[np.int64]]  # of each window, the word of each token, or `NOTHING`

    @property
    def read(self) -> NDArray[np.int64]:
        """The words of which a window has a token, in order."""
        found = np.unique(np.concatenate(self.windows))
        return np.asarray(found[found != NOTHING])

    def sums(self, windows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the sum over each word's tokens of all windows, (words,); NaN for words that are not read.

        `windows` are numbers of the tokens of each window.
        """
        own, values = np.concatenate(self.windows), np.concatenate(windows)
        found = np.full(len(self.words), np.nan)
        found[self.read] = 0.0
        np.add.at(found, own[own != NOTHING], values[own != NOTHING])
        return found


def places(tokenizer: Tokenizer, reads: TextInput, rows: Sequence[Sequence[str]]) -> list[Places]:
    """Return the words of each row, which is a text or a pair of texts.

    `tokenizer` is from `document_windows.open_tokenizer`.
    """
    whole = pair_windows.untruncated if reads.pair else document_windows.untruncated
    found = []
    with whole(tokenizer) as frame:
        for texts in rows:
            spoken, before, owners = _words(tokenizer, texts)
            # The tokens are numbered below 0, so that special ones stay apart in the windows.
            numbered = [[-1 - place for place in own] for own in _ranges([len(own) for own in owners])]
            if isinstance(frame, pair_windows.PairFrame):
                windows = frame.read(numbered[0], numbered[1], reads.truncation).windows
            else:
                windows, _ = frame.read(numbered[0], reads.truncation)
            flat = np.concatenate([*owners, [NOTHING]]).astype(np.int64)  # the last: of special tokens
            made = [np.array(window, np.int64) for window in windows]
            found.append(
                Places(spoken, before, [flat[np.where(own < 0, -1 - own, len(flat) - 1)] for own in made])
            )
    return found


def _words(
    tokenizer: Tokenizer, texts: Sequence[str]
) -> tuple[list[str], list[str], list[NDArray[np.int64]]]:
    """Return the words of all texts, what lies before each, and for each text the word of each token."""
    spoken, before, owners = list[str](), list[str](), []
    for number, text in enumerate(texts):
        spans, end = words.cut(text, "pattern"), 0
        tokens = tokenizer.encode(text, add_special_tokens=False).offsets
        own = [words.covering(spans, *token) for token in tokens]
        owners.append(
            np.array([len(spoken) + first if last > first else NOTHING for first, last in own], np.int64)
        )
        for place, (start, stop) in enumerate(spans):
            between = text_pairs.BETWEEN if number and not place else ""
            before.append(between + text[end:start])
            spoken.append(text[start:stop])
            end = stop
    return spoken, before, owners


def _ranges(lengths: Sequence[int]) -> list[range]:
    """Return consecutive ranges of these lengths, from 0 on."""
    ends = np.cumsum(lengths).tolist()
    return [range(end - length, end) for length, end in zip(lengths, ends, strict=True)]
