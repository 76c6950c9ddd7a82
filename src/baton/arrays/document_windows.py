"""What of a document a model reads: its parts, and the special tokens around them.

A document of more tokens than there is room for is cut (`head`, `tail`, `head_tail`: Sun et al. 2019, "How to Fine-Tune BERT for Text
Classification?", section 5.3.1) or read in several windows. `serve/pyfunc.py` cuts in the same way.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from baton import params
from baton.errors import ModelError

HEAD = params.HeadTruncation(kind="head")
Parts = list[tuple[int, int]]  # (start, end) of stretches of a document, one behind the other


def windows(length: int, room: int, how: params.Truncation) -> list[Parts]:
    """What is read of a document of `length` tokens where `room` tokens can be read at once: the parts of each of its windows.

    Windows are all (about) alike in length, share `overlap` tokens with the next and cover the document from its first token to its last.
    Where it has more tokens than `most` windows can hold, they are full and lie evenly over it.
    """
    if length <= room:
        return [[(0, length)]]
    match how:
        case params.HeadTruncation():
            return [[(0, room)]]
        case params.TailTruncation():
            return [[(length - room, length)]]
        case params.HeadTailTruncation(head=share):
            first = round(room * share)
            return [[(0, first), (length - room + first, length)]]
        case params.WindowsTruncation(most=most, overlap=overlap):
            needed = math.ceil((length - overlap) / (room - overlap))
            if needed > most:
                starts = [(length - room) * place // max(1, most - 1) for place in range(most)]
                return [[(start, start + room)] for start in starts]
            edges = [(length - overlap) * place // needed for place in range(needed + 1)]
            return [[(start, end + overlap)] for start, end in itertools.pairwise(edges)]


def covered(found: list[Parts]) -> int:
    """Tokens of the document that are read at least once."""
    end = count = 0
    for start, stop in (part for parts in found for part in parts):
        count += max(0, stop - max(start, end))
        end = max(end, stop)
    return count


def costs(lengths: NDArray[np.int64], room: int, special: int, how: params.Truncation) -> NDArray[np.int64]:
    """Tokens that are computed for documents of `lengths` own tokens, special ones included, (documents,)."""
    if not isinstance(how, params.WindowsTruncation):
        return np.minimum(lengths, room) + special
    counts = np.clip(-(-(lengths - how.overlap) // (room - how.overlap)), 1, how.most)  # (documents,)
    found: NDArray[np.int64] = (
        np.minimum(lengths + how.overlap * (counts - 1), room * counts) + special * counts
    )
    return found


@dataclass(frozen=True)
class Frame:
    """What the model reads around a document's own tokens, and how many of these (`room`) it reads at once."""

    before: list[int]
    after: list[int]
    room: int

    @property
    def special(self) -> int:
        """Tokens around a window."""
        return len(self.before) + len(self.after)

    def read(self, ids: list[int], how: params.Truncation) -> tuple[list[list[int]], int]:
        """A document's own tokens -> those of each of its windows, special ones around them, and how many own ones were left out."""
        if len(ids) <= self.room:
            return [[*self.before, *ids, *self.after]], 0
        found = windows(len(ids), self.room, how)
        own = ([ids[start:end] for start, end in parts] for parts in found)
        made = [list(itertools.chain(self.before, *parts, self.after)) for parts in own]
        return made, len(ids) - covered(found)


@contextlib.contextmanager
def untruncated(tokenizer: Tokenizer) -> Iterator[Frame]:
    """Let the tokenizer return whole documents without special tokens, and yield what it would have added and how much it would have kept.

    Cutting here is cheaper: the library copies what it cuts off, and the length before truncation would have to be counted from the copies.

    Raises:
        ModelError: it adds special tokens inside a document.
    """
    truncation = tokenizer.truncation
    assert truncation is not None, "open_tokenizer sets it"
    probe, special = tokenizer.encode("a"), tokenizer.num_special_tokens_to_add(is_pair=False)
    own = [index for index, added in enumerate(probe.special_tokens_mask) if not added] or [0]
    frame = Frame(probe.ids[: own[0]], probe.ids[own[-1] + 1 :], truncation["max_length"] - special)
    if frame.special != special:
        problem, hint = (
            "the tokenizer adds special tokens inside a document",
            "use a base model whose tokenizer adds them around it only",
        )
        raise ModelError(problem, got=probe.tokens, expected="the text in one piece", hint=hint)
    tokenizer.no_truncation()
    try:
        yield frame
    finally:
        tokenizer.enable_truncation(**truncation)
