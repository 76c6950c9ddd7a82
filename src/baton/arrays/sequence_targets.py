"""Targets that are texts: their tokens as arrays, and the texts themselves.

Input: the column `target` of a clean table, and the base model's tokenizer and config. Output, per split:
`{split}.targets.npy` and its offsets (see `contracts.targets`), and `{split}.targets.parquet` with the texts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from baton.arrays import unknown_tokens
from baton.contracts.input_spec import Head
from baton.contracts.targets import Targets
from baton.contracts.task_spec import Sequence
from baton.errors import ModelError
from baton.texts import document_windows

HEAD = Head()  # a target that is too long loses its end
SHOWN = 5  # rows with such a target that the report names


@dataclass(frozen=True)
class Encoded:
    """The tokens of some targets, and how many of them are cut or unknown."""

    targets: Targets
    lengths: list[int]  # before cutting, special tokens included
    tokens: int  # of all, without special ones, before cutting
    unknown: list[int]  # of each, tokens that the tokenizer does not know


def completed(spec: Sequence, tokenizer: Tokenizer, config: dict[str, Any]) -> Sequence:
    """Return the task with what depends on the base model.

    Args:
        spec: from the clean tables.
        tokenizer: of `document_windows.open_tokenizer`.
        config: the base model's config.json.

    Raises:
        ModelError: the base model is not an encoder-decoder, or its tokenizer does not end a text.
    """
    start, end = config.get("decoder_start_token_id"), config.get("eos_token_id")
    if not config.get("is_encoder_decoder") or start is None or not isinstance(end, int):
        raise ModelError(
            "the base model does not write texts",
            got=f"model_type {config.get('model_type')}, decoder_start_token_id {start}, eos_token_id {end}",
            expected="an encoder-decoder (T5, BART, Marian) with both tokens in its config.json",
            hint="set base to one, or task.kind to another task",
        )
    after = document_windows.frame(tokenizer).after
    if after[-1:] != [end]:
        raise ModelError(
            "the base model's tokenizer does not end a text with the model's end token",
            got=f"special tokens {after} after a text",
            expected=f"eos_token_id {end} at the end",
            hint="give tokenizer.json a post-processor that adds it (`tokenizers.processors`)",
        )
    size, unknown = tokenizer.get_vocab_size(), unknown_tokens.token(tokenizer)
    return replace(spec, vocabulary=size, start=start, end=end, unknown=unknown)


class Encoder:
    """Encodes texts as targets."""

    def __init__(self, spec: Sequence, folder: Path) -> None:
        """`folder` holds tokenizer.json; `spec` says how long a target may be."""
        self.spec = spec
        self.tokenizer = document_windows.open_tokenizer(folder, spec.target_length)
        self.frame = document_windows.frame(self.tokenizer)
        self.tokenizer.no_truncation()  # the frame truncates
        self.foreign = unknown_tokens.token(self.tokenizer)

    def encode(self, texts: Iterable[str]) -> Encoded:
        """Return the tokens of each text, cut to `target_length`, special ones included."""
        found = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ids = [one.ids for one in found]
        kept = [self.frame.read(own, HEAD)[0][0] for own in ids]
        offsets = np.concatenate([[0], np.cumsum([len(own) for own in kept], dtype=np.int64)])
        values = np.fromiter((token for own in kept for token in own), np.int64, int(offsets[-1]))
        unknown = [0 if self.foreign is None else own.count(self.foreign) for own in ids]
        return Encoded(
            Targets(self.spec, values, offsets),
            [len(own) + self.frame.special for own in ids],
            sum(map(len, ids)),
            unknown,
        )


def statistics(encoded: list[Encoded], most: int, ids: list[str]) -> dict[str, Any]:
    """Return figures of a split's targets: tokens, those cut, lengths before cutting, unknown tokens.

    Args:
        encoded: of all rows.
        most: the tokens to which targets are cut.
        ids: of the rows, to name the first whose target is cut or unknown.
    """
    lengths = np.array([length for one in encoded for length in one.lengths], np.int64)
    unknown = np.array([count for one in encoded for count in one.unknown], np.int64)
    tokens, strange = sum(one.tokens for one in encoded), int(unknown.sum())
    quantiles = {f"p{q}": int(np.percentile(lengths, q, method="nearest")) for q in (5, 50, 95, 99)}
    truncated = int((lengths > most).sum())
    first, foreign = (
        [ids[row] for row in np.flatnonzero(found)[:SHOWN]] for found in (lengths > most, unknown > 0)
    )
    return {
        "tokens": int(np.minimum(lengths, most).sum()),
        "truncated": truncated,
        "truncated_share": truncated / len(lengths),
        "first_truncated": first,
        "lengths": {**quantiles, "max": int(lengths.max())},
        "unknown": {
            "tokens": strange,
            "share": strange / max(1, tokens),
            "classes": [],
            "rows": int((unknown > 0).sum()),
            "first": foreign,
        },
    }


def write_texts(folder: Path, split: str, table: Path, column: str) -> None:
    """Copy the texts of the targets next to their tokens."""
    pq.write_table(pq.read_table(table, columns=[column]), folder / f"{split}.targets.parquet")


def read_texts(folder: Path, split: str, column: str) -> list[str]:
    """Return the texts of a split's targets, in row order."""
    column_: pa.ChunkedArray = pq.read_table(folder / f"{split}.targets.parquet")[column]
    return list(column_.to_pylist())
