"""Read raw tables of encoded files into rows for the checks, and copy the files to `data/clean/`.

What is the same for images and sound is here, in two passes. The first decodes every file, in threads: the
text of a row is the digest of what was decoded, so exact copies are found regardless of their encoding. The
second copies the files of the remaining rows. Neither pass keeps the files in memory.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from baton import console, params, processors
from baton.contracts.task_spec import TaskSpec
from baton.errors import DataError
from baton.images.bit_depth import BITS_16
from baton.streams import ahead
from baton.tables import image_tables, near_images
from baton.tables.checks import SURROGATE
from baton.tables.image_samples import Sample, batches
from baton.tables.image_tables import CleanImage, Writer
from baton.tables.near_duplicates import Near
from baton.tables.near_images import Print
from baton.tables.row_sets import Rows
from baton.tables.rows import Cell, RawTable, plain
from baton.tables.target_cells import TargetCells


class Seen(NamedTuple):
    """The result of decoding a file; empty if it could not be decoded."""

    digest: str = ""
    format: str = ""
    notes: tuple[str, ...] = ()
    found: Mapping[str, str] = {}  # check -> reason
    warnings: tuple[str, ...] = ()  # the decoder's
    greatest: int = 0  # of images, see decoding.DecodedImage
    print: Print | None = None


@dataclass
class EncodedTable(RawTable):
    """The rows of one raw file; their text is the digest of what was decoded, empty if nothing was."""

    # Check -> row id -> reason.
    found: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    formats: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    warnings: dict[str, str] = field(default_factory=dict)  # row id -> the decoder's messages
    prints: dict[str, Print] = field(default_factory=dict)  # digest -> print, to find near-duplicates

    def decoded(self) -> dict[str, Any]:
        """Return counts of the decoded files for the report."""
        return {"formats": dict(self.formats), "notes": dict(self.notes), "warnings": self.warnings}

    def put(self, sample: Sample, seen: Seen) -> None:
        """Append a row."""
        label = self.read_label(sample.label)
        if sample.problem:
            self.reject(f"{sample.name}: {sample.problem}", sample.label)
        elif isinstance(label, Cell) and SURROGATE.search(label.label):
            self.reject(f"{sample.name}: its label is no UTF-8")
        else:
            id_, caption = f"{self.split}:{self.count + 1}", plain(sample.text)
            if caption is None:
                self.reject(f"{sample.name}: its text is a {type(sample.text).__name__}", sample.label)
                return
            self.add(seen.digest, sample.label)
            if id_ not in self.malformed:
                self.rows[-1].caption = caption
                self.keep(id_, sample.name, seen)

    def keep(self, id_: str, name: str, seen: Seen) -> None:
        """Keep what was seen in the file of a row."""
        for check, reason in seen.found.items():
            self.found[check][id_] = f"{name}: {reason}"
        if seen.format:
            self.formats[seen.format] += 1
            self.notes.update(seen.notes)
        if seen.print:
            self.prints[seen.digest] = seen.print
        if seen.warnings:
            self.warnings[id_] = "; ".join(seen.warnings)


def fill(
    table: EncodedTable, settings: params.FilesPreprocess, look: Callable[[Sample], Seen], noun: str
) -> None:
    """Decode every file of a raw table by `look`, in threads, and append its rows to `table`.

    Raises:
        DataError: The file is not a Parquet table, is damaged, has no rows, or lacks a column.
    """
    rows = image_tables.count(table.path)
    if not rows:
        raise DataError(
            f"{table.path} has no rows",
            got="0 rows",
            expected=f"{noun} and labels",
            hint="check the file that `source` names",
        )
    threads = processors.available()
    with ExitStack() as stack:
        advance = stack.enter_context(console.progress(f"decode {table.split}", rows, noun))
        pool = ThreadPoolExecutor(threads)
        stack.callback(pool.shutdown, cancel_futures=True)  # an interrupt does not wait for the queue
        every = batches(table.path, table.split, settings)
        for samples, seen in ahead(pool, partial(_look_at_all, look), every, 2 * threads):
            for sample, one in zip(samples, seen, strict=True):
                table.put(sample, one)
            advance(len(samples))


def _look_at_all(look: Callable[[Sample], Seen], samples: list[Sample]) -> tuple[list[Sample], list[Seen]]:
    return samples, [Seen() if sample.problem else look(sample) for sample in samples]


def single_checks(
    tables: Iterable[RawTable], names: Iterable[str]
) -> dict[str, Callable[[Rows], dict[str, str]]]:
    """Return the checks of single files, like `checks.ROW_CHECKS`; they report faults found in reading."""
    ours = [table for table in tables if isinstance(table, EncodedTable)]
    return {
        check: partial(
            _found, {id_: reason for table in ours for id_, reason in table.found.get(check, {}).items()}
        )
        for check in names
    }


def _found(reasons: dict[str, str], rows: Rows) -> dict[str, str]:
    return {row.id: reasons[row.id] for row in rows if row.id in reasons}


def near_duplicates(tables: Iterable[RawTable], rows: Rows) -> Near:
    """Return the near-duplicates among the files of `rows`, by digest."""
    known = {
        digest: one
        for table in tables
        if isinstance(table, EncodedTable)
        for digest, one in table.prints.items()
    }
    return near_images.images({row.text: known[row.text] for row in rows if row.text in known})


def write(
    folder: Path,
    tables: Iterable[RawTable],
    parts: Mapping[str, Rows],
    spec: TaskSpec,
    settings: params.FilesPreprocess,
    cells: TargetCells,
    content: str,
    bits: int = BITS_16,
) -> None:
    """Write `folder`/{split}.parquet for each of `parts`, whose rows are in the order of the raw files.

    Args:
        folder: The target folder.
        tables: The raw files.
        parts: Split -> its rows.
        spec: The task; a label is written as indexes of its names.
        settings: Names the columns of the raw files.
        cells: How a label is written.
        content: The column of files, see `image_tables`.
        bits: Of images, how many of 16 bits are used.
    """
    places = {name: place for place, name in enumerate(spec.names)}
    column = (spec.column, cells.type())
    target = {row.id: (split, row) for split, rows in parts.items() for row in rows}
    texts = isinstance(settings, params.ImageTextPreprocess)
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(
                Writer(folder / f"{split}.parquet", CleanImage, bits, column, content=content, texts=texts)
            )
            for split in parts
        }
        advance = stack.enter_context(console.progress("write", len(target), f"{settings.thing}s"))
        for table in tables:
            samples = (sample for batch in batches(table.path, table.split, settings) for sample in batch)
            for number, sample in enumerate(samples, start=1):
                split, row = target.get(f"{table.split}:{number}", ("", None))
                if row:
                    label = cells.target(row.label, places)
                    assert not isinstance(label, str), "params refuse texts as targets of files"
                    words = row.caption if texts else None
                    writers[split].add(CleanImage(row.id, sample.name, sample.image, row.text, label, words))
                    advance(1)
