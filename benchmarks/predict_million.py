"""`baton predict` on a million texts: killed and not, its memory, and its rate beside transformers' pipeline.

A table is made from the project's texts: the first part of one, the rest of another (`--words` shortens
them). One job predicts it without a stop, another is killed three times and started again: their outputs must
have the same bytes and all rows in order. Then both sides predict a sample in turns. `pipeline(
"text-classification")` has its best batch size and dtype, found by trying, and the weights of the model's
encoder with an untrained classifier, since it cannot load other heads; the work is the same. Ours is the
whole job but for the start of its process: it reads CSV, predicts, writes parts and joins them.

    python -m benchmarks.predict_million MODEL [--project FOLDER] [--rows N] [--work FOLDER]

MODEL is a folder of a logged model: what `baton verify MODEL --out FOLDER` has written.
"""

import contextlib
import csv
import functools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from baton import console, storage, tracking
from baton.errors import ModelError
from baton.lifecycle.bulk import launch
from baton.lifecycle.bulk.settings import Options
from benchmarks import _sides

DTYPES = ("float32", "bfloat16")
BATCH_SIZES = (1, 4, 8, 16, 32, 64)
WARM_UP = 64  # rows
KILLS = (0.2, 0.5, 0.8)  # after this share of the parts
MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """One run of one side over the sample."""

    rows: int
    seconds: float

    @property
    def rate(self) -> float:
        """Return rows per second."""
        return self.rows / self.seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what came out."""
    parser = _sides.parser(__doc__, 3)
    parser.add_argument("model", type=Path, help="the folder of a logged model of texts")
    parser.add_argument("--rows", type=int, default=1_000_000, help="default 1,000,000")
    parser.add_argument("--words", type=int, help="of each text (default: all)")
    parser.add_argument("--sample", type=int, default=2048, help="rows for the comparison (default 2048)")
    parser.add_argument("--trial", type=int, default=256, help="rows to choose batch size and dtype by")
    parser.add_argument("--work", type=Path, help="a folder to keep (default: a temporary one)")
    parser.add_argument("--threads", type=int, default=launch.processors())
    options = parser.parse_args(arguments)
    _sides.require(options.project, "data/clean/train.parquet")
    with tempfile.TemporaryDirectory() as name:
        work = (options.work or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        model = options.model.resolve()
        table, sample = work / "rows.csv", work / "sample.csv"
        texts = read_texts(options.project, options.words)
        write(table, texts, options.rows, options.seed)
        write(sample, texts, options.sample, options.seed + 1)
        if options.rows:
            large(table, work, model, options.rows, options.threads)
        if options.repeats:
            compare(sample, work, model, options)


def read_texts(project: Path, words: int | None) -> list[str]:
    """Return the texts of train, each shortened to so many words."""
    whole = pq.read_table(project / "data/clean/train.parquet", columns=["text"])["text"].to_pylist()
    return [" ".join(text.split()[:words]) for text in whole]


def write(path: Path, texts: Sequence[str], count: int, seed: int) -> None:
    """Write `count` texts, made from the halves of two each, with ids."""
    draw = random.Random(seed)  # noqa: S311
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        for row in range(count):
            first, second = draw.choice(texts).split(), draw.choice(texts).split()
            text = " ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])
            rows.writerow([f"r{row}", text or "nothing"])


# ---- a million rows ----------------------------------------------------------------------------------------


def large(table: Path, work: Path, model: Path, rows: int, threads: int) -> None:
    """Run one job without a stop and one that is killed, and compare their outputs."""
    start = time.perf_counter()
    whole, killed = work / "whole.csv", work / "killed.csv"
    status, peak = finished(started(model, table, whole, threads))
    seconds = time.perf_counter() - start
    assert status == 0, status
    peaks = [peak]
    total = -(-rows // 4096)
    for share in KILLS:
        process = started(model, table, killed, threads)
        while len([*killed.with_name("killed.csv.parts").glob("part-*")]) < share * total:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.2)
        peaks.append(peak_memory(process.pid))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    status, peak = finished(started(model, table, killed, threads))
    peaks.append(peak)
    assert status == 0, status
    same = storage.sha256(whole) == storage.sha256(killed)
    print(f"\n{_sides.machine('torch', 'transformers')}; {rows:,} rows, {threads} threads")
    print(f"without a stop: {seconds:,.0f} s with the start of the process, {rows / seconds:,.1f} rows/s")
    print(f"killed {len(KILLS)} times: {'the same bytes' if same else 'OTHER BYTES'}")
    print(f"rows in order: {'all' if in_order(killed, rows) else 'NOT ALL'}")
    print(f"peak memory of a process: {max(peaks) / MIB:,.0f} MiB (asked: below 1,024)")


def started(model: Path, source: Path, out: Path, threads: int) -> "subprocess.Popen[bytes]":
    """Start a job as `baton predict` does."""
    job = Options(str(model), str(source), str(out))
    environment = launch.environment(os.environ, out.parent, threads)
    return subprocess.Popen(launch.command(job), env=environment, stdout=subprocess.DEVNULL)


def finished(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Wait for a process; return its status, negative for a signal, and its peak memory in bytes."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_memory(process.pid))
        time.sleep(0.05)
    return process.returncode, peak


def peak_memory(process: int) -> int:
    """Return the peak of a process so far; that of `wait4` would be its parent's, if that had more."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def in_order(path: Path, rows: int) -> bool:
    """Return whether an output has the answers of all rows, one after the other, without an error."""
    with path.open(encoding="utf-8", newline="") as file:
        found = csv.DictReader(file)
        good = (
            line["row"] == str(place + 1)
            and line["id"] == f"r{place}"
            and not line["error"]
            and line["label"]
            for place, line in enumerate(found)
        )
        count = 0
        for own in good:
            if not own:
                return False
            count += 1
    return count == rows


# ---- beside the pipeline -----------------------------------------------------------------------------------


def compare(sample: Path, work: Path, model: Path, options: Any) -> None:
    """Print the rates of both sides on the sample, and the ratio."""
    prepare(model, work / "pipeline")
    pipe = functools.partial(pipeline, sample, work / "pipeline", options.threads, read_length(model))
    trials = {dtype: functools.partial(_trials, pipe, dtype, options.trial) for dtype in DTYPES}
    with _sides.processes(trials) as measures:
        rates = {(dtype, size): own for dtype in DTYPES for size, own in measures[dtype]().items()}
    dtype, size = max(rates, key=lambda key: rates[key])
    _sides.markdown(
        ["pipeline, rows/s", *map(str, BATCH_SIZES)],
        [[name, *(f"{rates[name, own]:.1f}" for own in BATCH_SIZES)] for name in DTYPES],
    )
    sides = {
        "pipeline": functools.partial(pipe, dtype, size, None),
        "ours": functools.partial(ours, sample, work, model, options.threads, "auto"),
        "ours, fp32": functools.partial(ours, sample, work, model, options.threads, "fp32"),
    }
    with _sides.processes(sides) as measures:
        results = _sides.take_turns(measures, options.repeats, lambda own: f"{own.rate:,.1f} rows/s")
    theirs = [own.rate for own in results["pipeline"]]
    rows = [[f"pipeline, {dtype}, batches of {size}", _sides.spread(theirs), "1"]]
    for name in ("ours", "ours, fp32"):
        own = [run.rate for run in results[name]]
        rows.append([name, _sides.spread(own), _sides.ratio(own, theirs)])
    _sides.markdown(["", "rows/s", "ratio"], rows)


def prepare(model: Path, folder: Path) -> None:
    """Write the model's encoder with an untrained classifier as the pipeline reads it."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from baton.contracts import saved_weights

    source = _folder(model)
    config = AutoConfig.from_pretrained(source, local_files_only=True)
    config.num_labels = len(storage.read_json(source / "baton.json")["task"]["names"])
    theirs = AutoModelForSequenceClassification.from_config(config)
    weights, _ = saved_weights.read(source, theirs.device)
    missing = theirs.base_model.load_state_dict(weights, strict=False).missing_keys
    assert all(name.startswith("pooler.") for name in missing), missing
    theirs.save_pretrained(folder)
    for path in source.glob("*token*"):
        (folder / path.name).write_bytes(path.read_bytes())


def read_length(model: Path) -> int:
    """Return how many tokens of a text the model reads."""
    return int(storage.read_json(_folder(model) / "baton.json")["input"]["max_length"])


def _folder(model: Path) -> Path:
    found = sorted(model.glob("artifacts/**/baton.json"))
    if not found:
        hint = "name the folder of a model that Baton has logged"
        raise ModelError(f"{model} has no baton.json", expected="a logged model", hint=hint)
    return found[0].parent


def pipeline(
    sample: Path, folder: Path, threads: int, length: int, dtype: str, size: int, count: int | None
) -> Measured:
    """Run transformers' pipeline over texts in memory."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    texts = [*_texts(sample)][:count]
    made: Any = transformers.pipeline(
        "text-classification", str(folder), dtype=getattr(torch, dtype), device="cpu"
    )
    how = {"batch_size": size, "truncation": True, "max_length": length}
    made(texts[:WARM_UP], **how)
    start = time.perf_counter()
    made(texts, **how)
    return Measured(len(texts), time.perf_counter() - start)


def _trials(pipe: Any, dtype: str, count: int) -> dict[int, float]:
    return {size: max(pipe(dtype, size, count).rate for _ in range(2)) for size in BATCH_SIZES}


def ours(sample: Path, work: Path, model: Path, threads: int, precision: str) -> Measured:
    """Run a job over the sample with a loaded model, from CSV to CSV."""
    tracking.prepare()
    import torch

    from baton.lifecycle.bulk import job
    from baton.lifecycle.bulk.answering import Answerer

    torch.set_num_threads(threads)
    loaded = Answerer(model, precision, None)
    texts = [*_texts(sample)]
    loaded.model.predict(texts[:WARM_UP])
    with tempfile.TemporaryDirectory(dir=work) as name:
        start = time.perf_counter()
        job.run(Options(str(model), str(sample), str(Path(name, "out.csv")), precision=precision), loaded)
        return Measured(len(texts), time.perf_counter() - start)


def _texts(sample: Path) -> Iterator[str]:
    with sample.open(encoding="utf-8", newline="") as file:
        yield from (line["text"] for line in csv.DictReader(file))


if __name__ == "__main__":
    console.run(lambda: main(sys.argv[1:]))
