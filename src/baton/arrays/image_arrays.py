"""Clean images -> memory-mapped pixels.

Input: `{split}.parquet` (`id`, `image`, and the targets) and a base model folder with timm's `config.json`.
Output, per split: `{split}.pixels.npy` (uint8, all images concatenated, each height x width x channels),
`{split}.shapes.npy` (int32, (images, 2)), `{split}.offsets.npy` (int64, images + 1), the targets
(`contracts.targets`) and `{split}.ids.parquet`. Images are read, shrunk to the canvas (see `framing`) on all
cores and written in chunks, so memory does not grow with their number; nothing is enlarged.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from baton import processors
from baton.arrays import target_arrays
from baton.contracts.input_spec import ImageInput
from baton.contracts.targets import Targets
from baton.contracts.task_spec import TaskSpec
from baton.errors import DataError
from baton.images import decoding, pillow
from baton.images.bit_depth import BITS_16, BITS_KEY
from baton.images.framing import Framing, framing
from baton.streams import ahead, few

ANY_SIZE = sys.maxsize  # preprocess has already checked the size
CHUNK_BYTES = 2**24  # encoded images read and processed at a time, roughly
QUANTILES = {"min": 0, "p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "max": 100}


@dataclass(frozen=True)
class ImageArrays:
    """One split, memory-mapped.

    Image i is `pixels[offsets[i]:offsets[i + 1]]`, with shape `shapes[i]` and the split's channels.
    """

    pixels: NDArray[np.uint8]  # (all values,)
    shapes: NDArray[np.int32]  # (images, 2): height, width
    offsets: NDArray[np.int64]  # (images + 1,)
    targets: Targets

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def channels(self) -> int:
        """The number of channels, 1 or 3."""
        return int(self.offsets[1] // (int(self.shapes[0, 0]) * int(self.shapes[0, 1])))

    @cached_property
    def shape(self) -> tuple[int, int] | None:
        """The height and width of all images, or None if they differ."""
        first = self.shapes[0]
        return (int(first[0]), int(first[1])) if bool((self.shapes == first).all()) else None

    @cached_property
    def largest(self) -> tuple[int, int]:
        """The smallest height and width into which every image fits."""
        height, width = self.shapes.max(axis=0).tolist()
        return height, width

    def image(self, row: int) -> NDArray[np.uint8]:
        """Return one image, (height, width, channels)."""
        height, width = self.shapes[row]
        return self.pixels[self.offsets[row] : self.offsets[row + 1]].reshape(height, width, self.channels)

    def stack(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return a copy of the images at `rows`, (rows, height, width, channels).

        All images of the split must have the same shape.
        """
        assert self.shape, "images of different shapes cannot be stacked"
        return np.asarray(self.pixels).reshape(-1, *self.shape, self.channels)[rows]

    def filled(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return a copy of the images at `rows`, (rows, height, width, channels).

        Each is at the top left of a canvas of size `largest`, which is black elsewhere.
        """
        if self.shape:
            return self.stack(rows)
        stacked = np.zeros((len(rows), *self.largest, self.channels), np.uint8)
        for target, row in zip(stacked, rows, strict=True):
            height, width = self.shapes[row]
            target[:height, :width] = self.image(row)
        return stacked


def open_arrays(folder: Path, split: str, task: TaskSpec) -> ImageArrays:
    """Memory-map one split.

    Raises:
        DataError: If a file is missing or they do not match.
    """
    paths = {name: folder / f"{split}.{name}.npy" for name in ("pixels", "shapes", "offsets")}
    for path in paths.values():
        if not path.is_file():
            raise DataError(
                f"{path} is missing",
                expected="an array written by `tokenize`",
                hint="run `dvc repro tokenize`",
            )
    arrays = ImageArrays(
        **{name: np.load(path, mmap_mode="r", allow_pickle=False) for name, path in paths.items()},
        targets=target_arrays.open_targets(folder, split, task),
    )
    counts = {"shapes": len(arrays.shapes), "offsets": len(arrays.offsets) - 1, "targets": len(arrays)}
    whole = len(set(counts.values())) == 1 and len(arrays) > 0 and arrays.offsets[-1] == len(arrays.pixels)
    if not whole or not np.array_equal(
        np.diff(arrays.offsets), arrays.shapes.prod(axis=1, dtype=np.int64) * arrays.channels
    ):
        found = ", ".join(f"{name} of {count} images" for name, count in counts.items())
        raise DataError(
            f"{folder}/{split}.*.npy do not match",
            got=f"{len(arrays.pixels)} values, {found}",
            hint="run `dvc repro --force tokenize`",
        )
    return arrays


def significant_bits(table: Path) -> int:
    """Return how many of 16 bits the images of a clean table use if their files do not say.

    The result is 16, unless `preprocess` found fewer.
    """
    return int((pq.read_schema(table).metadata or {}).get(BITS_KEY, BITS_16))


def tokenize(
    table: Path,
    reads: ImageInput,
    target: Path,
    chunk_size: int,
    advance: Callable[[int], object],
    task: TaskSpec,
    workers: int | None = None,
) -> dict[str, Any]:
    """Write the arrays of one split into `target` and return its statistics.

    Args:
        table: `{split}.parquet`; its stem names the split.
        reads: the model's input.
        target: an existing folder.
        chunk_size: images that one thread takes at a time; `workers` + 1 such chunks are in memory.
        advance: called with the number of images done.
        task: the task, which names the column of targets.
        workers: the number of threads, by default one per processor. The output does not depend on it.

    Returns:
        `images`, `bytes`, `resized` (images shrunk) and `resized_share`, `recoloured` (grey to colour or the
        reverse), `height` and `width` (quantiles of the sources', in pixels).

    Raises:
        DataError: If an image cannot be decoded, which `preprocess` should have found.
    """
    frame = framing(reads)
    prepare = partial(_prepare, frame=frame, bits=reads.significant_bits)
    with pillow.listening():  # Pillow's warnings are caught here, once for all images
        sources, size = write(table, target, prepare, "image", chunk_size, advance, task, workers)
    return _figures(sources, size, frame)


def write(
    table: Path,
    target: Path,
    prepare: "Prepare",
    column: str,
    chunk_size: int,
    advance: Callable[[int], object],
    task: TaskSpec,
    workers: int | None = None,
) -> tuple[NDArray[np.int64], int]:
    """Write the arrays of one split into `target`; see `tokenize`.

    Args:
        table: `{split}.parquet`.
        target: an existing folder.
        prepare: a batch with the column of encoded files -> the batch without it; for each row pixels
            (height, width, channels) and numbers that describe its source.
        column: the column of files.
        chunk_size: rows that one thread takes at a time.
        advance: called with the number of rows done.
        task: the task.
        workers: the number of threads.

    Returns:
        The numbers that describe the sources, (rows, …), and the bytes of all pixels.
    """
    file = pq.ParquetFile(table)
    count, split = file.metadata.num_rows, table.stem
    arrays = {
        "shapes": (np.int32, (count, 2)),
        "offsets": (np.int64, (count + 1,)),
    }
    opened = {
        name: np.lib.format.open_memmap(target / f"{split}.{name}.npy", mode="w+", dtype=dtype, shape=shape)
        for name, (dtype, shape) in arrays.items()
    }
    sources = np.empty((0, 0), np.int64)
    opened["offsets"][0] = row = 0
    names = pq.ParquetWriter(target / f"{split}.ids.parquet", pa.schema([file.schema_arrow.field("id")]))
    wanted = target_arrays.Writer(target, split, task)
    with names, wanted, (target / f"{split}.pixels.npy").open("wb") as out:
        _write_header(out, 0)
        for batch, chunk in _prepared(
            file,
            ["id", column, task.column],
            prepare,
            chunk_size,
            workers or processors.available(),
        ):
            names.write_batch(batch.select(["id"]))
            end = row + len(chunk)
            wanted.append(batch)
            if not sources.size:
                sources = np.empty((count, len(chunk[0][1])), np.int64)
            for index, (pixels, source) in enumerate(chunk, start=row):
                opened["shapes"][index] = pixels.shape[:2]
                sources[index] = source
                opened["offsets"][index + 1] = opened["offsets"][index] + pixels.size
                out.write(pixels.data)
            row = end
            advance(len(chunk))
        out.seek(0)
        # NumPy pads the header, so the true length fits in the same bytes.
        _write_header(out, int(opened["offsets"][-1]))
    for array in opened.values():
        array.flush()
    return sources, int(opened["offsets"][-1])


Prepared = list[tuple[NDArray[np.uint8], tuple[int, ...]]]
Prepare = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, Prepared]]


def _prepared(
    file: pq.ParquetFile,
    columns: list[str],
    prepare: Prepare,
    chunk_size: int,
    workers: int,
) -> Iterator[tuple[pa.RecordBatch, Prepared]]:
    """Yield each batch with its images and their original shapes, in order, while preparing the next ones."""
    # Pillow releases the GIL while it decodes and resizes, as NumPy does in Fourier transforms.
    with ThreadPoolExecutor(workers) as threads:
        batches = file.iter_batches(batch_size=few(file.metadata, chunk_size, CHUNK_BYTES), columns=columns)
        yield from ahead(threads, prepare, batches, workers + 1)


def _prepare(batch: pa.RecordBatch, frame: Framing, bits: int) -> tuple[pa.RecordBatch, Prepared]:
    chunk = []
    for name, content in zip(batch["id"], batch["image"], strict=True):
        try:
            decoded = decoding.decode(content.as_py(), ANY_SIZE, bits)
        except DataError as error:
            hint = "run `dvc repro --force preprocess`, which checks that every image can be decoded"
            raise DataError(
                f"image {name.as_py()} cannot be decoded", got=error, expected="an image", hint=hint
            ) from error
        chunk.append((frame.stored(decoded.pixels), decoded.pixels.shape))
    return batch.drop_columns(["image"]), chunk


def _figures(sources: NDArray[np.int64], size: int, frame: Framing) -> dict[str, Any]:
    shapes, counts = np.unique(sources[:, :2], axis=0, return_counts=True)
    resized = sum(
        int(many)
        for (height, width), many in zip(shapes, counts, strict=True)
        if frame.shrinks(int(height), int(width))
    )
    sides = {
        name: {
            quantile: int(np.percentile(sources[:, axis], share, method="nearest"))
            for quantile, share in QUANTILES.items()
        }
        for axis, name in enumerate(("height", "width"))
    }
    recoloured = int((sources[:, 2] != frame.channels).sum())
    return {
        "images": len(sources),
        "bytes": size,
        "resized": resized,
        "resized_share": resized / len(sources),
        "recoloured": recoloured,
    } | sides


def _write_header(file: Any, length: int) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)),
        "fortran_order": False,
        "shape": (length,),
    }
    np.lib.format.write_array_header_1_0(file, header)
