"""Atomic writes and digests."""

import os
from pathlib import Path

import pytest

from baton import storage
from baton.errors import OutputError


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with storage.atomic_file(target) as temporary:
        temporary.write_text("old")
    with pytest.raises(ValueError, match="on purpose"), storage.atomic_file(target) as temporary:
        temporary.write_text("half")
        raise ValueError("on purpose")
    assert target.read_text() == "old"
    assert os.listdir(target.parent) == ["file.txt"]


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with storage.atomic_folder(target) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(ValueError, match="on purpose"), storage.atomic_folder(target) as temporary:
        (temporary / "b").write_text("half")
        raise ValueError("on purpose")
    assert sorted(os.listdir(tmp_path)) == ["folder"] and os.listdir(target) == ["a"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with storage.atomic_folder(tmp_path / "folder") as temporary:
            (temporary / name).write_text(name)
    assert os.listdir(tmp_path / "folder") == ["b"]


@pytest.mark.parametrize("write", [storage.atomic_file, storage.atomic_folder], ids=["file", "folder"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, write: object) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(OutputError, match=r"cannot be written[\s\S]*got:[\s\S]*expected:[\s\S]*next:"),
        write(tmp_path / "file" / "target"),
    ):  # type: ignore[operator]
        raise AssertionError("not reached")


def test_an_error_about_a_file_that_is_read_keeps_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storage.atomic_file(tmp_path / "out" / "file"):
        (tmp_path / "elsewhere" / "missing").read_bytes()


def test_digests_of_a_folder_depend_on_names_and_bytes_only(tmp_path: Path) -> None:
    for name, files in {"one": ("a", "b"), "two": ("b", "a")}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text(file)
    assert storage.sha256_tree(tmp_path / "one") == storage.sha256_tree(tmp_path / "two")
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "c")
    assert storage.sha256_tree(tmp_path / "one") != storage.sha256_tree(tmp_path / "two")


def test_json_is_byte_equal_whatever_the_order_of_keys(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "1.json", {"b": 1, "a": "ä"})
    storage.write_json(tmp_path / "2.json", {"a": "ä", "b": 1})
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    assert storage.read_json(tmp_path / "1.json") == {"a": "ä", "b": 1}


def test_state_belongs_to_the_project_of_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert storage.state("runs") == tmp_path.resolve() / ".baton" / "runs"
