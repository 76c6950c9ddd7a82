"""The number of tokens to read at once, chosen from the data under a limit on the cost of training.

Input: params, the base model and the documents of train. Output: `max_length`, the number of windows, and the
reason for both.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from baton import params
from baton.arrays import text_arrays
from baton.contracts import input_spec, text_pairs
from baton.errors import DataError
from baton.texts import document_windows, pair_windows

STEP = 16  # the lengths tried are multiples of this
SAMPLE = 10_000  # the most documents measured, which gives any share to within one percent


@dataclass(frozen=True)
class Choice:
    """How much of a document is read, and why."""

    max_length: int
    truncation: input_spec.Truncation
    reason: str | None = None  # None: set in params


def resolve(settings: params.TextTokenize, base: Path, config: dict[str, Any], train: Path) -> Choice:
    """Return the choice that params make, or one for the documents of the table `train`.

    `base` is the folder of the base model, `config` its config.json.

    Raises:
        ModelError: If the base model has too few positions for that length, or no tokenizer.
    """
    truncation = input_spec.truncation(settings.truncation.model_dump())
    if not isinstance(settings.max_length, params.AutoLength):
        text_arrays.check_length(config, settings.max_length)
        return Choice(settings.max_length, truncation)
    tokenizer, file = document_windows.open_tokenizer(base, settings.max_length.most), pq.ParquetFile(train)
    columns = text_pairs.columns(train)
    own: list[list[int]] = [[] for _ in columns]
    whole = pair_windows.untruncated if len(columns) == 2 else document_windows.untruncated
    with whole(tokenizer) as frame:
        for sides in _sample(file, columns):
            for lengths, texts in zip(own, sides, strict=True):
                lengths.extend(map(len, tokenizer.encode_batch_fast(texts, add_special_tokens=False)))
    documents = np.array(own, dtype=np.int64), file.metadata.num_rows  # (1 or 2, sample)
    return choose(*documents, frame.special, settings.max_length, truncation, text_arrays.positions(config))


def choose(
    own: NDArray[np.int64],
    documents: int,
    special: int,
    wanted: params.AutoLength,
    truncation: input_spec.Truncation,
    positions: int | None,
) -> Choice:
    """Choose the smallest length that leaves a share of `wanted.whole` of the documents whole.

    If a pass over train then exceeds the limit, first the number of windows and then the length is reduced.

    Args:
        own: the number of tokens, without special ones, of a sample of train's documents, (1, sample), or of
            both texts of pairs, (2, sample).
        documents: the number of documents in train.
        special: the number of special tokens around each window.
        wanted: bounds on the length and on the tokens of a pass over train; `least` tokens are always read.
        truncation: how longer documents are read; the limit may reduce the number of windows.
        positions: the most tokens the model can read at once; None: any number.

    Raises:
        DataError: If windows overlap by more than half of the length.
    """
    most = min(wanted.most, positions or wanted.most) // STEP * STEP
    lengths = [int(length) for length in range(min(wanted.least, most), most + 1, STEP)]
    shares = [float((own.sum(axis=0) + special <= length).mean()) for length in lengths]
    length, share = next(
        ((length, share) for length, share in zip(lengths, shares, strict=True) if share >= wanted.whole),
        (most, shares[-1]),
    )

    def cost() -> float:
        room = length - special
        if len(own) == 2:
            computed = pair_windows.costs(own[0], own[1], room, special, truncation)  # (sample,)
        else:
            computed = document_windows.costs(own[0], room, special, truncation)
        return documents * float(computed.mean())

    asked, limit = cost(), wanted.tokens
    while isinstance(truncation, input_spec.Windows) and cost() > limit:
        fewer = truncation.most - 1
        truncation = dataclasses.replace(truncation, most=fewer) if fewer > 1 else text_arrays.HEAD
    while length > lengths[0] and cost() > limit:
        length -= STEP
    most_overlap = length // (4 if len(own) == 2 else 2)
    if isinstance(truncation, input_spec.Windows) and truncation.overlap > most_overlap:
        expected, hint = (
            f"at most {'a quarter' if len(own) == 2 else 'half'} of the length, {most_overlap}",
            "lower overlap; max_length.least may exceed the positions of the base model",
        )
        got = (
            f"{truncation.overlap}, but {length} tokens are read at once "
            f"(the base model has {positions} positions)"
        )
        raise DataError("tokenize.truncation.overlap is too large", got=got, expected=expected, hint=hint)
    reason = f"{share:.0%} of train's documents are whole in {length} tokens"
    if asked > limit:
        windows = f"{truncation.most} windows of " if isinstance(truncation, input_spec.Windows) else ""
        reason = (
            f"the limit of {limit:,} tokens a pass over train allows "
            f"{windows}{length} tokens of a document; it would be {asked:,.0f}"
        )
    elif share < wanted.whole:
        reason += ", the most that is " + ("allowed" if most == wanted.most else "known to the base model")
    return Choice(length, truncation, f"{reason}; a pass over train is {cost():,.0f} tokens")


def _sample(file: pq.ParquetFile, columns: list[str]) -> Iterator[list[list[str]]]:
    """Yield the columns of at most `SAMPLE` rows, evenly spaced over a table, chunk by chunk."""
    every, start = -(-file.metadata.num_rows // SAMPLE), 0
    for batch in file.iter_batches(batch_size=SAMPLE, columns=columns):
        yield [texts[-start % every :: every] for texts in text_pairs.sides(batch)]
        start += batch.num_rows
