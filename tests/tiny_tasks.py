"""Further tasks beside that of `tiny`: arrays of classes, labels and numbers of short texts."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from baton import params, storage
from baton.arrays import text_arrays
from baton.contracts import input_spec, task_spec
from baton.contracts.task_spec import Classes, Labels, Numbers, TaskSpec
from baton.fitting import jobs
from baton.texts import document_windows
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
UNIFORM = params.UniformMixing(kind="uniform")
TEXTS = [text for texts in tiny.TEXTS.values() for text in texts]
WORDS = ("the", "wheat", "port")
SPECS: dict[str, TaskSpec] = {
    "length": Classes(("long", "short")),
    "words": Labels(WORDS),
    "letters": Numbers(("letters",), (25.0,), (6.0,), "smooth_l1", 0.9),
}
TYPES = {
    "length": pa.int32(),
    "words": pa.list_(pa.int32()),
    "letters": pa.list_(pa.float64(), 1),
}


def target(name: str, text: str) -> Any:
    """Return the target of a text, as a clean table has it."""
    match name:
        case "length":
            return int(len(text) < 25)
        case "words":
            return [place for place, word in enumerate(WORDS) if word in text]
        case _:
            return [float(sum(map(str.isalpha, text)))]


def write(data: Path, *names: str, copies: int = 2) -> None:
    """Write clean tables and arrays of these tasks next to those of `tiny.write_arrays`."""
    tokenizer = document_windows.open_tokenizer(data / "base", tiny.TEXT_INPUT.max_length)
    for name in names:
        clean, arrays, spec = (
            storage.of_task(data / "clean", name),
            storage.of_task(data / "arrays", name),
            SPECS[name],
        )
        for folder in (clean, arrays):
            folder.mkdir(parents=True)
        splits = {"train": [f"{text} {copy}" for copy in range(copies) for text in TEXTS]}
        splits |= {"val": TEXTS[::2], "test": TEXTS}
        for split, texts in splits.items():
            columns = {
                "id": pa.array([f"{split}:{place + 1}" for place in range(len(texts))], pa.string()),
                "text": pa.array(texts, pa.string()),
                spec.column: pa.array([target(name, text) for text in texts], TYPES[name]),
            }
            pq.write_table(pa.table(columns), clean / f"{split}.parquet")
            text_arrays.tokenize(
                clean / f"{split}.parquet",
                tokenizer,
                arrays,
                100,
                lambda count: None,
                spec,
                tiny.TEXT_INPUT.truncation,
            )
        storage.write_json(clean / "task.json", task_spec.described(spec))
        storage.write_json(
            arrays / "meta.json",
            {"task": task_spec.described(spec), "input": input_spec.described(tiny.TEXT_INPUT)},
        )


def others(data: Path, weight: float = 1.0) -> dict[str, jobs.OtherTask]:
    """Open what `write` wrote."""
    settings = params.OtherTask.model_construct(head=HEAD, weight=weight)
    return {
        name: jobs.open_task(settings, storage.of_task(data / "arrays", name))
        for name in storage.tasks(data / "arrays")
    }


def settings(**changes: Any) -> params.Finetune:
    """Return plain training settings of a teacher with several tasks."""
    own = {"head": HEAD, "strategy": {"kind": "full"}, "mixing": UNIFORM, "keep": "best"}
    return params.Finetune.model_validate(tiny.TRAINING | own | changes)


def same(one: Any, other: Any) -> bool:
    """Return whether two batches are equal bit for bit."""
    parts = [(*batch.own.inputs, batch.targets, batch.rows) for batch in (one, other)]
    pairs = zip(*parts, strict=True)
    return one.task == other.task and all(np.array_equal(a, b) for a, b in pairs)
