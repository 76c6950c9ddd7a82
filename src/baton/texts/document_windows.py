"""The parts of a document that a model reads, and the special tokens around them.

A document that is too long is cut (`head`, `tail`, `head_tail`: Sun et al. 2019, "How to Fine-Tune BERT for
Text Classification?", section 5.3.1) or read in several windows.
"""

import contextlib
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, pre_tokenizers

from baton.contracts.input_spec import Head, HeadTail, Tail, Truncation, Windows
from baton.errors import ModelError

Numbers = int | NDArray[np.int64]
Parts = list[tuple[int, int]]  # (start, end) of consecutive stretches of a document


def windows(length: int, room: int, how: Truncation) -> list[Parts]:
    """Return the parts of each window of a document of `length` tokens, if `room` tokens can be read at once.

    Windows have (nearly) equal lengths, share `overlap` tokens with the next one and cover the document from
    its first token to its last. If it has more tokens than `most` windows can hold, the windows are full and
    evenly spaced.
    """
    if length <= room:
        return [[(0, length)]]
    match how:
        case Head():
            return [[(0, room)]]
        case Tail():
            return [[(length - room, length)]]
        case HeadTail(head=head):
            first = round(room * head)
            return [[(0, first), (length - room + first, length)]]
        case Windows(most=most, overlap=overlap):
            needed = math.ceil((length - overlap) / (room - overlap))
            if needed > most:
                starts = [(length - room) * place // max(1, most - 1) for place in range(most)]
                return [[(start, start + room)] for start in starts]
            edges = [(length - overlap) * place // needed for place in range(needed + 1)]
            return [[(start, end + overlap)] for start, end in itertools.pairwise(edges)]


def covered(found: list[Parts]) -> int:
    """Return how many of the document's tokens are read at least once."""
    end = count = 0
    for start, stop in (part for parts in found for part in parts):
        count += max(0, stop - max(start, end))
        end = max(end, stop)
    return count


def costs(lengths: NDArray[np.int64], room: Numbers, special: Numbers, how: Truncation) -> NDArray[np.int64]:
    """Return the tokens computed for documents of `lengths` tokens, including special ones, (documents,).

    `room` and `special` are the same for all windows, or one number per document.
    """
    if not isinstance(how, Windows):
        return np.asarray(np.minimum(lengths, room) + special)
    counts = np.clip(-(-(lengths - how.overlap) // (room - how.overlap)), 1, how.most)  # (documents,)
    read = np.minimum(lengths + how.overlap * (counts - 1), room * counts) + special * counts
    return np.asarray(read, dtype=np.int64)


@dataclass(frozen=True)
class Frame:
    """The special tokens around a document's own tokens, of which the model reads `room` at once."""

    before: list[int]
    after: list[int]
    room: int

    @property
    def special(self) -> int:
        """The number of special tokens around a window."""
        return len(self.before) + len(self.after)

    def read(self, ids: list[int], how: Truncation) -> tuple[list[list[int]], int]:
        """Return the windows of a document and how many of its tokens they leave out.

        `ids` are the document's own tokens; each window includes its special tokens.
        """
        if len(ids) <= self.room:
            return [[*self.before, *ids, *self.after]], 0
        found = windows(len(ids), self.room, how)
        own = ([ids[start:end] for start, end in parts] for parts in found)
        made = [list(itertools.chain(self.before, *parts, self.after)) for parts in own]
        return made, len(ids) - covered(found)


def open_tokenizer(folder: Path, max_length: int) -> Tokenizer:
    """Return the model's fast tokenizer, which truncates to `max_length` tokens, including special ones.

    It adds no padding, and reads the name of a special token in a document, such as `</s>`, as characters.

    Raises:
        ModelError: If `tokenizer.json` is missing or unreadable.
    """
    path = folder / "tokenizer.json"
    hint = "the base model must ship the fast tokenizer's tokenizer.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} has no tokenizer",
            got=sorted(item.name for item in folder.glob("*")),
            expected=path.name,
            hint=hint,
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  the Rust library raises plain Exception
        raise ModelError(
            f"{path} is not a tokenizer", got=error, expected="a file of the tokenizers library", hint=hint
        ) from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    _read_names_as_text(tokenizer)
    return tokenizer


def _read_names_as_text(tokenizer: Tokenizer) -> None:
    """Let no document contain a special token, which would end it, or separate its parts, for the model.

    Unlike SentencePiece, the tokenizers library also lets a unigram model (T5, XLM-R) find the name of a
    special token among its pieces, and some models look up whole words; there the name's first character is
    split from the others before the model sees them.
    """
    tokenizer.encode_special_tokens = True
    special = {
        number: one.content for number, one in tokenizer.get_added_tokens_decoder().items() if one.special
    }
    found = [
        name
        for number, name in special.items()
        if number in tokenizer.encode(name, add_special_tokens=False).ids
    ]
    if not found:
        return
    starts = "|".join(f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in found)
    apart = pre_tokenizers.Split(Regex(starts), "isolated")
    own = tokenizer.pre_tokenizer
    tokenizer.pre_tokenizer = apart if own is None else pre_tokenizers.Sequence([own, apart])


def frame(tokenizer: Tokenizer) -> Frame:
    """Return the special tokens that a tokenizer of `open_tokenizer` adds, and the room that they leave.

    Raises:
        ModelError: If it adds special tokens inside a document.
    """
    assert tokenizer.truncation is not None, "open_tokenizer sets it"
    probe, special = tokenizer.encode("a"), tokenizer.num_special_tokens_to_add(is_pair=False)
    own = [index for index, added in enumerate(probe.special_tokens_mask) if not added] or [0]
    found = Frame(probe.ids[: own[0]], probe.ids[own[-1] + 1 :], tokenizer.truncation["max_length"] - special)
    if found.special != special:
        problem, hint = (
            "the tokenizer adds special tokens inside a document",
            "use a base model whose tokenizer only adds them at its ends",
        )
        raise ModelError(problem, got=probe.tokens, expected="the text in one piece", hint=hint)
    return found


@contextlib.contextmanager
def untruncated(tokenizer: Tokenizer) -> Iterator[Frame]:
    """Let the tokenizer return whole documents without special tokens; yield the special tokens and the room.

    Truncating here is cheaper: the library copies the tokens it cuts off, and the length before truncation
    would have to be counted from those copies.

    Raises:
        ModelError: If the tokenizer adds special tokens inside a document.
    """
    found, truncation = frame(tokenizer), tokenizer.truncation or {}
    tokenizer.no_truncation()
    try:
        yield found
    finally:
        tokenizer.enable_truncation(**truncation)
