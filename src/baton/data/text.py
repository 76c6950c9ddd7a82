"""Clean text -> memory-mapped token ids.

Input: `{split}.parquet` (columns `id`, `text`, `label`) and a base model folder with `tokenizer.json`. Output, per split:
`{split}.tokens.npy` (int32, all documents one after the other), `{split}.offsets.npy` (int64, documents + 1), `{split}.labels.npy` (int64)
and `{split}.ids.parquet`. Documents are read, tokenized (Rust, all cores) and written in chunks, so memory does not grow with their number;
chunks are tokenized while those before are written and the next is read.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from baton.data import unknown
from baton.data.ahead import ahead
from baton.errors import DataError, ModelError

SPLITS = ("train", "val", "test")
# Batches are padded to multiples of this: few shapes keep the kernels' caches and the allocator's free lists small (measured in LOG.md).
WIDTH_MULTIPLE = 8
# Chunks that are encoded at the same time: while one waits for Python's lock, another keeps the processors busy.
IN_FLIGHT = 2
# Families that count positions from the padding token's id + 1, so that many of `max_position_embeddings` cannot be used.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert")


@dataclass(frozen=True)
class TextArrays:
    """One split, memory-mapped: document i is `tokens[offsets[i]:offsets[i + 1]]`."""

    tokens: NDArray[np.int32]  # (all tokens,)
    offsets: NDArray[np.int64]  # (documents + 1,)
    labels: NDArray[np.int64]  # (documents,)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per document, (documents,)."""
        return np.diff(self.offsets)


def open_arrays(folder: Path, split: str) -> TextArrays:
    """Memory-map one split.

    Raises:
        DataError: a file is missing or the three do not fit together.
    """
    paths = {name: folder / f"{split}.{name}.npy" for name in ("tokens", "offsets", "labels")}
    for path in paths.values():
        if not path.is_file():
            raise DataError(f"{path} is missing", expected="an array written by `tokenize`", hint="run `dvc repro tokenize`")
    arrays = TextArrays(**{name: np.load(path, mmap_mode="r", allow_pickle=False) for name, path in paths.items()})
    if len(arrays.offsets) != len(arrays) + 1 or arrays.offsets[-1] != len(arrays.tokens):
        got = f"{len(arrays.tokens)} tokens, {len(arrays.offsets)} offsets, {len(arrays)} labels"
        raise DataError(f"{folder}/{split}.*.npy do not fit together", got=got, hint="run `dvc repro --force tokenize`")
    return arrays


def read_ids(folder: Path, split: str) -> list[str]:
    """Row ids of one split, in the arrays' order."""
    ids: list[str] = pq.read_table(folder / f"{split}.ids.parquet")["id"].to_pylist()
    return ids


def open_tokenizer(folder: Path, max_length: int) -> Tokenizer:
    """The model's fast tokenizer, truncating at `max_length` tokens (special ones included), without padding.

    Raises:
        ModelError: there is no readable `tokenizer.json`.
    """
    path = folder / "tokenizer.json"
    hint = "the base model must ship the fast tokenizer's tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no tokenizer", got=sorted(item.name for item in folder.glob("*")), expected=path.name, hint=hint)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  the Rust library raises plain Exception
        raise ModelError(f"{path} is no tokenizer", got=error, expected="a file of the tokenizers library", hint=hint) from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def check_length(config: dict[str, Any], max_length: int) -> None:
    """Refuse a `max_length` that the base model (`config`: its config.json) has no positions for.

    Raises:
        ModelError: a batch of that length, padded, exceeds the positions that the model has.
    """
    if "max_position_embeddings" not in config:  # relative positions: any length can be read
        return
    offset = (config.get("pad_token_id") or 0) + 1 if config.get("model_type") in OFFSET_POSITIONS else 0
    most = (config["max_position_embeddings"] - offset) // WIDTH_MULTIPLE * WIDTH_MULTIPLE
    if max_length > most:
        problem, hint = "tokenize.max_length is more than the base model can read", f"set tokenize.max_length to at most {most}"
        raise ModelError(problem, got=max_length, expected=f"at most {most}", hint=hint)


def tokenize(table: Path, tokenizer: Tokenizer, target: Path, chunk_size: int, advance: Callable[[int], object]) -> dict[str, Any]:
    """Write the three arrays of one split into `target`; return the length figures.

    Args:
        table: `{split}.parquet`; its stem names the split.
        tokenizer: from `open_tokenizer`.
        target: an existing folder.
        chunk_size: documents encoded at a time; four chunks are in memory (being read, encoded, written).
        advance: called with the number of documents done.

    Returns:
        `documents`, `tokens`, `truncated` (documents), `truncated_share`, `lengths` (tokens before truncation: quantiles and maximum) and
        `unknown` (see `unknown.figures`).
    """
    file = pq.ParquetFile(table)
    count, split = file.metadata.num_rows, table.stem
    offsets = np.lib.format.open_memmap(target / f"{split}.offsets.npy", mode="w+", dtype=np.int64, shape=(count + 1,))
    labels = np.lib.format.open_memmap(target / f"{split}.labels.npy", mode="w+", dtype=np.int64, shape=(count,))
    full, strange = np.empty(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    foreign = unknown.token(tokenizer)
    offsets[0] = row = 0
    names = pq.ParquetWriter(target / f"{split}.ids.parquet", pa.schema([file.schema_arrow.field("id")]))
    with _untruncated(tokenizer) as frame, names, (target / f"{split}.tokens.npy").open("wb") as out:
        _write_header(out, 0)
        for batch, encodings in _encoded(tokenizer, file.iter_batches(batch_size=chunk_size, columns=["id", "text", "label"])):
            names.write_batch(batch.select(["id"]))
            end = row + len(encodings)
            labels[row:end] = np.from_dlpack(
                batch["label"]
            )  # to_numpy() would import pandas, which takes longer than thousands of documents
            full[row:end] = [len(item) + frame.special for item in encodings]
            offsets[row + 1 : end + 1] = offsets[row] + np.cumsum(np.minimum(full[row:end], frame.special + frame.most))
            own = [item.ids for item in encodings]
            if foreign is not None:
                strange[row:end] = [ids.count(foreign) for ids in own]
            tokens = chain.from_iterable(chain(frame.before, ids[: frame.most], frame.after) for ids in own)
            np.fromiter(tokens, np.int32, int(offsets[end] - offsets[row])).tofile(out)
            row = end
            advance(len(encodings))
        total = int(offsets[-1])
        out.seek(0)
        _write_header(out, total)  # NumPy pads the header, so the true length fits in the same bytes
    offsets.flush()
    labels.flush()
    truncated = int((full > np.diff(offsets)).sum())
    quantiles = {f"p{q}": int(np.percentile(full, q, method="nearest")) for q in (5, 25, 50, 75, 95, 99)}
    lengths = {**quantiles, "max": int(full.max())}
    figures = {"documents": count, "tokens": total, "truncated": truncated, "truncated_share": truncated / count, "lengths": lengths}
    return figures | {"unknown": unknown.figures(strange, full - frame.special, labels)}


@dataclass(frozen=True)
class _Frame:
    """What the model reads around a document's own tokens, and how many of these (`most`) fit."""

    before: list[int]
    after: list[int]
    most: int

    @property
    def special(self) -> int:
        return len(self.before) + len(self.after)


@contextlib.contextmanager
def _untruncated(tokenizer: Tokenizer) -> Iterator[_Frame]:
    """Let the tokenizer return whole documents without special tokens, and yield what it would have added and where it would have cut.

    Cutting here is cheaper: the library copies what it cuts off, and the length before truncation would have to be counted from the copies.
    """
    truncation = tokenizer.truncation
    assert truncation is not None, "open_tokenizer sets it"
    probe, special = tokenizer.encode("a"), tokenizer.num_special_tokens_to_add(is_pair=False)
    own = [index for index, added in enumerate(probe.special_tokens_mask) if not added] or [0]
    frame = _Frame(probe.ids[: own[0]], probe.ids[own[-1] + 1 :], truncation["max_length"] - special)
    if frame.special != special:
        problem, hint = "the tokenizer adds special tokens inside a document", "use a base model whose tokenizer adds them around it only"
        raise ModelError(problem, got=probe.tokens, expected="the text in one piece", hint=hint)
    tokenizer.no_truncation()
    try:
        yield frame
    finally:
        tokenizer.enable_truncation(**truncation)


def _encoded(tokenizer: Tokenizer, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, list[Encoding]]]:
    """Each batch with its encodings (no special tokens), in order. The next ones are encoded meanwhile: Rust lets go of Python's lock."""

    def encode(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Encoding]]:
        return batch, tokenizer.encode_batch_fast(batch["text"].to_pylist(), add_special_tokens=False)

    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        yield from ahead(threads, encode, batches, IN_FLIGHT + 1)


def _write_header(file: Any, length: int) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int32)), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)
