"""Clean text -> memory-mapped token ids.

Input: `{split}.parquet` (`id`, `text`, `text_pair` if rows are pairs, and the targets) and a base model
folder with `tokenizer.json`.
Output, per split: `{split}.tokens.npy` (int32, all windows concatenated), `{split}.offsets.npy` (int64,
windows + 1), the targets (`contracts.targets`) and `{split}.ids.parquet`; if documents are read in windows,
also `{split}.documents.npy` (int64, documents + 1), otherwise each document is one window; of pairs also
`{split}.types.npy` (int8, the type of each token) if the tokenizer distinguishes types. With rows without
labels the split is `transfer`, see `contracts.transfer_set`. Documents are read, tokenized (Rust, all cores)
and written in chunks, so memory does not grow with their number; a chunk is tokenized while the previous ones
are written and the next one is read.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from baton.arrays import sequence_targets, target_arrays, unit_arrays, unknown_tokens
from baton.arrays.document_figures import DocumentFigures
from baton.arrays.growing_array import Growing
from baton.arrays.split_rows import SplitRows
from baton.contracts import text_pairs
from baton.contracts.input_spec import Head, Truncation, Windows
from baton.contracts.ragged import Units
from baton.contracts.targets import Targets
from baton.contracts.task_spec import Spans, TaskSpec, Tokens
from baton.errors import DataError, ModelError
from baton.streams import ahead
from baton.texts import document_windows, pair_windows
from baton.texts.document_windows import Frame
from baton.texts.pair_windows import PairFrame

SPLITS = ("train", "val", "test")
HEAD = Head()
MAY_BE_MISSING = ("documents", "types")  # files of a split
# Batches are padded to multiples of this: with few different shapes the kernels' caches and the allocator's
# free lists stay small (measured in LOG.md).
WIDTH_MULTIPLE = 8
# Chunks encoded at the same time: while one waits for the GIL, another keeps the processors busy.
IN_FLIGHT = 2
# Families that count positions from the padding token's id + 1, which makes that many of
# `max_position_embeddings` unusable.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert")


@dataclass(frozen=True)
class TextArrays:
    """One split, memory-mapped.

    Window i is `tokens[offsets[i]:offsets[i + 1]]`; document i has the windows `documents[i]:documents[i +
    1]`.
    """

    tokens: NDArray[np.int32]  # (all tokens,)
    offsets: NDArray[np.int64]  # (windows + 1,)
    targets: Targets
    documents: NDArray[np.int64] | None = None  # (documents + 1,); None: each document is one window
    types: NDArray[np.int8] | None = None  # (all tokens,), of pairs; None: all are 0
    units: Units | None = None  # of each document; None: a model has one output per document

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens read of each document, (documents,)."""
        return np.diff(self.offsets if self.documents is None else self.offsets[self.documents])

    @property
    def windows(self) -> NDArray[np.int64]:
        """The number of windows of each document, (documents,)."""
        return np.ones(len(self), np.int64) if self.documents is None else np.diff(self.documents)


def open_arrays(folder: Path, split: str, task: TaskSpec) -> TextArrays:
    """Memory-map one split.

    Raises:
        DataError: If a file is missing or the files do not match.
    """
    paths = {name: folder / f"{split}.{name}.npy" for name in ("tokens", "offsets", *MAY_BE_MISSING)}
    for name, path in paths.items():
        if name not in MAY_BE_MISSING and not path.is_file():
            raise DataError(
                f"{path} is missing",
                expected="an array written by `tokenize`",
                hint="run `dvc repro tokenize`",
            )
    arrays = TextArrays(
        **{
            name: np.load(path, mmap_mode="r", allow_pickle=False)
            for name, path in paths.items()
            if path.is_file()
        },
        targets=target_arrays.open_targets(folder, split, task),
    )
    if task.outputs == "unit":
        arrays = _with_units(arrays, folder, split)
    windows = len(arrays) if arrays.documents is None else int(arrays.documents[-1])
    documents = len(arrays) if arrays.documents is None else len(arrays.documents) - 1
    if (
        len(arrays.offsets) != windows + 1
        or len(arrays.tokens if arrays.types is None else arrays.types) != len(arrays.tokens)
        or arrays.offsets[-1] != len(arrays.tokens)
        or documents != len(arrays)
    ):
        got = (
            f"{len(arrays.tokens)} tokens, {len(arrays.offsets)} offsets, "
            f"{documents} documents, {len(arrays)} with targets"
        )
        raise DataError(
            f"{folder}/{split}.*.npy do not match", got=got, hint="run `dvc repro --force tokenize`"
        )
    return arrays


def _with_units(arrays: TextArrays, folder: Path, split: str) -> TextArrays:
    """Return the arrays with their units, and the targets with which of them a model reads.

    Raises:
        DataError: If a file is missing or the files do not match.
    """
    units, targets = unit_arrays.open_units(folder, split, len(arrays.tokens)), arrays.targets
    if targets.offsets is None or not np.array_equal(units.offsets, targets.offsets):
        got = (
            f"{len(units.places)} units of {len(units)} rows, {len(targets.values)} targets of {len(targets)}"
        )
        raise DataError(
            f"{folder}/{split}.*.npy do not match", got=got, hint="run `dvc repro --force tokenize`"
        )
    return replace(arrays, units=units, targets=replace(targets, read=np.asarray(units.places >= 0)))


def read_ids(folder: Path, split: str) -> list[str]:
    """Return the row ids of one split, in the arrays' order."""
    ids: list[str] = pq.read_table(folder / f"{split}.ids.parquet")["id"].to_pylist()
    return ids


def positions(config: dict[str, Any]) -> int | None:
    """Return the most tokens that the base model can read at once, including padding; None: any number.

    `config` is the base model's config.json.
    """
    if "max_position_embeddings" not in config:  # relative positions
        return None
    offset = (config.get("pad_token_id") or 0) + 1 if config.get("model_type") in OFFSET_POSITIONS else 0
    return int((config["max_position_embeddings"] - offset) // WIDTH_MULTIPLE * WIDTH_MULTIPLE)


def check_length(config: dict[str, Any], max_length: int, key: str = "tokenize.max_length") -> None:
    """Refuse a `max_length` for which the base model has too few positions.

    `config` is the base model's config.json; `key` names the length in params.

    Raises:
        ModelError: If a batch of that length, once padded, exceeds the model's positions.
    """
    most = positions(config)
    if most is not None and max_length > most:
        problem, hint = (
            f"{key} is more than the base model can read",
            f"set {key} to at most {most}",
        )
        raise ModelError(problem, got=max_length, expected=f"at most {most}", hint=hint)


def tokenize(
    table: Path,
    tokenizer: Tokenizer,
    target: Path,
    chunk_size: int,
    advance: Callable[[int], object],
    task: TaskSpec,
    truncation: Truncation = HEAD,
    encoder: sequence_targets.Encoder | None = None,
    unlabelled: Path | None = None,
) -> dict[str, Any]:
    """Write the arrays of one split into `target` and return its statistics.

    Args:
        table: `{split}.parquet`; its stem names the split, unless there are rows without labels.
        tokenizer: from `open_tokenizer`.
        target: an existing folder.
        chunk_size: documents encoded at a time; four chunks are in memory (being read, encoded, written).
        advance: called with the number of documents done.
        task: the task, which names the column of targets.
        truncation: how documents with more tokens than the tokenizer's `max_length` are read.
        encoder: of targets that are texts.
        unlabelled: a table of rows without labels, which follow those of `table` in the split `transfer`.

    Returns:
        `documents`, `windows`, `tokens` (read by a model), `truncated` (documents with tokens left out),
        `truncated_share`, `left_out_share` (of all documents' own tokens), `lengths` (tokens before
        truncation: quantiles and maximum), `unknown` (see `unknown_tokens.figures`); of texts as targets
        also `targets` (see `sequence_targets.statistics`); if words have targets, those of `unit_arrays`.
    """
    source = SplitRows(table, unlabelled)
    split = source.split
    figures = DocumentFigures(source.rows, unknown_tokens.token(tokenizer))
    names = pq.ParquetWriter(target / f"{split}.ids.parquet", pa.schema([pq.read_schema(table).field("id")]))
    tokens, offsets = (
        Growing(target / f"{split}.tokens.npy", np.int32),
        Growing(target / f"{split}.offsets.npy", np.int64),
    )
    wanted = target_arrays.Writer(target, split, task, encoder)
    columns = text_pairs.columns(table)
    whole = pair_windows.untruncated if len(columns) == 2 else document_windows.untruncated
    with whole(tokenizer) as frame, contextlib.ExitStack() as files:
        for one in (names, tokens, offsets, wanted):
            files.enter_context(one)
        typed = isinstance(frame, PairFrame) and frame.typed
        types = files.enter_context(Growing(target / f"{split}.types.npy", np.int8)) if typed else None
        documents = None
        if isinstance(truncation, Windows):
            documents = files.enter_context(Growing(target / f"{split}.documents.npy", np.int64))
            documents.append(np.zeros(1, np.int64))
        units = None
        if isinstance(task, Tokens | Spans):
            units = files.enter_context(unit_arrays.Writer(target, split, task.words, frame, truncation))
        offsets.append(np.zeros(1, np.int64))
        for batch, encodings in _encoded(
            tokenizer,
            source.batches(chunk_size, ["id", *columns], task),
            placed=units is not None,
        ):
            names.write_batch(batch.select(["id"]))
            targets = wanted.append(batch)
            target_arrays.refuse_unknown(targets, target, split)
            read = [_read(frame, items, truncation) for items in zip(*encodings, strict=True)]
            bounds = np.cumsum([0, *(len(item.windows) for item in read)], dtype=np.int64)
            if documents is not None:
                documents.append(figures.windows + bounds[1:])
            lengths = [len(window) for item in read for window in item.windows]
            ends = figures.tokens + np.cumsum(lengths, dtype=np.int64)
            offsets.append(ends)
            if units is not None:
                firsts = np.concatenate([[figures.tokens], ends])[bounds]
                units.append(batch[columns[-1]].to_pylist(), [*zip(*encodings, strict=True)], firsts[:-1])
            tokens.append(_flat((item.windows for item in read), np.int32, sum(lengths)))
            if types is not None:
                types.append(_flat((item.types for item in read), np.int8, sum(lengths)))
            figures.add(encodings, read, targets if unlabelled is None else None)
            advance(batch.num_rows)
    source.write_mask(target)
    target_arrays.copy_texts(table, target, split, task)
    more: dict[str, Any] = {}
    if encoder is not None:
        more = {
            "targets": sequence_targets.statistics(
                wanted.encoded, encoder.spec.target_length, read_ids(target, split)
            )
        }
    return figures.described(frame.special) | more | ({} if units is None else units.figures)


def _read(frame: Frame | PairFrame, items: Sequence[Encoding], how: Truncation) -> pair_windows.Read:
    """Return what is read of a document's encoding, or of the two of a pair; a document has no types."""
    if isinstance(frame, PairFrame):
        return frame.read(items[0].ids, items[1].ids, how)
    windows, left_out = frame.read(items[0].ids, how)
    return pair_windows.Read(windows, [], left_out)


def _flat(documents: Iterable[list[list[int]]], kind: type[np.generic], count: int) -> NDArray[Any]:
    """Return the values of all windows of all documents, (count,)."""
    return np.fromiter(chain.from_iterable(chain.from_iterable(documents)), kind, count)


def _encoded(
    tokenizer: Tokenizer, batches: Iterable[pa.RecordBatch], placed: bool = False
) -> Iterator[tuple[pa.RecordBatch, list[list[Encoding]]]]:
    """Yield each batch with the encodings (without special tokens) of its column or columns, in order.

    The next ones are encoded in the meantime: Rust releases the GIL. With `placed` they know the characters
    of their tokens.
    """
    encoder = tokenizer.encode_batch if placed else tokenizer.encode_batch_fast

    def encode(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[list[Encoding]]]:
        return batch, [encoder(texts, add_special_tokens=False) for texts in text_pairs.sides(batch)]

    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        yield from ahead(threads, encode, batches, IN_FLIGHT + 1)
