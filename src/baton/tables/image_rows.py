"""Read raw tables of images into rows for the checks, and copy the images to `data/clean/`.

The two passes are those of `encoded_rows`; here are what is found in an image, and how many of 16 bits are
used.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from baton import console, params
from baton.contracts.task_spec import TaskSpec
from baton.errors import UndecodableError
from baton.images import decoding, pillow
from baton.images.bit_depth import BITS_16
from baton.tables import encoded_rows
from baton.tables.encoded_rows import EncodedTable, Seen
from baton.tables.image_samples import Sample
from baton.tables.image_tables import IMAGE
from baton.tables.near_images import fingerprint
from baton.tables.row_sets import Rows
from baton.tables.rows import Cell, RawTable, one_name
from baton.tables.target_cells import TargetCells

CHECKS = ("unreadable", "enormous", "misnamed", "animated", "transparent")  # of single images, in this order
CAMERA_BITS = (8, 10, 12, 14, 16)


@dataclass
class ImageTable(EncodedTable):
    """The rows of one raw file of images."""

    greatest: int = 0  # over all images
    bits: int = BITS_16  # used to decode the images

    def decoded(self) -> dict[str, Any]:
        """Return counts of the decoded images for the report."""
        return super().decoded() | ({"significant_bits": self.bits} if self.greatest else {})

    def keep(self, id_: str, name: str, seen: Seen) -> None:
        """Keep what was seen in the image of a row."""
        super().keep(id_, name, seen)
        self.greatest = max(self.greatest, seen.greatest)


def read_all(
    paths: Mapping[str, Path],
    settings: params.OfImages,
    read_label: Callable[[Any], Cell | str] = one_name,
) -> list[ImageTable]:
    """Decode every image of the raw files, {split: path} with train first; `read_label` is as in `RawTable`.

    If `significant_bits` is `auto`, use the bits that the greatest value in train needs. If these are fewer
    than 16, decode train again.

    Raises:
        DataError: See `read`.
    """
    wanted = settings.significant_bits
    bits = BITS_16 if wanted == "auto" else wanted
    tables = []
    for split, path in paths.items():
        tables.append(read(path, split, settings, bits, read_label))
        if wanted == "auto" and len(tables) == 1 and tables[0].greatest:
            bits = next(some for some in CAMERA_BITS if tables[0].greatest < 2**some)
            if bits < BITS_16:
                console.say(
                    f"16-bit images of {split} use {bits} bits: their greatest value is {tables[0].greatest}"
                )
                tables = [read(path, split, settings, bits, read_label)]
    return tables


def read(
    path: Path,
    split: str,
    settings: params.OfImages,
    bits: int = BITS_16,
    read_label: Callable[[Any], Cell | str] = one_name,
) -> ImageTable:
    """Decode every image of one raw file; `bits` is how many of 16 bits are used.

    Raises:
        DataError: The file is not a Parquet table, is damaged, has no rows, or lacks a column.
    """
    table = ImageTable(split, path, read_label, bits=bits)
    look = partial(_look, max_pixels=settings.max_pixels, bits=bits)
    with pillow.listening():  # once, not for every image
        encoded_rows.fill(table, settings, look, "images")
    return table


def write(
    folder: Path,
    tables: Iterable[RawTable],
    parts: Mapping[str, Rows],
    spec: TaskSpec,
    settings: params.OfImages,
    cells: TargetCells,
) -> None:
    """Write the clean tables, see `encoded_rows.write`."""
    tables = list(tables)
    bits = next((table.bits for table in tables if isinstance(table, ImageTable)), BITS_16)
    encoded_rows.write(folder, tables, parts, spec, settings, cells, IMAGE, bits)


def _look(sample: Sample, max_pixels: int, bits: int) -> Seen:
    try:
        decoded = decoding.decode(sample.image, max_pixels, bits)
    except UndecodableError as error:
        return Seen(found={error.check: str(error)})
    found = {"misnamed": decoding.misnamed(sample.name, decoded.format)}
    if decoded.frames > 1:
        found["animated"] = f"the first of {decoded.frames} frames is taken"
    if decoded.transparent:
        found["transparent"] = (
            f"all its pixels are transparent ({decoded.format}): there is nothing to see but white"
        )
    reasons = {check: reason for check, reason in found.items() if reason}
    return Seen(
        decoding.digest(decoded.pixels),
        decoded.format,
        decoded.notes,
        reasons,
        decoded.warnings,
        decoded.greatest,
        fingerprint(decoded.pixels),
    )
