"""A check, before `tokenize` writes any pixels, that the disk has room for them.

Input: the clean tables and the model's input. Output: an upper bound on the bytes needed, or an error that
names the settings to lower.
"""

import configparser
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from baton.contracts.input_spec import AudioInput, ImageInput
from baton.errors import OutputError
from baton.images import opening, pillow
from baton.images.framing import Framing, framing

INDEX_BYTES = 64  # per image in shapes, offsets, labels and ids
DVC = (Path(".dvc/config"), Path(".dvc/config.local"))
CHUNK = 64  # images held in memory while their headers are read


def check(tables: Sequence[Path], reads: ImageInput | AudioInput, target: Path) -> int:
    """Return the most bytes that the arrays of these tables, including DVC's copy, can take.

    If full canvases fit, the result is their size; only if they do not is the size of each image read from
    its header.

    Args:
        tables: every `{split}.parquet` whose arrays will be written.
        reads: the model's input.
        target: the folder the arrays will be written to; it need not exist.

    Raises:
        OutputError: If the disk has less free space than that.
    """
    sound = isinstance(reads, AudioInput)
    frame = framing(reads.picture if isinstance(reads, AudioInput) else reads)
    free = shutil.disk_usage(
        next(folder for folder in (target.absolute(), *target.absolute().parents) if folder.exists())
    ).free
    rows: dict[str, int] = {table.stem: pq.ParquetFile(table).metadata.num_rows for table in tables}
    count = sum(rows.values())
    parts = reads.parts if isinstance(reads, AudioInput) else 1  # of val and test
    copies = _copies()
    stored = sum(many * (1 if split == "train" else parts) for split, many in rows.items())
    needed = copies * (stored * _bytes(frame, *frame.canvas) + count * INDEX_BYTES)
    if needed > free and not sound:
        needed = copies * (count * INDEX_BYTES + sum(_from_headers(table, frame) for table in tables))
    if needed > free:
        where = ", here and in DVC's cache" if copies > 1 else ""
        what = "clips" if sound else "images"
        got, expected = f"{free:,} bytes free", f"{needed:,} bytes: {count:,} {what}{where}"
        lower = _smaller(reads)
        hint = (
            "free some space (`dvc config cache.dir` moves DVC's copy), "
            f"or {', '.join(lower)} or set preprocess.limit.train"
        )
        raise OutputError(
            f"the disk of {target} has no room for the arrays", got=got, expected=expected, hint=hint
        )
    return needed


def _smaller(reads: ImageInput | AudioInput) -> list[str]:
    """Return what may be changed for smaller arrays."""
    if isinstance(reads, AudioInput):
        return [f"lower tokenize.seconds (now {reads.seconds}) or tokenize.bands (now {reads.bands})"]
    lower = [f"lower tokenize.size (now {' x '.join(map(str, reads.size))})"]
    lower += ["set tokenize.channels to 1"] if reads.channels > 1 else []
    if reads.crop_fraction < 1:
        lower.append(f"raise tokenize.crop_fraction (now {reads.crop_fraction})")
    return lower


def _copies() -> int:
    """Return how many copies of an output the disk holds.

    DVC copies an output to its cache, unless its config sets the cache's folder or its link type.
    """
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read(DVC)
    return 1 if any(config.has_option("cache", key) for key in ("dir", "type")) else 2


def _from_headers(table: Path, frame: Framing) -> int:
    """Return the bytes of the pixels, from the images' headers alone."""
    total = 0
    # Otherwise Pillow warns about large images, whose size preprocess has already checked.
    with pillow.listening():
        for batch in pq.ParquetFile(table).iter_batches(batch_size=CHUNK, columns=["image"]):
            total += sum(_stored_bytes(content.as_py(), frame) for content in batch["image"])
    return total


def _stored_bytes(content: bytes, frame: Framing) -> int:
    width, height = opening.size(content)
    return max(_bytes(frame, height, width), _bytes(frame, width, height))  # EXIF may rotate it


def _bytes(frame: Framing, height: int, width: int) -> int:
    stored = frame.stored_shape(height, width)
    return stored[0] * stored[1] * frame.channels
