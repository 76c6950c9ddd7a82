"""The most probable valid sequence of tags for each row, and the entities in it.

Tags are numbered as in `contracts.task_spec.Tokens`: 0 is O, 2t + 1 is B of type t and 2t + 2 is I of type t.
A sequence is valid if I follows only B or I of its type (IOB2).

Inputs: logits of words (words, tags) and the rows to which words belong -> tags (words,); tags -> entities.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.ragged import Ragged

Integers = NDArray[np.int64]
NOT_READ = -1e9  # the logit of every tag but O
AT_ONCE = 2_000_000  # logits in memory: 16 MB


def decoded(logits: Ragged) -> Integers:
    """Return the valid tags with the largest sum of logits in each row, (words,); a word not read is O.

    The logits of a word that no window reads are all 0.

    Viterbi's algorithm, 1967. Softmax and a temperature would change every sequence's sum alike, so the
    result does not depend on them. Rows are decoded together, in blocks of similar length.
    """
    result = np.zeros(len(logits.values), np.int64)
    counts, width = logits.counts, logits.values.shape[1]
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    while len(order):
        size = max(1, AT_ONCE // (int(counts[order[0]]) * width))
        rows, order = order[:size], order[size:]
        places = logits.offsets[rows][:, None] + np.arange(counts[rows[0]])  # (rows, longest)
        inside = np.arange(counts[rows[0]]) < counts[rows][:, None]
        own = logits.values[np.where(inside, places, 0)].astype(np.float64)  # (rows, longest, tags)
        own[~own.any(axis=2), 1:] = NOT_READ
        result[places[inside]] = _viterbi(own, counts[rows])[inside]
    return result


def _viterbi(logits: NDArray[np.float64], lengths: Integers) -> Integers:
    """Return tags (rows, longest) for rows sorted by length, the longest first; the first of equals wins."""
    rows, longest, width = logits.shape
    before = np.zeros((rows, longest, width), np.int64)  # the best tag before each tag
    best = logits[:, 0].copy()  # the best sum up to here that ends in each tag
    best[:, 2::2] = -np.inf
    every = np.arange(rows)
    for place in range(1, longest):
        going = int((lengths > place).sum())
        old = best[:going]
        top = old.argmax(axis=1)  # O and B may follow any tag
        before[:going, place] = top[:, None]
        sums = np.repeat(old[every[:going], top][:, None], width, axis=1)
        stays = old[:, 2::2] > old[:, 1::2]  # I follows I rather than B of its type
        before[:going, place, 2::2] = np.arange(1, width, 2) + stays
        sums[:, 2::2] = np.maximum(old[:, 1::2], old[:, 2::2])
        best[:going] = sums + logits[:going, place]
    tags = np.zeros((rows, longest), np.int64)
    tags[every, lengths - 1] = best.argmax(axis=1)
    for place in range(longest - 1, 0, -1):
        left = np.flatnonzero(lengths > place)
        tags[left, place - 1] = before[left, place, tags[left, place]]
    return tags


def entities(tags: Integers, offsets: Integers) -> Integers:
    """Return the entities of valid or other sequences of tags, (entities, 4): row, first word, end, type.

    Words are counted through all rows. As seqeval does by default, and conlleval (Tjong Kim Sang & Buchholz
    2000), I after O or after another type begins an entity.
    """
    if not len(tags):
        return np.zeros((0, 4), np.int64)
    kind = np.where(tags > 0, (tags - 1) // 2, -1)
    first = np.zeros(len(tags), bool)
    first[offsets[:-1][np.diff(offsets) > 0]] = True  # of a row
    earlier = np.concatenate([[-1], kind[:-1]])
    begins = (kind >= 0) & ((tags % 2 == 1) | first | (earlier != kind))
    starts = np.flatnonzero(begins)
    stops = np.flatnonzero(begins | (kind < 0) | first)  # the words at which an entity before them ends
    ends = np.append(stops, len(tags))[np.searchsorted(stops, starts, side="right")]
    rows = np.searchsorted(offsets, starts, side="right") - 1
    return np.stack([rows, starts, ends, kind[starts]], axis=1)


def matched(actual: Integers, predicted: Integers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which actual entities were predicted, and which predicted ones are actual: same words and type.

    Both are those of `entities` for the same rows.
    """

    def keys(found: Integers) -> Any:
        return np.ascontiguousarray(found).view([("", np.int64)] * 4).ravel()

    own, other = keys(actual), keys(predicted)
    return np.isin(own, other), np.isin(other, own)
