"""Rows, seconds and peak memory of `preprocess` and `tokenize` on large tables.

Each table is made from the words of the project's train texts, drawn as often as they occur there: texts of
100 to 600 characters in eight classes, one row in a hundred a copy of an earlier one, one in a hundred a copy
with one word changed. (Of ten parts of the table nine have the words of another one in another order, which
takes less time than drawing.) It is a Parquet file in a project of its own, where the stages run as DVC runs
them. The peak is the resident memory of the stage's process, file pages that it has mapped included.

    python -m benchmarks.large_table [--project FOLDER] [--rows N ...] [--work FOLDER]
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from baton import console, params
from baton.errors import ModelError
from benchmarks import _project, _sides, predict_million

STAGES = ("download", "preprocess", "tokenize")
MEASURED = STAGES[1:]
PART = 50_000  # rows made at a time
LETTERS = (100, 600)  # of a text, without the last word
ORDERS = 10  # in which the words of a part come
CLASSES, COPIES, CHANGED = 8, 0.01, 0.01
ROWS_OF_GROUP = 5
MIB = 2**20


class Measured(NamedTuple):
    """One run of a stage."""

    stage: str
    rows: int
    seconds: float
    processor: float  # seconds of all processors; fewer than `seconds` where others use the machine too
    peak: int  # bytes


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what came out."""
    parser = _sides.parser(__doc__, 1)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="default 1,000,000")
    parser.add_argument("--groups", action="store_true", help="keep the rows of an author in one split")
    parser.add_argument("--stages", nargs="+", choices=MEASURED, default=list(MEASURED))
    parser.add_argument("--work", type=Path, help="a folder to keep (default: a temporary one)")
    options = parser.parse_args(arguments)
    _sides.require(options.project, "data/clean/train.parquet", "data/base")
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as name:
        for rows in options.rows:
            work = (options.work or Path(name)).resolve() / f"rows-{rows}"
            prepare(work, options.project.resolve(), rows, options.seed, options.groups)
            for stage in STAGES:
                if stage in options.stages or not (work / "data" / OUTPUTS[stage]).exists():
                    found.append(run(work, stage, rows))
                    show(found[-1:])
    show([one for one in found if one.stage in MEASURED])


OUTPUTS = {"download": "raw", "preprocess": "clean", "tokenize": "arrays"}


def show(found: list[Measured]) -> None:
    """Print a table of the runs."""
    lines = [
        (
            one.stage,
            f"{one.rows:,}",
            f"{one.seconds:,.1f}",
            f"{one.processor:,.1f}",
            f"{one.rows / one.processor:,.0f}",
            f"{one.peak / MIB:,.0f}",
        )
        for one in found
    ]
    console.table(
        _sides.machine("pyarrow", "tokenizers"),
        ("stage", "rows", "seconds", "processor seconds", "rows per processor second", "peak memory (MiB)"),
        lines,
    )


# ---- the project and its table -----------------------------------------------------------------------------


def prepare(work: Path, project: Path, rows: int, seed: int, groups: bool) -> None:
    """Make a project with a table of so many rows; what is there from an earlier call stays."""
    table = work / "inbox/table.parquet"
    _project.copied(work)
    if not table.is_file():
        unfinished = table.with_suffix(".part")
        write(unfinished, project / "data/clean/train.parquet", rows, seed)
        unfinished.rename(table)
    if not (work / "inbox/base").is_dir():
        shutil.copytree(
            project / "data/base", work / "inbox/base", ignore=shutil.ignore_patterns("manifest.json")
        )
    raw = params.read_raw(work / "recipes/csv.yaml")
    raw["source"]["files"] = {"train": "inbox/table.parquet"}
    raw["base"] = {"kind": "local", "folder": "inbox/base", "licence": "none"}
    raw["preprocess"] |= {
        "format": {"kind": "parquet"},
        "group_column": "author" if groups else None,
    }
    raw["tokenize"] |= {"max_length": 128, "truncation": {"kind": "head"}}
    YAML(typ="safe", pure=True).dump(raw, work / "params.yaml")


def write(path: Path, source: Path, rows: int, seed: int) -> None:
    """Write a table of `rows` texts, their classes and their authors."""
    texts = pq.read_table(source, columns=["text"])["text"].to_pylist()
    counts = Counter(word for text in texts for word in text.split())
    words, weights = np.array(list(counts), object), np.array(list(counts.values()), np.float64)
    draw = np.random.default_rng(seed)
    schema = pa.schema([("text", pa.string()), ("label", pa.string()), ("author", pa.string())])
    drawn: list[str] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for number, start in enumerate(range(0, rows, PART)):
            if number % ORDERS == 0:
                drawn = list(_texts(words, np.cumsum(weights / weights.sum()), min(PART, rows - start), draw))
            some = [_in_order(text, number % ORDERS) for text in drawn[: rows - start]]
            classes = draw.geometric(0.4, len(some)).clip(max=CLASSES)
            authors = draw.integers(0, max(1, rows // ROWS_OF_GROUP), len(some))
            columns = {
                "text": some,
                "label": [f"class {one}" for one in classes],
                "author": [f"a{one}" for one in authors],
            }
            file.write_table(pa.table(columns, schema))


def _in_order(text: str, number: int) -> str:
    """Return a text with its words in one of `ORDERS` orders, of which no two share runs of three words."""
    words, step = text.split(" "), 1 + number // 2
    words = words[:: 1 - 2 * (number % 2)]
    return " ".join([word for first in range(step) for word in words[first::step]])


def _texts(words: Any, shares: Any, count: int, draw: np.random.Generator) -> Iterator[str]:
    """Yield texts; a copy is one of those just made."""
    longest = draw.integers(*LETTERS, count)
    kinds = draw.random(count)
    kept: list[str] = []
    for letters, kind in zip(longest.tolist(), kinds.tolist(), strict=True):
        if kept and kind < COPIES + CHANGED:
            own = kept[int(draw.integers(len(kept)))].split(" ")
            if kind >= COPIES:
                own[int(draw.integers(len(own)))] = "another"
        else:
            drawn = words[
                np.searchsorted(shares, draw.random(LETTERS[1] // 3), side="right").clip(max=len(words) - 1)
            ]
            ends = np.cumsum([len(word) + 1 for word in drawn])
            own = list(drawn[: 1 + int(np.searchsorted(ends, letters))])
        text = " ".join(own)
        kept = [*kept[-999:], text] if len(kept) < 2000 else [text]
        yield text


# ---- running a stage ---------------------------------------------------------------------------------------


def run(work: Path, stage: str, rows: int) -> Measured:
    """Run a stage of a project in a process of its own.

    Raises:
        ModelError: it failed.
    """
    environment = {**os.environ, "BATON_PYTHON": sys.executable, "DVC_ROOT": str(work), "COLUMNS": "200"}
    log, start = work / f"{stage}.log", time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["sh", "stages/run", stage], cwd=work, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        peak, own = 0, 0.0
        while process.poll() is None:
            peak = max(peak, predict_million.peak_memory(process.pid))
            own = max(own, processor_seconds(process.pid))
            time.sleep(0.05)
    if process.returncode:
        raise ModelError(f"{stage} failed", got=log.read_text("utf-8", "replace")[-2000:])
    return Measured(stage, rows, time.perf_counter() - start, own, peak)


def processor_seconds(process: int) -> float:
    """Return the seconds that a process has used processors for; 0 if it is gone."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


if __name__ == "__main__":
    main()
