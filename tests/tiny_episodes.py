"""Novel classes for the tiny model of `tests.tiny`: a few texts of each, with a number appended."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from baton.arrays import text_arrays
from baton.contracts import novel_classes
from baton.texts import document_windows
from tests import tiny

NOVEL = {
    "novel_validation": {
        "coffee": ["coffee prices rose", "the coffee harvest failed"],
        "metal": ["copper and zinc output", "the smelter shut"],
    },
    "novel_test": {
        "oil": ["crude oil fell", "opec cut its oil output"],
        "money": ["the bank cut rates", "the dollar fell on rates"],
    },
}
COPIES = 6


def write(data: Path, copies: int = COPIES) -> None:
    """Write tables, tasks and arrays of novel classes to folders that `tiny.write_arrays` filled."""
    tokenizer = document_windows.open_tokenizer(data / "base", tiny.TEXT_INPUT.max_length)
    for split, classes in NOVEL.items():
        names = sorted(classes)
        rows = [
            (f"{text} {copy}", names.index(name))
            for copy in range(copies)
            for name in names
            for text in classes[name]
        ]
        table = {
            "id": pa.array([f"{split}:{number}" for number in range(len(rows))], pa.string()),
            "text": pa.array([text for text, _ in rows], pa.string()),
            "label": pa.array([label for _, label in rows], pa.int32()),
        }
        path, task = data / "clean" / f"{split}.parquet", tiny.task(*names)
        pq.write_table(pa.table(table), path)
        text_arrays.tokenize(
            path, tokenizer, data / "arrays", 100, lambda count: None, task, tiny.TEXT_INPUT.truncation
        )
        for folder in ("clean", "arrays"):
            novel_classes.write(data / folder, split, task)
