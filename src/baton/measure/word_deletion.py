"""Texts without some of their words: what becomes of a model's answer?

Inputs: the arrays of a split, a row, and which of its words each copy keeps -> arrays of these copies. A word
goes with all its tokens, in every window; windows keep their special tokens and are not filled up.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baton.arrays.text_arrays import TextArrays
from baton.batches.augmentation.random_streams import keys
from baton.measure.word_places import Places

DRAWS = 5  # of random words


def windows(arrays: TextArrays, row: int) -> list[slice]:
    """Return where the tokens of each window of a row are."""
    documents = arrays.documents
    own = [row] if documents is None else range(documents[row], documents[row + 1])
    return [slice(arrays.offsets[place], arrays.offsets[place + 1]) for place in own]


def random_words(read: NDArray[np.int64], count: int, id_: str) -> list[NDArray[np.int64]]:
    """Return `DRAWS` times so many of the words that are read; the row's id is the seed."""
    generator = np.random.default_rng(keys([id_])[0])
    return [generator.choice(read, count, replace=False) for _ in range(DRAWS)]


def copies(
    arrays: TextArrays, rows: Sequence[int], places: Sequence[Places], removed: Sequence[NDArray[np.int64]]
) -> TextArrays:
    """Return copies of documents without some words.

    Args:
        arrays: those of the split.
        rows: the document of each copy.
        places: its words.
        removed: the words that it lacks.
    """
    tokens, types, counts = [], [], []
    for row, own, gone in zip(rows, places, removed, strict=True):
        parts = windows(arrays, row)
        counts.append(len(parts))
        for part, words in zip(parts, own.windows, strict=True):
            kept = ~np.isin(words, gone)
            tokens.append(arrays.tokens[part][kept])
            if arrays.types is not None:
                types.append(arrays.types[part][kept])
    return TextArrays(
        np.concatenate(tokens),
        np.concatenate([[0], np.cumsum([len(window) for window in tokens])]),
        arrays.targets.part(np.array(rows, np.int64)),
        None if arrays.documents is None else np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate(types) if types else None,
    )
