"""Write and read Parquet tables of encoded images or clips of sound, a few rows at a time.

`download` writes data/raw/{split}.parquet: `name` string (a path, or `train/17`), `image` binary (the
original file, or an array as PNG), `label` string or list of strings (`NO_LABEL` if the record lacked its
key), `problem` string (why there is no image), and `text` (bytes of UTF-8, perhaps invalid) if each image has
one. `preprocess` writes data/clean/{split}.parquet: `id` string, `name` string, `image` binary (unchanged),
`digest` string (see `decoding.digest`), the target, see `target_cells`, and any `text` string; its metadata
contains `significant_bits`. In tables of sound, `audio` takes the place of `image`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from baton.errors import DataError
from baton.images import decoding
from baton.images.bit_depth import BITS_16, BITS_KEY
from baton.streams import few
from baton.tables import readers

GROUP_ROWS = 1024
GROUP_BYTES = 16 * 2**20  # of images; a group is full at either limit, and a reader needs memory for one
NO_LABEL = "\1"  # as a label: the record has no such key, so its labels are unknown; no name begins with it
BATCH_ROWS = 32
BATCH_BYTES = 2**21  # about this many are processed at a time, or one image if it is larger


IMAGE, AUDIO = "image", "audio"  # columns of encoded files


class RawImage(NamedTuple):
    """A row of a raw table; either an image or a problem."""

    name: str
    image: bytes | None
    label: str | list[str] | None  # a list only if most labels of the table are
    problem: str | None = None
    text: bytes | None = None  # of tables that have one for each image


@dataclass(frozen=True)
class Images:
    """The images of one split, read lazily while they are written."""

    origin: str
    total: int | None  # if known in advance
    rows: Iterable[RawImage]
    listed: bool = False  # whether labels are lists
    column: str = IMAGE
    texts: bool = False  # whether each image has a text


class CleanImage(NamedTuple):
    """A row of a clean table."""

    id: str
    name: str
    image: bytes
    digest: str
    label: int | list[int] | list[float]
    text: str | None = None


def numbered(split: str, pairs: Iterable[tuple[NDArray[np.uint8], str]]) -> Iterator[RawImage]:
    """Return rows for arrays: (pixels (height, width, 1 or 3), label)."""
    return (
        RawImage(f"{split}/{number}", decoding.encode(pixels), label)
        for number, (pixels, label) in enumerate(pairs, start=1)
    )


class Writer:
    """A Parquet file to append rows to; a context manager."""

    def __init__(
        self,
        path: Path,
        kind: type[RawImage] | type[CleanImage],
        bits: int = BITS_16,
        target: tuple[str, Any] | None = None,
        *,
        listed: bool = False,
        content: str = IMAGE,
        texts: bool = False,
    ) -> None:
        """Open the file, whose encoded files are in the column `content`.

        `bits` is what `image_arrays.significant_bits` reads back; `target` is the name and the Arrow type of
        the column with the labels, of a clean table by default `label` and int32; those of a raw table may
        be `listed`. With `texts` there is a column of texts.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        raw = pa.list_(pa.string()) if listed else pa.string()
        column, type_ = target or ("label", raw if kind is RawImage else pa.int32())
        types = {content: pa.binary(), column: type_} | ({"text": pa.binary()} if kind is RawImage else {})
        named = {BITS_KEY: str(bits)} if bits != BITS_16 else None
        fields = columns(kind, content, column, texts=texts)
        self.schema = pa.schema([(name, types.get(name, pa.string())) for name in fields], metadata=named)
        # Compressing an encoded image again gains nothing, and its statistics would be the image itself.
        packing = {name: "none" if name == content else "snappy" for name in fields}
        self.file = pq.ParquetWriter(
            path, self.schema, compression=packing, use_dictionary=[column], write_statistics=[column]
        )
        self.rows: list[RawImage | CleanImage] = []
        self.bytes = 0

    def add(self, row: RawImage | CleanImage) -> None:
        """Append a row."""
        self.rows.append(row)
        self.bytes += len(row.image or b"")
        if self.bytes >= GROUP_BYTES or len(self.rows) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self.rows:
            return
        arrays = [
            pa.array(values, field.type)
            # The text comes last in a row, and has no field in a table without texts.
            for field, values in zip(self.schema, zip(*self.rows, strict=True), strict=False)
        ]
        self.file.write_table(pa.table(arrays, schema=self.schema), row_group_size=GROUP_ROWS)
        self.rows, self.bytes = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self.file.close()


def columns(
    kind: type[RawImage] | type[CleanImage], content: str, label: str = "label", *, texts: bool = False
) -> list[str]:
    """Return the names of the columns of a table."""
    own = [name for name in kind._fields if texts or name != "text"]
    return [{IMAGE: content, "label": label}.get(name, name) for name in own]


def count(path: Path) -> int:
    """Return the number of rows.

    Raises:
        DataError: The file is not Parquet.
    """
    return int(_opened(path).metadata.num_rows)


def read(path: Path, columns: Iterable[str]) -> Iterator[dict[str, list[Any]]]:
    """Yield a few rows at a time, as lists of Python values.

    Text is returned as bytes, since Parquet does not guarantee valid UTF-8.

    Raises:
        DataError: The file is not Parquet, or is damaged.
    """
    import pyarrow as pa

    with _opened(path) as file:
        try:
            for batch in file.iter_batches(
                few(file.metadata, BATCH_ROWS, BATCH_BYTES), use_threads=False, columns=list(columns)
            ):
                yield {name: readers.values(batch.column(name)) for name in batch.schema.names}
        except (pa.ArrowInvalid, OSError) as error:
            raise _unreadable(path, error) from None


def names(path: Path) -> list[str]:
    """Return the names of the columns."""
    return list(_opened(path).schema_arrow.names)


def _opened(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Half the memory for large row groups.
        return pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    hint = "source.kind folder or table converts class folders or a table of paths to Parquet; "
    hint += "a file you provide must be Parquet"
    return DataError(
        f"{path} is not a readable Parquet file",
        got=error,
        expected="Apache Parquet with a column of images or clips",
        hint=hint,
    )
