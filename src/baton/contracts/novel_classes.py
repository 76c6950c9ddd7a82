"""Splits of classes that are held out of training: their names, and where their tasks are described.

`preprocess` writes `novel_validation.parquet` and `novel_test.parquet` next to the clean tables, each with
the task of its own classes in a JSON file; `tokenize` writes the arrays of these splits and the same JSON
files.
"""

from pathlib import Path

from baton import storage
from baton.contracts import task_spec
from baton.contracts.task_spec import TaskSpec

SPLITS = {key: f"novel_{key}" for key in ("validation", "test")}  # key of `preprocess.novel` -> split


def write(folder: Path, split: str, task: TaskSpec) -> None:
    """Write the task of one split to `folder`."""
    storage.write_json(_path(folder, split), task_spec.described(task))


def read(folder: Path) -> dict[str, TaskSpec]:
    """Return the task of each of these splits that `folder` has."""
    return {
        split: task_spec.read({"task": storage.read_json(_path(folder, split))})
        for split in SPLITS.values()
        if _path(folder, split).is_file()
    }


def _path(folder: Path, split: str) -> Path:
    return folder / f"{split}.task.json"
