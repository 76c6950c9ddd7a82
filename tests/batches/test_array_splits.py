"""meta.json is read into the task and the input, and one that cannot be read is named."""

from pathlib import Path
from typing import Any

import pytest

from baton import storage
from baton.batches import array_splits
from baton.contracts import input_spec, task_spec
from baton.errors import DataError
from tests import tiny

META: dict[str, Any] = {
    "task": task_spec.described(tiny.TASK),
    "input": input_spec.described(tiny.image_input()),
}


def test_meta_is_read(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "meta.json", META | {"reasons": {"max_length": "a reason"}})
    assert array_splits.read_meta(tmp_path) == array_splits.Meta(tiny.TASK, tiny.image_input())


@pytest.mark.parametrize(
    ("meta", "part"),
    [
        (
            {"task": META["task"]},
            "meta.json has an unknown layout\n  got:      task\n",
        ),
        (
            {"labels": ["a"], "input": META["input"]},
            "meta.json has an unknown layout\n  got:      input, l",
        ),
        (META | {"input": META["input"] | {"kind": "video"}}, "meta.json: input has an unknown kind"),
        (
            META | {"input": {"kind": "text", "max_length": 16, "pad": 0}},
            "meta.json: input has an unknown layout\n  got:      kind, max_length, pad",
        ),
    ],
)
def test_meta_of_another_version_is_named(tmp_path: Path, meta: dict[str, Any], part: str) -> None:
    storage.write_json(tmp_path / "meta.json", meta)
    with pytest.raises(DataError) as raised:
        array_splits.read_meta(tmp_path)
    assert f"{tmp_path}/{part}" in str(raised.value)


def test_meta_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"meta\.json is missing[\s\S]*dvc repro tokenize"):
        array_splits.read_meta(tmp_path)
