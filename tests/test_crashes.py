"""A process that dies between any two steps of a write leaves the old content or the new, and no rubbish.

The steps are not listed by hand: Python's audit hook sees each one that reaches the system (open, rename,
remove, …), and the process is ended at the first, the second, and so on.
"""

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from baton import storage, temporaries
from baton.errors import OutputError

DIED = 9
STEPS = ("open", "os.", "shutil.", "tempfile.", "ctypes.", "fcntl.")


def died(write: Callable[[], None], step: int) -> bool:
    """Write in another process, which dies right before its `step`-th step; return whether it died."""
    child = os.fork()
    if child == 0:
        left = step

        def hook(event: str, _: object) -> None:
            nonlocal left
            if event.startswith(STEPS):
                left -= 1
                if left == 0:
                    os._exit(DIED)

        sys.addaudithook(hook)
        write()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == DIED


def write_file(target: Path, text: str) -> None:
    with storage.atomic_file(target) as temporary:
        temporary.write_text(text)


def write_folder(target: Path, text: str) -> None:
    with storage.atomic_folder(target) as temporary:
        for name in ("a", "b"):
            (temporary / name).write_text(text)


def content(target: Path) -> list[str]:
    return [(target / name).read_text() for name in ("a", "b")] if target.is_dir() else [target.read_text()]


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "no-exchange"])
@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_death_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, write: Callable[[Path, str], None], exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:  # a file system, or a system, without it
        monkeypatch.setattr(temporaries, "_exchanged", lambda *_: False)
    target, step, dead = tmp_path / "folder" / "target", 0, True
    write(target, "old")
    while dead:
        step += 1
        dead = died(lambda: write(target, "new"), step)
        if not exchange:
            temporaries.sweep(target)  # as any later write does
        assert set(content(target)) in ({"old"}, {"new"}), step
        write(target, "old")
        assert os.listdir(target.parent) == ["target"], step
    assert step > 5


def test_what_a_living_process_writes_is_not_swept(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with storage.atomic_folder(target) as first:
        (first / "a").write_text("first")
        with storage.atomic_folder(target) as second:
            (second / "a").write_text("second")
        assert (first / "a").read_text() == "first"
    assert (target / "a").read_text() == "first"


def test_only_our_own_leftovers_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".target.template").write_text("the user's")
    (tmp_path / ".other.abcdefgh.baton").write_text("of another target")
    (tmp_path / ".target.abcdefgh.baton").mkdir()
    write_file(tmp_path / "target", "new")
    assert sorted(os.listdir(tmp_path)) == [".other.abcdefgh.baton", ".target.template", "target"]


def test_bytes_are_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power cut leaves a complete name with an empty file behind it."""
    done: list[str] = []
    flush, replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        done.append("folder" if Path(f"/proc/self/fd/{handle}").is_dir() else "file")
        flush(handle)

    def named(path: Path, target: Path) -> Path:
        done.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", named)
    write_file(tmp_path / "target", "new")
    assert done == ["file", "name", "folder"]


@pytest.mark.parametrize("broken", [b"", b"{", b"[1]", b'{"a": 1', b"\xff", None], ids=repr)
def test_broken_state_is_discarded(tmp_path: Path, broken: bytes | None) -> None:
    path = tmp_path / "state.json"
    if broken is not None:
        path.write_bytes(broken)
    assert storage.read_state(path) == {}
    assert not path.exists()
    storage.write_json(path, {"a": 1})
    assert storage.read_state(path) == {"a": 1} and path.exists()


def test_a_file_system_that_flushes_no_folder_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    storage.write_json(tmp_path / "a.json", {"a": 1})
    assert storage.read_json(tmp_path / "a.json") == {"a": 1}
    monkeypatch.setattr(os, "fsync", lambda handle: os.close(-1))  # EBADF, of a file
    with pytest.raises(OutputError):
        storage.write_json(tmp_path / "b.json", {"a": 1})
