"""The parts of a pair of texts that a model reads, and the special tokens around and between them.

These are those of the tokenizer's own template for pairs: `[CLS] a [SEP] b [SEP]` of BERT, with token types
0 and 1 (Devlin et al. 2019, section 3), or `<s> a </s></s> b </s>` of RoBERTa. If a pair is too long, the
longer text is cut first, as the tokenizers library does (`longest_first`).
"""

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from baton.contracts.input_spec import Head, Truncation, Windows
from baton.errors import ModelError
from baton.texts import document_windows, words


class Special(NamedTuple):
    """Special tokens next to each other: their ids and token types."""

    ids: list[int]
    types: list[int]


class Read(NamedTuple):
    """What a model reads of a pair."""

    windows: list[list[int]]  # the ids of each window
    types: list[list[int]]  # the token types of the same tokens
    left_out: int  # how many of the pair's own tokens no window has


@dataclass(frozen=True)
class PairFrame:
    """The special tokens of a pair, of whose own tokens the model reads `room` at once."""

    before: Special
    between: Special
    after: Special
    types: tuple[int, int]  # of each text's own tokens
    room: int

    @property
    def typed(self) -> bool:
        """Whether any token has another type than 0."""
        return any(chain(self.before.types, self.between.types, self.after.types, self.types))

    @property
    def special(self) -> int:
        """The number of special tokens in a window."""
        return len(self.before.ids) + len(self.between.ids) + len(self.after.ids)

    def read(self, first: list[int], second: list[int], how: Truncation) -> Read:
        """Return the windows of a pair, given as the own tokens of both texts.

        `how` applies to each text that is cut. With `Windows`, each window has the first text, of which the
        first tokens are read, and a part of the second.
        """
        shares = kept(len(first), len(second), self.room)
        once = Head() if isinstance(how, Windows) else how
        (parts,) = document_windows.windows(len(first), shares[0], once)
        own = list(chain.from_iterable(first[start:end] for start, end in parts))
        found = document_windows.windows(len(second), shares[1], how)
        windows, types = [], []
        for stretches in found:
            other = list(chain.from_iterable(second[start:end] for start, end in stretches))
            windows.append([*self.before.ids, *own, *self.between.ids, *other, *self.after.ids])
            types.append(
                [
                    *self.before.types,
                    *[self.types[0]] * len(own),
                    *self.between.types,
                    *[self.types[1]] * len(other),
                    *self.after.types,
                ]
            )
        left_out = len(first) - len(own) + len(second) - document_windows.covered(found)
        return Read(windows, types, left_out)

    def places(
        self, first: int, second: int, tokens: NDArray[np.int64], how: Truncation
    ) -> NDArray[np.int64]:
        """Return where tokens of the second text are read, in the concatenated windows of `read`, (tokens,).

        A token in several windows is read where it has most context, see `words.places_of`; -1: nowhere.

        Args:
            first: the number of the first text's own tokens.
            second: that of the second's.
            tokens: indices of the second text's own tokens, or -1.
            how: as for `read`.
        """
        own, room = kept(first, second, self.room)
        before = len(self.before.ids) + own + len(self.between.ids)
        windows = document_windows.windows(second, room, how)
        return words.places_of(tokens, windows, second, before, before + len(self.after.ids))

    def sides(self, window: list[int]) -> tuple[list[int], list[int]]:
        """Return the own tokens of both texts in a window of `read`."""
        own, gap = window[len(self.before.ids) : len(window) - len(self.after.ids)], self.between.ids
        place = next(start for start in range(len(own)) if own[start : start + len(gap)] == gap)
        return own[:place], own[place + len(gap) :]


def kept(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of each text are read at once, of texts with this many, in `room` tokens.

    The longer text is cut until both are equally long, then both are; an odd token goes to the longer one, or
    to the second. It is what the tokenizers library does (`longest_first`).
    """
    if first > second:
        return min(first, room - min(second, room // 2)), min(second, room // 2)
    return min(first, room // 2), min(second, room - min(first, room // 2))


def costs(
    first: NDArray[np.int64], second: NDArray[np.int64], room: int, special: int, how: Truncation
) -> NDArray[np.int64]:
    """Return the tokens computed for pairs of texts with these numbers of tokens, (pairs,)."""
    half = room // 2
    own = np.where(
        first > second, np.minimum(first, room - np.minimum(second, half)), np.minimum(first, half)
    )
    others = np.where(
        first > second, np.minimum(second, half), np.minimum(second, room - np.minimum(first, half))
    )
    if isinstance(how, Windows):
        # Where the second text is read whole, there is one window, whatever room it leaves.
        cut = others < second
        read = document_windows.costs(second, np.where(cut, others, room), special + own, how)
        return np.where(cut, read, own + others + special)
    return np.asarray(own + others + special)


def pair_frame(tokenizer: Tokenizer) -> PairFrame:
    """Return the special tokens that a tokenizer of `open_tokenizer` adds to a pair, and the room they leave.

    Raises:
        ModelError: If it has no template for pairs, or no room for them.
    """
    assert tokenizer.truncation is not None, "open_tokenizer sets it"
    most = tokenizer.truncation["max_length"]
    tokenizer.no_truncation()
    probe = tokenizer.encode("a", "a")
    tokenizer.enable_truncation(most)
    sides = [
        [
            place
            for place, (side, added) in enumerate(
                zip(probe.sequence_ids, probe.special_tokens_mask, strict=True)
            )
            if side == number and not added
        ]
        for number in (0, 1)
    ]
    whole = [list(range(own[0], own[-1] + 1)) == own for own in sides if own]
    if whole != [True, True] or sides[0][-1] >= sides[1][0] - 1:
        raise ModelError(
            "the tokenizer has no template for pairs of texts",
            got=" ".join(probe.tokens),
            expected="the first text, special tokens, the second text",
            hint="use a base model such as BERT or RoBERTa, whose tokenizer.json has a template for pairs, "
            "or set preprocess.text_pair_column to null and name both columns in text_column",
        )
    (start, end), (other, last) = ((own[0], own[-1] + 1) for own in sides)
    spans = [(0, start), (end, other), (last, len(probe.ids))]
    before, between, after = (Special(probe.ids[a:b], probe.type_ids[a:b]) for a, b in spans)
    room = most - tokenizer.num_special_tokens_to_add(is_pair=True)
    types = probe.type_ids[start], probe.type_ids[other]
    return PairFrame(before, between, after, types, room)


def takes_types(encoder: Any) -> bool:
    """Return whether a transformers encoder distinguishes the token types 0 and 1."""
    known = getattr(encoder.config, "type_vocab_size", 0) or 0
    return known > 1 and "token_type_ids" in inspect.signature(encoder.forward).parameters


@contextlib.contextmanager
def untruncated(tokenizer: Tokenizer) -> Iterator[PairFrame]:
    """Let the tokenizer return whole texts without special tokens; see `document_windows.untruncated`.

    Raises:
        ModelError: If it has no template for pairs.
    """
    found = pair_frame(tokenizer)
    with document_windows.untruncated(tokenizer):
        yield found
