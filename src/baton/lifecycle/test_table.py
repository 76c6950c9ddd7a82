"""The frozen test table, and the row digests that reveal test rows in a model's training data.

Input: a Parquet table as written by `preprocess`, `id, text` (and `text_pair`), `id, image, digest` (and
`text`) or `id, audio, digest` and the targets, with `task.json` next to it, or the `labels.json` of an
earlier version. A text's digest is taken after normalizing case and white space, so a copy that differs only
in these is the same row; a pair's is that of both its texts, in their order; an image's digest is that of its
pixels, and a clip's that of its samples, so a copy in another file format is the same row; that of an image
with a text is of both, but a model that has seen the image with another text has seen the row. Model inputs
are not kept in memory: a table returns them in portions.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from numpy.typing import NDArray

from baton import storage
from baton.contracts import targets, task_spec, text_pairs, transfer_set
from baton.contracts.task_spec import TaskSpec
from baton.errors import DataError
from baton.sources import inbox_links
from baton.tables import text_key

Kind = Literal["text", "images", "audio", "image_text"]

DIGEST_BYTES = 8  # of SHA-256: among a million rows two collide with a probability of 3e-8
# What a model reads, and what tells rows apart.
COLUMNS: dict[Kind, list[str]] = {
    "text": ["text"],
    "images": ["image"],
    "audio": ["audio"],
    "image_text": ["image", "text"],
}
KEYS: dict[Kind, list[str]] = {
    "text": ["text"],
    "images": ["digest"],
    "audio": ["digest"],
    "image_text": ["digest", "text"],
}
KINDS: tuple[Kind, ...] = ("image_text", "images", "audio")  # the first whose columns are there
PORTION: dict[Kind, int] = {"text": 4096, "images": 64, "audio": 64, "image_text": 64}  # rows in memory
TRAINED_ON = ("train", "val")  # splits that a model is trained or selected on
HINT = "run `baton repro`, or set promotion.test to a table with task.json next to it"
BUFFER_BYTES = 1 << 20  # read at once; otherwise a whole row group would be


@dataclass(frozen=True)
class Table:
    """Rows to score on."""

    path: Path
    sha256: str
    kind: Kind
    ids: list[str]
    digests: list[str]
    task: TaskSpec
    targets: NDArray[Any]  # (rows, …), as `Targets.take` returns them
    images: list[str] = field(default_factory=list)  # digests of the images alone, if rows have texts too

    def inputs(self) -> Iterator[list[Any]]:
        """Yield what a model reads, raw texts, encoded files or both, in row order, a portion at a time."""
        return inputs(self.path, self.kind)


def read(path: Path) -> Table:
    """Read a table.

    Raises:
        DataError: it is missing or empty, or lacks a column.
        SourceError: a link leads out of inbox/.
    """
    if not inbox_links.checked(path).is_file():
        raise DataError(f"{path} is missing", expected="the frozen test table", hint=HINT)
    task, which = task_spec.read_file(path.parent, HINT), kind(path)
    table = pq.read_table(path, columns=["id", *targets.columns(task)])
    ids = table.column("id").to_pylist()
    if not ids:
        raise DataError(
            f"{path} has no rows",
            got="0 rows",
            expected="at least one per class",
            hint="use a table written by preprocess",
        )
    return Table(
        path,
        storage.sha256(path),
        which,
        ids,
        list(row_digests(path, which)),
        task,
        targets.of_table(table, task).all,
        list(image_digests(path, which)),
    )


def kind(path: Path) -> Kind:
    """Return whether a table holds texts, images, sound, or images with texts, by its columns.

    Raises:
        DataError: a column is missing.
    """
    names, target = pq.read_schema(path).names, task_spec.read_file(path.parent, HINT).column
    found: Kind = next((which for which in KINDS if {*COLUMNS[which]} <= {*names}), "text")
    expected = ["id", *dict.fromkeys((*COLUMNS[found], *KEYS[found])), target]
    if absent := [name for name in expected if name not in names]:
        wanted = f"columns {', '.join(expected[:-1])} and {expected[-1]}"
        hint = "use a table written by preprocess"
        raise DataError(f"{path} has no column {absent[0]}", got=", ".join(names), expected=wanted, hint=hint)
    return found


def inputs(path: Path, which: Kind) -> Iterator[list[Any]]:
    """Yield what a model reads of a table, in portions.

    Each item is a string, a pair of them, bytes or, of images with texts, a dict of both.
    """
    if which == "text" and len(text_pairs.columns(path)) == 2:
        return ([[*pair] for pair in zip(*sides, strict=True)] for sides in _texts(path))
    if which == "image_text":
        return (batch.to_pylist() for batch in _batches(path, COLUMNS[which], PORTION[which]))
    return (batch.column(0).to_pylist() for batch in _batches(path, COLUMNS[which], PORTION[which]))


def row_digests(path: Path, which: Kind) -> Iterator[str]:
    """Yield the digest of each row of a table, in hexadecimal."""
    if which == "text":
        for sides in _texts(path):
            yield from keys(which, text_pairs.wholes(*sides))
        return
    for batch in _batches(path, KEYS[which], PORTION["text"]):
        columns = (batch[name].to_pylist() for name in KEYS[which])
        yield from keys(which, text_pairs.wholes(*columns))


def image_digests(path: Path, which: Kind) -> Iterator[str]:
    """Yield the digest of each row's image alone, of images with texts; nothing of other rows."""
    if which == "image_text":
        for batch in _batches(path, KEYS["images"], PORTION["text"]):
            yield from keys("images", batch.column(0).to_pylist())


def keys(which: Kind, some: Iterable[str]) -> list[str]:
    """Return the digests of rows by what identifies them: `samples.Sample.keys`."""
    return [shortened(digest) for digest in some] if which in ("images", "audio") else digests(some)


def shortened(digest: str) -> str:
    """Return the part of an image's digest that is kept."""
    return digest[: 2 * DIGEST_BYTES]


def digests(texts: Iterable[str]) -> list[str]:
    """Return the digest of each text, or of each whole pair (`text_pairs.whole`), in hexadecimal."""
    return [hashlib.sha256(text_key.key(text).encode()).hexdigest()[: 2 * DIGEST_BYTES] for text in texts]


def training_digests(clean: Path) -> list[str]:
    """Return the sorted digests of the rows a model was trained or selected on: train and val.

    Of images with texts, those of the images alone are among them; so are those of rows without labels, from
    which a student may have learned, and those of train of further tasks, from which the encoder has.
    """
    paths = [clean / f"{split}.parquet" for split in TRAINED_ON]
    parts = [read(path, kind(path)) for path in paths for read in (row_digests, image_digests)]
    if (unlabelled := clean / transfer_set.TABLE).is_file():
        parts.append(row_digests(unlabelled, "text"))
    parts += [
        row_digests(storage.of_task(clean, name) / "train.parquet", "text") for name in storage.tasks(clean)
    ]
    return sorted({digest for part in parts for digest in part})


def _texts(path: Path) -> Iterator[list[list[str]]]:
    """Yield the texts of a table, and the second ones of pairs, in portions."""
    for batch in _batches(path, text_pairs.columns(path), PORTION["text"]):
        yield [*text_pairs.sides(batch)]


def _batches(path: Path, columns: list[str], portion: int) -> Iterator[Any]:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
        yield from file.iter_batches(portion, columns=columns)
