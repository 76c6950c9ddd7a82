"""Compare our prediction with transformers' `pipeline("text-classification")`: same texts and weights.

The pipeline reads raw texts at its best batch size and dtype, found by trying them on a part of the documents
first. Ours is `baton.predict.predict` on memory-mapped arrays, as the stages call it; its figure is given
with and without the time of tokenizing (a Parquet table is read, arrays are written and opened). The model is
the project's fine-tuned encoder with BERT's own pooler and a classifier, because the pipeline cannot load
mean pooling. Both sides have the same untrained head: the labels mean nothing, but they must agree, and the
work is the same.

    python -m benchmarks.predict_speed [--project FOLDER] [--documents N] [--repeats N]
"""

import functools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from baton import console, params
from baton.errors import ModelError
from baton.texts import document_windows
from benchmarks import _sides

DTYPES = ("float32", "bfloat16")
BATCH_SIZES = (1, 4, 8, 16, 32, 64)
WARM_UP = 32  # documents


@dataclass(frozen=True)
class Job:
    """The inputs of a side: folders in the temporary folder, and how to compute."""

    folder: Path
    max_length: int
    chunk_size: int
    batch_size: int
    runtime: params.Runtime


@dataclass(frozen=True)
class Measured:
    """One run of one side over the same documents."""

    labels: list[int]
    scores: list[float]  # of the labels
    seconds: float  # of everything
    tokenizing: float  # part of `seconds` that ours spends tokenizing; 0 for the pipeline
    memory: int  # bytes, peak so far

    @property
    def rate(self) -> float:
        """Return documents per second."""
        return len(self.labels) / self.seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Print rates and ratios."""
    parser = _sides.parser(__doc__, 5)
    parser.add_argument("--params", type=Path, help="a recipe (default: the project's params.yaml)")
    parser.add_argument("--documents", type=int, default=1024, help="from the test split (default 1024)")
    parser.add_argument(
        "--trial-documents",
        type=int,
        default=192,
        help="how many of them choose batch size and dtype (default 192)",
    )
    parser.add_argument(
        "--huge-pages", action="store_true", help="give the pipeline the launcher's allocator setting too"
    )
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=list(BATCH_SIZES), help="to try for the pipeline"
    )
    options = parser.parse_args(arguments)
    _sides.require(
        options.project,
        "data/clean/test.parquet",
        "data/base/tokenizer.json",
        "models/teacher/model.safetensors",
    )
    loaded = params.load(
        "tokenize", "finetune", "runtime", path=options.params or options.project / "params.yaml"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read = loaded.tokenize
        if not isinstance(read, params.TextTokenize):
            raise ModelError(
                "this benchmark needs texts",
                got=read.kind,
                expected="tokenize.kind: text",
                hint="give --params a text recipe",
            )
        job = Job(folder, read.max_length, read.chunk_size, loaded.finetune.batch_size, loaded.runtime)
        prepare(options.project, folder, options.documents, options.seed)
        dtype, batch_size, trials = best(
            job, options.trial_documents, options.batch_sizes, options.huge_pages
        )
        sides = {
            "pipeline": functools.partial(pipeline, job, dtype, batch_size),
            "pipeline, sorted": functools.partial(pipeline, job, dtype, batch_size, by_length=True),
            "ours": functools.partial(ours, job),
        }
        with _sides.processes(sides, all_launched=options.huge_pages) as measures:
            results = _sides.take_turns(measures, options.repeats, shown)
    allocator = "" if options.huge_pages else ", the pipeline's are not"
    print(
        f"\n{_sides.machine('torch', 'transformers')}; at most {job.max_length} tokens; "
        f"{len(results['ours'][0].labels):,} documents"
    )
    print(f"our tensors are in huge pages, as under the stages' launcher{allocator}")
    _sides.markdown(["pipeline, documents/s", *map(str, options.batch_sizes)], trials)
    report(
        results, f"{dtype}, batches of {batch_size}", f"batches of {job.batch_size}, similar lengths together"
    )


def prepare(project: Path, folder: Path, documents: int, seed: int) -> None:
    """Write the same weights twice (`pipeline/`, `ours/`), and the documents as a table."""
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    from baton.models import model_folder, text_model

    transformers_logging.disable_progress_bar()
    teacher, info = model_folder.load(project / "models/teacher", "sdpa")
    if teacher.backbone.config.model_type != "bert":
        hint = "choose a project whose base model is a BERT"
        raise ModelError(
            "models/teacher has another head in transformers",
            got=teacher.backbone.config.model_type,
            expected="bert",
            hint=hint,
        )
    torch.manual_seed(seed)
    config = teacher.backbone.config
    config.num_labels = info.task.width
    theirs = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    missing = theirs.bert.load_state_dict(teacher.backbone.state_dict(), strict=False).missing_keys
    assert all(name.startswith("pooler.") for name in missing), missing
    theirs.save_pretrained(folder / "pipeline")
    head = params.LinearHead(kind="linear", pooling="pooler", dropout=0.0)
    same = text_model.TextClassifier(theirs.bert, head, info.task.width)
    same.head.output.load_state_dict(theirs.classifier.state_dict())
    model_folder.save(
        same,
        model_folder.ModelInfo(info.task, head, info.input),
        project / "models/teacher",
        folder / "ours",
    )
    for name in model_folder.TOKENIZER_FILES:
        if (project / "models/teacher" / name).is_file():
            (folder / "pipeline" / name).write_bytes((project / "models/teacher" / name).read_bytes())
    table = pq.read_table(project / "data/clean/test.parquet")
    pq.write_table(table.take(_sides.sample(len(table), documents, seed)), folder / "test.parquet")


def best(
    job: Job, documents: int, batch_sizes: Sequence[int], huge_pages: bool
) -> tuple[str, int, list[list[str]]]:
    """Return the pipeline's fastest dtype and batch size on a part of the documents, and the rates of all."""
    rates: dict[tuple[str, int], float] = {}
    trials = {dtype: functools.partial(trial, job, dtype, documents, tuple(batch_sizes)) for dtype in DTYPES}
    with _sides.processes(trials, all_launched=huge_pages) as measures:
        for dtype, measure in measures.items():
            rates |= {(dtype, size): rate for size, rate in measure().items()}
            shown_rates = ", ".join(f"{size}: {rates[dtype, size]:.1f}" for size in batch_sizes)
            console.say(f"pipeline, {dtype}, documents/s by batch size: {shown_rates}")
    dtype, size = max(rates, key=lambda key: rates[key])
    return dtype, size, [[name, *(f"{rates[name, each]:.1f}" for each in batch_sizes)] for name in DTYPES]


def trial(job: Job, dtype: str, documents: int, batch_sizes: Sequence[int]) -> dict[int, float]:
    """Return documents per second by batch size, the better of two runs each."""
    runs = {
        size: [pipeline(job, dtype, size, documents=documents).rate for _ in range(2)] for size in batch_sizes
    }
    return {size: max(rates) for size, rates in runs.items()}


def pipeline(
    job: Job, dtype: str, batch_size: int, documents: int | None = None, by_length: bool = False
) -> Measured:
    """Run transformers' pipeline: raw texts in, labels out.

    `by_length`: the user sorted the texts by length first, which no argument does.
    """
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    machine = _machine(job)
    texts: list[str] = pq.read_table(job.folder / "test.parquet")["text"].to_pylist()[:documents]
    texts = sorted(texts, key=len) if by_length else texts
    made: Any = transformers.pipeline(
        "text-classification",
        str(job.folder / "pipeline"),
        dtype=getattr(torch, dtype),
        device=machine.device,
    )
    arguments = {"batch_size": batch_size, "truncation": True, "max_length": job.max_length}
    made(texts[:WARM_UP], **arguments)
    start = time.perf_counter()
    found = made(texts, **arguments)
    seconds = time.perf_counter() - start
    labels = [made.model.config.label2id[item["label"]] for item in found]
    return Measured(labels, [item["score"] for item in found], seconds, 0.0, _sides.peak_memory())


def ours(job: Job) -> Measured:
    """Go from the table to arrays, and from arrays to labels."""
    from baton.arrays import text_arrays
    from baton.batches.text_batches import TextSplit
    from baton.models import model_folder
    from baton.predict import predict

    machine = _machine(job)
    model, info = model_folder.load(job.folder / "ours", machine.attention)
    model.to(machine.device)
    tokenizer = document_windows.open_tokenizer(job.folder / "ours", job.max_length)
    with tempfile.TemporaryDirectory(dir=job.folder) as name:
        for warm in (True, False):
            start = time.perf_counter()
            text_arrays.tokenize(
                job.folder / "test.parquet",
                tokenizer,
                Path(name),
                job.chunk_size,
                lambda count: None,
                info.task,
            )
            tokenizing = time.perf_counter() - start
            arrays = text_arrays.open_arrays(Path(name), "test", info.task)
            split = TextSplit(first(arrays, WARM_UP) if warm else arrays, info.input.pad)
            logits = predict(model, split, machine, job.batch_size)
            scores = np.exp(logits - logits.max(1, keepdims=True))
            scores /= scores.sum(1, keepdims=True)
            labels = scores.argmax(1).tolist()
            seconds = time.perf_counter() - start
    return Measured(labels, scores.max(1).tolist(), seconds, tokenizing, _sides.peak_memory())


def first(arrays: Any, count: int) -> Any:
    """Return the first documents of a split."""
    count = min(count, len(arrays))
    return type(arrays)(
        arrays.tokens[: arrays.offsets[count]],
        arrays.offsets[: count + 1],
        arrays.targets.part(np.arange(count)),
    )


def report(results: dict[str, list[Measured]], theirs: str, how: str) -> None:
    """Print the table, and how often both sides chose the same label."""
    pipeline_rates = [run.rate for run in results["pipeline"]]
    sorted_rates = [run.rate for run in results["pipeline, sorted"]]
    counted = [run.rate for run in results["ours"]]
    alone = [len(run.labels) / (run.seconds - run.tokenizing) for run in results["ours"]]
    memory = {name: f"{max(run.memory for run in runs) / 2**20:,.0f}" for name, runs in results.items()}
    rows = [
        [f"pipeline ({theirs})", _sides.spread(pipeline_rates), "1", memory["pipeline"]],
        [
            f"ours, including tokenizing ({how})",
            _sides.spread(counted),
            _sides.ratio(counted, pipeline_rates),
            memory["ours"],
        ],
        ["ours, from arrays", _sides.spread(alone), _sides.ratio(alone, pipeline_rates), memory["ours"]],
        [
            "for orientation: pipeline, texts sorted by the user",
            _sides.spread(sorted_rates),
            _sides.ratio(sorted_rates, pipeline_rates),
            memory["pipeline, sorted"],
        ],
    ]
    _sides.markdown(["", "documents/s", "ratio", "peak MiB"], rows)
    one, other = results["ours"][0], results["pipeline"][0]
    same = np.mean(np.array(one.labels) == np.array(other.labels))
    apart = np.abs(np.array(one.scores) - np.array(other.scores)).max()
    print(f"\nthe same label on {same:.1%} of the documents; its probability differs by at most {apart:.4f}")


def shown(run: Measured) -> str:
    """Return one measurement as a line of progress."""
    return f"{run.rate:,.1f} documents/s"


def _machine(job: Job) -> Any:
    """Return our runtime, which sets the number of threads for both sides."""
    from baton.runtime import resolve

    return resolve.resolve(job.runtime)


if __name__ == "__main__":
    console.run(main)
