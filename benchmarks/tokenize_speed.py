"""Compare our tokenizing, from Parquet to memory-mapped arrays, with the bare `tokenizers` library.

The bare side has all texts in memory before its clock starts, encodes them in chunks with `encode_batch_fast`
on all cores and discards the results. Ours is `baton.arrays.text_arrays.tokenize`, all of the `tokenize`
stage's work: it reads the table, encodes, counts what is cut off and writes token ids, offsets, labels and
row ids. Both truncate at the recipe's length and read the same documents, made from the project's training
texts: the first part of one, the rest of another. Every measurement has a new process, whose peak memory is
its own.

    python -m benchmarks.tokenize_speed [--project FOLDER] [--documents N …] [--repeats N]
"""

import functools
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from baton import console, params
from baton.arrays import text_arrays
from baton.contracts import task_spec
from baton.contracts.task_spec import TaskSpec
from baton.texts import document_windows
from benchmarks import _sides

ROW_GROUP = 4096  # as preprocess writes it
WARM_UP = 200  # documents
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("label", pa.int32())])


@dataclass(frozen=True)
class Measured:
    """One run of one side."""

    rate: float  # documents per second
    processor: float  # seconds, summed over all threads
    memory: int  # bytes, peak


def main(arguments: Sequence[str] | None = None) -> None:
    """Print rates, ratio and peak memory for each number of documents."""
    parser = _sides.parser(__doc__, 3)
    parser.add_argument("--params", type=Path, help="a recipe (default: the project's params.yaml)")
    counts = [10_000, 100_000, 1_000_000]
    parser.add_argument(
        "--documents",
        type=int,
        nargs="+",
        default=counts,
        help="document counts; a million takes two minutes per run (default: 10000 100000 1000000)",
    )
    options = parser.parse_args(arguments)
    _sides.require(options.project, "data/clean/train.parquet", "data/base/tokenizer.json")
    settings = params.load("tokenize", path=options.params or options.project / "params.yaml").tokenize
    task, rows = task_spec.read_file(options.project / "data/clean"), []
    for count in options.documents:
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "train.parquet"
            console.say(f"writing {count:,} documents")
            write(table, options.project / "data/clean/train.parquet", count, options.seed)
            job = (table, options.project / "data/base", settings.max_length, settings.chunk_size)
            sides = {"bare": functools.partial(bare, *job), "ours": functools.partial(ours, *job, task)}
            with _sides.processes(sides, fresh=True) as measures:
                results = _sides.take_turns(measures, options.repeats, shown)
            rows.append(row(count, table.stat().st_size, results))
    print(
        f"\n{_sides.machine('tokenizers', 'pyarrow')}; at most {settings.max_length} tokens, chunks of "
        f"{settings.chunk_size} documents"
    )
    columns = [
        "documents",
        "table, MB",
        "ours, documents/s",
        "bare, documents/s",
        "ratio",
        "ours, peak MiB",
        "bare, peak MiB",
    ]
    _sides.markdown(columns, rows)


def bare(table: Path, base: Path, max_length: int, chunk_size: int) -> Measured:
    """Measure the library alone, with texts in memory."""
    tokenizer = document_windows.open_tokenizer(base, max_length)
    texts: list[str] = pq.read_table(table, columns=["text"])["text"].to_pylist()
    tokenizer.encode_batch_fast(texts[:WARM_UP])
    start, processor = time.perf_counter(), time.process_time()
    for begin in range(0, len(texts), chunk_size):
        tokenizer.encode_batch_fast(texts[begin : begin + chunk_size])
    return Measured(
        len(texts) / (time.perf_counter() - start), time.process_time() - processor, _sides.peak_memory()
    )


def ours(table: Path, base: Path, max_length: int, chunk_size: int, task: TaskSpec) -> Measured:
    """Measure the stage's code, from the table to the arrays."""
    tokenizer = document_windows.open_tokenizer(base, max_length)
    tokenizer.encode_batch_fast(
        pq.ParquetFile(table).read_row_group(0, ["text"])["text"].to_pylist()[:WARM_UP]
    )
    with tempfile.TemporaryDirectory(dir=table.parent) as folder:
        start, processor = time.perf_counter(), time.process_time()
        report = text_arrays.tokenize(table, tokenizer, Path(folder), chunk_size, lambda count: None, task)
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        assert len(text_arrays.open_arrays(Path(folder), table.stem, task)) == report["documents"]
    return Measured(report["documents"] / seconds, processor, _sides.peak_memory())


def write(target: Path, source: Path, count: int, seed: int) -> None:
    """Write a table of `count` documents made from those of `source`, as `preprocess` would."""
    originals: list[str] = pq.read_table(source, columns=["text"])["text"].to_pylist()
    documents = mixed(originals, random.Random(seed))  # noqa: S311  not for secrets
    with pq.ParquetWriter(target, SCHEMA) as writer:
        for start in range(0, count, ROW_GROUP):
            numbers = range(start, min(start + ROW_GROUP, count))
            columns = (
                [f"train:{number + 1}" for number in numbers],
                [next(documents) for _ in numbers],
                [0 for _ in numbers],
            )
            writer.write_table(pa.table(list(map(pa.array, columns)), names=SCHEMA.names).cast(SCHEMA))


def mixed(originals: Sequence[str], draw: random.Random) -> Iterator[str]:
    """Yield the first share of one text and the rest of another, cut between words, without end."""
    while True:
        first, second, share = draw.choice(originals), draw.choice(originals), draw.random()
        yield first[: _cut(first, share)] + second[_cut(second, share) :]


def row(count: int, size: int, results: dict[str, list[Measured]]) -> list[str]:
    """Return one line of the table."""
    rates = {name: [run.rate for run in runs] for name, runs in results.items()}
    memory = {name: max(run.memory for run in runs) / 2**20 for name, runs in results.items()}
    shown_rates = [_sides.spread(rates[name], "{:,.0f}") for name in ("ours", "bare")]
    shown_memory = [f"{memory[name]:,.0f}" for name in ("ours", "bare")]
    return [
        f"{count:,}",
        f"{size / 1e6:,.0f}",
        *shown_rates,
        _sides.ratio(rates["ours"], rates["bare"]),
        *shown_memory,
    ]


def shown(run: Measured) -> str:
    """Return one measurement as a line of progress."""
    return (
        f"{run.rate:,.0f} documents/s, {run.processor:,.1f} s of processor time, peak "
        f"{run.memory / 2**20:,.0f} MiB"
    )


def _cut(document: str, share: float) -> int:
    found = document.find(" ", int(share * len(document)))
    return len(document) if found < 0 else found


if __name__ == "__main__":
    console.run(main)
