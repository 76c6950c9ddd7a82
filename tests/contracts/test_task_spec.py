"""The description of a task and its file."""

from dataclasses import replace
from pathlib import Path

import pytest

from baton import storage
from baton.contracts import task_spec
from baton.contracts.task_spec import Classes, Sequence
from baton.errors import DataError


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    spec = Classes(("no", "yes", "être"))
    storage.write_json(tmp_path / "task.json", task_spec.described(spec))
    assert storage.read_json(tmp_path / "task.json") == {"kind": "classes", "names": ["no", "yes", "être"]}
    assert task_spec.read_file(tmp_path) == spec and spec.width == 3
    assert task_spec.read({"task": task_spec.described(spec), "input": {}}) == spec


def test_a_sequence_of_earlier_versions_has_no_unknown_token() -> None:
    spec = Sequence(target_length=8, beams=2, validation_rows=4, vocabulary=9, start=0, end=1, unknown=2)
    raw = task_spec.described(spec)
    assert task_spec.read({"task": raw}) == spec
    del raw["unknown"]
    assert task_spec.read({"task": raw}) == replace(spec, unknown=None)


def test_files_of_earlier_versions_name_classes(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "labels.json", ["a", "b"])
    assert task_spec.read_file(tmp_path) == Classes(("a", "b"))
    assert task_spec.read({"labels": ["a", "b"], "head": {}}) == Classes(("a", "b"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"kind": "poems", "names": []}', "unknown kind of task[\\s\\S]*poems"),
        ('["a", "b"]', "task.json cannot be read"),
        ('{"kind": "classes"}', "task.json cannot be read"),
        ("{", "task.json cannot be read"),
        (None, "task.json cannot be read[\\s\\S]*No such file[\\s\\S]*dvc repro preprocess"),
    ],
)
def test_a_file_that_describes_no_task_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "task.json").write_text(content)
    with pytest.raises(DataError, match=message):
        task_spec.read_file(tmp_path)
