"""Read raw image tables into rows for the checks, and copy the images to `data/clean/`, in two passes.

The first pass decodes every image, in threads: the text of a row is the digest of its pixels, so exact copies
are found regardless of their encoding. The second copies the encoded images of the remaining rows. Neither
pass keeps the images in memory.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from baton import console, params
from baton.errors import DataError
from baton.images import decoding, pillow
from baton.images.bit_depth import BITS_16
from baton.streams import ahead
from baton.tables import image_tables, near_images
from baton.tables.checks import SURROGATE
from baton.tables.image_samples import Sample, batches
from baton.tables.image_tables import CleanImage, Writer
from baton.tables.near_duplicates import Near
from baton.tables.near_images import Print, fingerprint
from baton.tables.rows import Cell, RawTable, Row, one_name
from baton.tables.target_cells import TargetCells

CHECKS = ("unreadable", "enormous", "misnamed", "animated", "transparent")  # of single images, in this order
CAMERA_BITS = (8, 10, 12, 14, 16)


class Seen(NamedTuple):
    """The result of decoding an image."""

    digest: str
    format: str
    notes: tuple[str, ...]
    found: dict[str, str]  # check -> reason
    warnings: tuple[str, ...]
    greatest: int = 0  # see decoding.DecodedImage
    print: Print | None = None


@dataclass
class ImageTable(RawTable):
    """The rows of one raw file; their text is the digest of the pixels, empty if there are none."""

    # Check -> row id -> reason.
    found: dict[str, dict[str, str]] = field(default_factory=lambda: {check: {} for check in CHECKS})
    formats: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    warnings: dict[str, str] = field(default_factory=dict)  # row id -> Pillow's messages
    greatest: int = 0  # over all images
    bits: int = BITS_16  # used to decode the images
    prints: dict[str, Print] = field(default_factory=dict)  # digest -> print, to find near-duplicates

    def decoded(self) -> dict[str, Any]:
        """Return counts of the decoded images for the report."""
        deep = {"significant_bits": self.bits} if self.greatest else {}
        return {"formats": dict(self.formats), "notes": dict(self.notes), "warnings": self.warnings} | deep


def read_all(
    paths: Mapping[str, Path],
    settings: params.ImagePreprocess,
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
    settings: params.ImagePreprocess,
    bits: int = BITS_16,
    read_label: Callable[[Any], Cell | str] = one_name,
) -> ImageTable:
    """Decode every image of one raw file; `bits` is how many of 16 bits are used.

    Raises:
        DataError: The file is not a Parquet table, is damaged, has no rows, or lacks a column.
    """
    table = ImageTable(split, path, read_label, bits=bits)
    rows = image_tables.count(path)
    if not rows:
        raise DataError(
            f"{path} has no rows",
            got="0 rows",
            expected="images and labels",
            hint="check the file that `source` names",
        )
    look = partial(_look_at_all, max_pixels=settings.max_pixels, bits=bits)
    threads = len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        advance = stack.enter_context(console.progress(f"decode {split}", rows, "images"))
        stack.enter_context(pillow.listening())  # once, not for every image
        pool = ThreadPoolExecutor(threads)
        stack.callback(pool.shutdown, cancel_futures=True)  # an interrupt does not wait for the queue
        for samples, seen in ahead(pool, look, batches(path, split, settings), 2 * threads):
            for sample, one in zip(samples, seen, strict=True):
                _add(table, sample, one)
            advance(len(samples))
    return table


def single_checks(tables: Iterable[RawTable]) -> dict[str, Callable[[list[Row]], dict[str, str]]]:
    """Return the checks of single images, like `checks.ROW_CHECKS`; they report faults found in reading."""
    ours = [table for table in tables if isinstance(table, ImageTable)]
    return {
        check: partial(_found, {id_: reason for table in ours for id_, reason in table.found[check].items()})
        for check in CHECKS
    }


def near_duplicates(tables: Iterable[RawTable], rows: list[Row]) -> Near:
    """Return the near-duplicates among the images of `rows`, by digest."""
    known = {
        digest: one
        for table in tables
        if isinstance(table, ImageTable)
        for digest, one in table.prints.items()
    }
    return near_images.images({row.text: known[row.text] for row in rows if row.text in known})


def write(
    folder: Path,
    tables: Iterable[RawTable],
    parts: Mapping[str, list[Row]],
    names: list[str],
    settings: params.ImagePreprocess,
    cells: TargetCells,
) -> None:
    """Write `folder`/{split}.parquet for each of `parts`, whose rows are in the order of the raw files.

    Args:
        folder: The target folder.
        tables: The raw files.
        parts: Split -> its rows.
        names: The names of the task; a label is written as their indexes.
        settings: Names the columns of the raw files.
        cells: How a label is written.
    """
    bits = next((table.bits for table in tables if isinstance(table, ImageTable)), BITS_16)
    places = {name: place for place, name in enumerate(names)}
    column = (cells.spec(names).column, cells.type())
    target = {row.id: (split, row) for split, rows in parts.items() for row in rows}
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(Writer(folder / f"{split}.parquet", CleanImage, bits, column))
            for split in parts
        }
        advance = stack.enter_context(console.progress("write", len(target), "images"))
        for table in tables:
            samples = (sample for batch in batches(table.path, table.split, settings) for sample in batch)
            for number, sample in enumerate(samples, start=1):
                split, row = target.get(f"{table.split}:{number}", ("", None))
                if row:
                    label = cells.target(row.label, places)
                    assert not isinstance(label, str), "params refuse texts as targets of images"
                    writers[split].add(CleanImage(row.id, sample.name, sample.image, row.text, label))
                    advance(1)


# ---- decoding ----------------------------------------------------------------------------------------------


def _look_at_all(samples: list[Sample], max_pixels: int, bits: int) -> tuple[list[Sample], list[Seen]]:
    return samples, [_look(sample, max_pixels, bits) for sample in samples]


def _look(sample: Sample, max_pixels: int, bits: int) -> Seen:
    if sample.problem:
        return Seen("", "", (), {}, ())
    try:
        decoded = decoding.decode(sample.image, max_pixels, bits)
    except decoding.UndecodableError as error:
        return Seen("", "", (), {error.check: str(error)}, ())
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


def _add(table: ImageTable, sample: Sample, seen: Seen) -> None:
    label = table.read_label(sample.label)
    if sample.problem:
        table.reject(f"{sample.name}: {sample.problem}", sample.label)
    elif isinstance(label, Cell) and SURROGATE.search(label.label):
        table.reject(f"{sample.name}: its label is no UTF-8")
    else:
        id_ = f"{table.split}:{table.count + 1}"
        table.add(seen.digest, sample.label)
        if id_ in table.malformed:
            return
        for check, reason in seen.found.items():
            table.found[check][id_] = f"{sample.name}: {reason}"
        if seen.format:
            table.formats[seen.format] += 1
            table.notes.update(seen.notes)
            table.greatest = max(table.greatest, seen.greatest)
        if seen.print:
            table.prints[seen.digest] = seen.print
        if seen.warnings:
            table.warnings[id_] = "; ".join(seen.warnings)


def _found(reasons: dict[str, str], rows: list[Row]) -> dict[str, str]:
    return {row.id: reasons[row.id] for row in rows if row.id in reasons}
