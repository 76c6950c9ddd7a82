"""The texts of a request as tokens: texts or pairs -> what a model reads of each. Without torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from baton.contracts.input_spec import TextInput
from baton.texts import document_windows, pair_windows
from baton.texts.pair_windows import PairFrame, Read

PORTION = 256  # texts tokenized at once: a token takes many times the memory of its id


class TextReader:
    """The tokenizer in a model folder, which reads texts as training does."""

    def __init__(self, folder: Path, reads: TextInput) -> None:
        """Take the folder of the tokenizer, and the input of the model."""
        self.reads = reads
        self.tokenizer = document_windows.open_tokenizer(folder, reads.max_length)
        whole = pair_windows.pair_frame if reads.pair else document_windows.frame
        self.frame: document_windows.Frame | PairFrame = whole(self.tokenizer)
        self.tokenizer.no_truncation()  # the frame truncates

    def read(self, *columns: list[str]) -> list[Read]:
        """Return what is read of each text, or of each pair of texts in two columns."""
        found: list[Read] = []
        for first in range(0, len(columns[0]), PORTION):
            some = (texts[first : first + PORTION] for texts in columns)
            whole = [self.tokenizer.encode_batch_fast(texts, add_special_tokens=False) for texts in some]
            found += [self.kept(row) for row in zip(*whole, strict=True)]
        return found

    def encoded(self, *columns: list[str]) -> list[tuple[Encoding, ...]]:
        """Return the tokens of each text, or of both texts of a pair, with their characters."""
        if not columns[0]:
            return []
        whole = (self.tokenizer.encode_batch(texts, add_special_tokens=False) for texts in columns)
        return [*zip(*whole, strict=True)]

    def kept(self, encodings: Sequence[Encoding]) -> Read:
        """Return what is read of a text, or of both texts of a pair, given their own tokens."""
        ids = [own.ids for own in encodings]
        if isinstance(self.frame, PairFrame):
            return self.frame.read(ids[0], ids[1], self.reads.truncation)
        windows, left_out = self.frame.read(ids[0], self.reads.truncation)
        return Read(windows, [], left_out)


def batches(read: Sequence[list[list[int]]], most: int) -> Iterator[list[int]]:
    """Yield the rows of texts, given as their windows, in batches of similar length.

    A batch has at most `most` windows, or a single text.
    """
    batch: list[int] = []
    for row in sorted(range(len(read)), key=lambda row: sum(map(len, read[row]))):
        if batch and sum(len(read[other]) for other in batch) + len(read[row]) > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def padded(rows: Sequence[Sequence[int]], value: int) -> NDArray[np.int64]:
    """Return rows of different lengths, filled up with `value`, (rows, longest)."""
    result = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for place, row in enumerate(rows):
        result[place, : len(row)] = row
    return result


def owners(read: Sequence[Read]) -> NDArray[np.bool_]:
    """Return which windows belong to each text, (batch, windows)."""
    owner = np.array([place for place, own in enumerate(read) for _ in own.windows])  # (windows,)
    return np.asarray(owner == np.arange(len(read))[:, None])


def arrays(read: Sequence[Read], pad: int) -> dict[str, NDArray[Any]]:
    """Return texts or pairs as an exported graph takes them, by the names of its inputs."""
    windows = [window for own in read for window in own.windows]
    kinds = [types for own in read for types in own.types]
    return tokens(windows, kinds, pad) | {"owners": owners(read)}


def tokens(
    windows: Sequence[Sequence[int]], kinds: Sequence[Sequence[int]], pad: int
) -> dict[str, NDArray[Any]]:
    """Return the ids, mask and types of windows of tokens, each (windows, length).

    `kinds` are the types of the tokens of pairs; without any, all are 0.
    """
    ids = padded(windows, pad)
    return {
        "input_ids": ids,
        "attention_mask": padded([[1] * len(own) for own in windows], 0),
        "token_type_ids": padded(kinds, 0) if kinds else np.zeros_like(ids),
    }
