"""Whether a disk has room for the pixels that `tokenize` is about to write, before it writes any.

Input: the clean tables and the model's input. Output: the bytes needed at most, or a refusal that names what to lower.
"""

import configparser
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from baton.errors import OutputError
from baton.images import opening, pillow
from baton.images.framing import Framing, framing

INDEX_BYTES = 64  # of an image in shapes, offsets, labels and ids
DVC = (Path(".dvc/config"), Path(".dvc/config.local"))
CHUNK = 64  # pictures whose bytes are in memory while headers are read


def check(tables: Sequence[Path], described: dict[str, Any], target: Path) -> int:
    """The bytes that the arrays of these tables, with DVC's copy of them, take at most.

    It is what full canvases would take if that fits; only if it does not, the size of each picture is read from its header.

    Args:
        tables: `{split}.parquet`, all that will be written.
        described: the model's input, from `framing.describe`.
        target: the folder they will be written to; it need not exist.

    Raises:
        OutputError: there is less room than that.
    """
    frame = framing(described)
    free = shutil.disk_usage(
        next(folder for folder in (target.absolute(), *target.absolute().parents) if folder.exists())
    ).free
    count: int = sum(pq.ParquetFile(table).metadata.num_rows for table in tables)
    copies = _copies()
    needed = copies * count * (_bytes(frame, *frame.canvas) + INDEX_BYTES)
    if needed > free:
        needed = copies * (count * INDEX_BYTES + sum(_from_headers(table, frame) for table in tables))
    if needed > free:
        where = ", here and in DVC's cache" if copies > 1 else ""
        got, expected = f"{free:,} bytes free", f"{needed:,} bytes: {count:,} images{where}"
        lower = [f"lower tokenize.size (now {' x '.join(map(str, described['size']))})"]
        lower += ["set tokenize.channels to 1"] if described["channels"] > 1 else []
        lower += (
            [f"raise tokenize.crop_fraction (now {described['crop_fraction']})"]
            if described["crop_fraction"] < 1
            else []
        )
        hint = f"free some space (`dvc config cache.dir` moves DVC's copy), or {', '.join(lower)} or set preprocess.limit.train"
        raise OutputError(
            f"the disk of {target} has no room for the pixels", got=got, expected=expected, hint=hint
        )
    return needed


def _copies() -> int:
    """How often an output lies on the disk: DVC copies it to its cache, unless its config says where that is, or how it links."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read(DVC)
    return 1 if any(config.has_option("cache", key) for key in ("dir", "type")) else 2


def _from_headers(table: Path, frame: Framing) -> int:
    """Bytes of the pixels, from the pictures' headers alone."""
    total = 0
    with (
        pillow.listening()
    ):  # else Pillow warns of large pictures; how large they may be, preprocess has decided
        for batch in pq.ParquetFile(table).iter_batches(batch_size=CHUNK, columns=["image"]):
            total += sum(_stored_bytes(content.as_py(), frame) for content in batch["image"])
    return total


def _stored_bytes(content: bytes, frame: Framing) -> int:
    width, height = opening.size(content)
    return max(_bytes(frame, height, width), _bytes(frame, width, height))  # EXIF may turn it


def _bytes(frame: Framing, height: int, width: int) -> int:
    stored = frame.stored_shape(height, width)
    return stored[0] * stored[1] * frame.channels
