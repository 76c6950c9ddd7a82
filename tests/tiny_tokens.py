"""Small tables of texts with tagged words, and their arrays, for the tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from baton import storage
from baton.arrays import text_arrays
from baton.contracts import input_spec, task_spec
from baton.contracts.input_spec import TextInput, Windows
from baton.contracts.task_spec import Tokens
from baton.texts import document_windows
from tests import tiny

TASK = Tokens(("goods", "place"), "space")
GOODS, PLACES = ("wheat", "corn", "soybean harvest", "barley"), ("japan", "strait", "port")
FILLER = ("exports", "rose", "sharply", "and", "left", "the", "board", "talks", "failed", "near", "in")
IN_WINDOWS = replace(tiny.TEXT_INPUT, max_length=8, truncation=Windows(most=3, overlap=2))


def rows(count: int, seed: int, longest: int = 30) -> list[tuple[str, list[int]]]:
    """Return texts and the tag of each word: goods and places among fillers."""
    random, found = np.random.default_rng(seed), []
    for _ in range(count):
        words, tags = [], []
        for _ in range(random.integers(1, longest)):
            kind = random.integers(4)
            if kind < 2:
                own = str(random.choice((GOODS, PLACES)[kind])).split()
                tags += [1 + 2 * kind] + [2 + 2 * kind] * (len(own) - 1)
            else:
                own = [str(random.choice(FILLER))]
                tags.append(0)
            words += own
        found.append((" ".join(words), tags))
    return found


def write_clean(folder: Path, sizes: dict[str, int], longest: int = 30) -> Path:
    """Write tables `id, text, tags` like preprocess, and task.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, count) in enumerate(sizes.items()):
        made = rows(count, seed, longest)
        columns = {
            "id": pa.array([f"{split}:{row + 1}" for row in range(count)], pa.string()),
            "text": pa.array([text for text, _ in made], pa.string()),
            "tags": pa.array([tags for _, tags in made], pa.list_(pa.int32())),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    storage.write_json(folder / "task.json", task_spec.described(TASK))
    return folder


def write_arrays(data: Path, reads: TextInput = IN_WINDOWS, sizes: dict[str, int] | None = None) -> Path:
    """Write a base model, clean tables and arrays to folders of `data`; return the arrays' folder."""
    base = tiny.write_base(data / "base")
    clean = write_clean(data / "clean", sizes or {"train": 40, "val": 20, "test": 20})
    tokenizer = document_windows.open_tokenizer(base, reads.max_length)
    (data / "arrays").mkdir()
    for split in text_arrays.SPLITS:
        table = clean / f"{split}.parquet"
        text_arrays.tokenize(table, tokenizer, data / "arrays", 7, lambda count: None, TASK, reads.truncation)
    described = {"task": task_spec.described(TASK), "input": input_spec.described(reads)}
    storage.write_json(data / "arrays/meta.json", described)
    return data / "arrays"
