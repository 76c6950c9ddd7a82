"""Small files of questions about goods and places in texts, clean tables of them, and their arrays."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from baton import storage
from baton.arrays import text_arrays
from baton.contracts import input_spec, task_spec
from baton.contracts.input_spec import TextInput, Windows
from baton.contracts.task_spec import Spans
from baton.tables.span_cells import SpanCells
from baton.texts import document_windows
from tests import tiny
from tests.tiny_tokens import FILLER, GOODS, PLACES

TASK = Spans(4)
IN_WINDOWS = replace(tiny.TEXT_INPUT, max_length=16, truncation=Windows(most=3, overlap=4), pair=True)
QUESTIONS = {"goods": GOODS, "port": PLACES}  # the question's last word -> what is asked for


def paragraphs(count: int, seed: int, longest: int = 30) -> list[dict[str, Any]]:
    """Return paragraphs of SQuAD's format: of some words, one may be of the goods and one a place.

    Either is asked for, so that some questions have no answer.
    """
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        words = [str(one) for one in random.choice(FILLER, random.integers(3, longest))]
        asked, places = [], random.permutation(len(words) + 1)
        chosen = {
            kind: str(random.choice(names)) for kind, names in QUESTIONS.items() if random.random() < 0.7
        }
        for place, text in sorted(zip(places.tolist(), chosen.values(), strict=False), reverse=True):
            words.insert(place, text)
        context = " ".join(words)
        for kind in QUESTIONS:
            text = chosen.get(kind)
            answers = (
                [] if text is None else [{"text": text, "answer_start": f" {context} ".index(f" {text} ")}]
            )
            own = {"id": f"{seed}-{number}-{kind}", "question": f"the {kind}", "answers": answers}
            asked.append(own | {"is_impossible": not answers})
        found.append({"context": context, "qas": asked})
    return found


def write(path: Path, count: int, seed: int = 0, longest: int = 30) -> Path:
    """Write a file of SQuAD's format with two questions about each of `count` paragraphs, an article each."""
    articles = [
        {"title": f"article {number}", "paragraphs": [own]}
        for number, own in enumerate(paragraphs(count, seed, longest))
    ]
    path.write_text(json.dumps({"version": "v2.0", "data": articles}), encoding="utf-8")
    return path


def write_clean(folder: Path, sizes: dict[str, int]) -> Path:
    """Write tables `id, text, text_pair, answers` like preprocess, and task.json."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = SpanCells(TASK.max_answer_words)
    for seed, (split, count) in enumerate(sizes.items()):
        rows = [(own, asked) for own in paragraphs(count, seed) for asked in own["qas"]]
        labels = [cells.joined(asked["question"], asked["answers"], own["context"]) for own, asked in rows]
        columns = {
            "id": pa.array([f"{split}:{row + 1}" for row in range(len(rows))], pa.string()),
            "text": pa.array([asked["question"] for _, asked in rows], pa.string()),
            "text_pair": pa.array([own["context"] for own, _ in rows], pa.string()),
            "answers": pa.array([cells.target(label.label, {}) for label in labels], cells.type()),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    storage.write_json(folder / "task.json", task_spec.described(TASK))
    return folder


def write_arrays(data: Path, reads: TextInput = IN_WINDOWS, sizes: dict[str, int] | None = None) -> Path:
    """Write a base model, clean tables and arrays to folders of `data`; return the arrays' folder."""
    base = tiny.write_base(data / "base")
    clean = write_clean(data / "clean", sizes or {"train": 20, "val": 10, "test": 10})
    tokenizer = document_windows.open_tokenizer(base, reads.max_length)
    (data / "arrays").mkdir()
    for split in text_arrays.SPLITS:
        table = clean / f"{split}.parquet"
        text_arrays.tokenize(table, tokenizer, data / "arrays", 7, lambda count: None, TASK, reads.truncation)
    described = {"task": task_spec.described(TASK), "input": input_spec.described(reads)}
    storage.write_json(data / "arrays/meta.json", described)
    return data / "arrays"
