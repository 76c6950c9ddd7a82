"""The journal on disk: its content when a process, a disk or a machine fails."""

import errno
import os
import shutil
import time
from pathlib import Path

import pytest

from baton.errors import TrackingError
from baton.tracking import journal, writer
from baton.tracking.writer import Writer


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.chdir(tmp_path)
    return writer.write("one")


def numbers(one: journal.Journal) -> list[object]:
    return [entry.get("number", entry["kind"]) for entry, _ in one.entries()]


def test_entries_come_back_in_order_from_any_position(own: Writer) -> None:
    for number in range(3):
        own.append("x", number=number, text="ä\n\ud800")
    (_, second), (_, third) = list(own.journal.entries())[:2]
    assert [entry["number"] for entry, _ in own.journal.entries(second)] == [1, 2]
    cursor = own.journal.cursor()
    cursor.offset = third
    own.journal.save(cursor)
    assert own.journal.waiting() == 1


@pytest.mark.parametrize("mended", [True, False])
def test_a_torn_last_line_is_cut_off_before_the_next_entry(own: Writer, mended: bool) -> None:
    own.append("x", number=1)
    own.close()
    path = own.journal.folder / journal.ENTRIES
    with path.open("ab") as file:
        file.write(b'{"kind":"x","num' + b"\0" * 100_000)  # longer than one read
    assert numbers(own.journal) == [1]
    if mended:
        again = writer.write("one")
        again.append("x", number=2)
        assert numbers(own.journal) == [1, 2]
    else:  # negative control
        with path.open("ab") as file:
            file.write(b'{"kind":"x","number":2}\n')
        assert numbers(own.journal) == [1, "broken"]


def test_a_line_that_is_none_is_passed_over(own: Writer) -> None:
    own.append("x", number=1)
    path = own.journal.folder / journal.ENTRIES
    path.write_bytes(b'{"kind":"open","proc\n{"kind":"points"\n7\n{}\n' + path.read_bytes())
    assert numbers(own.journal) == ["broken"] * 4 + [1]
    own.close()
    assert writer.abandoned(own.journal)


def test_a_full_disk_tears_nothing_and_loses_nothing(own: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    own.append("x", number=1)
    original = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: original(handle, data[:5]))
    with pytest.raises(OSError, match="disk is full"):
        own.append("x", number=2)
    assert numbers(own.journal) == [1]
    monkeypatch.setattr(os, "write", original)
    own.append("x", number=3)
    assert numbers(own.journal) == [1, 2, 3]


def test_a_journal_has_one_writer(own: Writer) -> None:
    start = time.monotonic()
    with pytest.raises(TrackingError, match="is being written"):
        writer.write("one")
    assert time.monotonic() - start < 1
    assert not writer.abandoned(own.journal)
    own.close()
    writer.write("one").close()


def test_a_forked_child_does_not_keep_the_journal_of_its_parent(own: Writer) -> None:
    """Data-loader workers are such children: they live a little longer than a killed stage."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        with pytest.raises(TrackingError):
            writer.write("one")
        own.close()
        writer.write("one").close()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@pytest.mark.parametrize("size", [10, 2 << 20])
def test_what_entries_refer_to_is_kept_as_it_was(own: Writer, tmp_path: Path, size: int) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (folder / name).write_bytes(name.encode() * size)
    kept = own.journal.file(own.keep(folder))
    if size == 10:
        (folder / "a").write_bytes(b"rewritten in place, as an editor does")
    new = tmp_path / "new"
    new.write_bytes(b"replaced, as our writers do")
    new.replace(folder / "sub/b")
    shutil.rmtree(folder)
    assert kept.name == "model"
    assert [(kept / name).read_bytes() for name in ("a", "sub/b")] == [b"a" * size, b"sub/b" * size]


def test_a_large_file_is_linked_and_copied_where_that_fails(
    own: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * (2 << 20))
    (tmp_path / "link").symlink_to(large)  # DVC's outputs may be links
    assert own.journal.file(own.keep(tmp_path / "link")).stat().st_ino == large.stat().st_ino

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    copy = own.journal.file(own.keep(large))
    assert (copy.stat().st_ino != large.stat().st_ino, copy.read_bytes()) == (True, large.read_bytes())
    assert own.keep(large, copy=False) == ""


def test_a_removed_journal_is_not_taken_for_one(own: Writer) -> None:
    assert [one.id for one in journal.left()] == ["one"]
    own.journal.remove()
    assert journal.left() == []
    with own.journal.delivering() as there:
        assert not there
    own.close()
    writer.write("one").append("x", number=1)  # a stage that continues it gets a new one
    assert numbers(own.journal) == [1]


def test_names_sort_by_time() -> None:
    names = []
    for _ in range(3):
        names.append(writer.new_id())
        time.sleep(0.002)
    assert names == sorted(set(names))
