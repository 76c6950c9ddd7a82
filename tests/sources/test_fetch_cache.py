"""The cache of fetched files: fetched once, complete, shared by processes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from baton.errors import OutputError, SourceError
from baton.sources import fetch_cache

CHILD = """
import sys, time
from pathlib import Path
from baton.sources import fetch_cache
def fetch(scratch):
    with open(sys.argv[1], "a") as log: log.write("fetched\\n")
    (scratch / "part").write_bytes(b"half")
    time.sleep(float(sys.argv[2]))
    (scratch / "file").write_bytes(b"content")
    return scratch / "file"
print(fetch_cache.obtain("thing 1", fetch, advice="none").read_bytes().decode())
"""


def child(log: Path, seconds: float, cache: Path) -> subprocess.Popen[str]:
    source = Path(__file__).parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), "BATON_FETCHED": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(log), str(seconds)],
        env=environment,
        cwd=cache.parent,
        stdout=subprocess.PIPE,
        text=True,
    )


def writes(content: bytes, calls: list[str]) -> Callable[[Path], Path]:
    def fetch(scratch: Path) -> Path:
        calls.append("call")
        (scratch / "file").write_bytes(content)
        return scratch / "file"

    return fetch


def leftovers(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name not in {"locks", "index"})


def test_a_file_is_fetched_once_and_kept_by_its_digest(cache: Path) -> None:
    calls: list[str] = []
    first = fetch_cache.obtain("thing 1", writes(b"content", calls), advice="")
    assert fetch_cache.obtain("thing 1", writes(b"content", calls), advice="") == first
    assert first.read_bytes() == b"content"
    assert len(first.name) == 64
    assert calls == ["call"]


def test_a_cached_file_that_is_not_the_pinned_one_is_fetched_again(cache: Path) -> None:
    """As in a cache that somebody else wrote, whose index names another file."""
    calls: list[str] = []
    pinned = hashlib.sha256(b"content").hexdigest()
    fetch_cache.obtain("thing 1", writes(b"other", calls), advice="")
    found = fetch_cache.obtain("thing 1", writes(b"content", calls), advice="", sha256=pinned)
    assert found.read_bytes() == b"content" and found.name == pinned
    again = fetch_cache.obtain("thing 1", writes(b"content", calls), advice="", sha256=pinned)
    assert again == found and calls == ["call", "call"]


def test_keys_do_not_share_a_fetch(cache: Path) -> None:
    calls: list[str] = []
    fetch_cache.obtain("thing 1", writes(b"one", calls), advice="")
    assert fetch_cache.obtain("thing 1/../x", writes(b"two", calls), advice="").read_bytes() == b"two"
    assert len(calls) == 2


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"conten"), lambda path: path.unlink()])
def test_a_damaged_or_lost_file_is_fetched_again(cache: Path, damage: Callable[[Path], object]) -> None:
    calls: list[str] = []
    damage(fetch_cache.obtain("thing 1", writes(b"content", calls), advice=""))
    assert fetch_cache.obtain("thing 1", writes(b"content", calls), advice="").read_bytes() == b"content"
    assert len(calls) == 2


def test_a_broken_transfer_is_tried_again(cache: Path) -> None:
    calls: list[str] = []

    def fetch(scratch: Path) -> Path:
        assert not list(scratch.iterdir()), "each attempt starts empty"
        path = writes(b"content", calls)(scratch)
        if len(calls) < 2:
            raise fetch_cache.BrokenTransferError("the line went dead")
        return path

    assert fetch_cache.obtain("thing 1", fetch, advice="").read_bytes() == b"content"
    assert len(calls) == 2


def test_after_the_last_attempt_the_error_says_what_to_do_and_nothing_is_left(cache: Path) -> None:
    def fetch(scratch: Path) -> Path:
        (scratch / "file").write_bytes(b"half")
        raise fetch_cache.BrokenTransferError("the line went dead")

    with pytest.raises(
        SourceError,
        match=r"(?s)thing 1 .*2 attempts.*got: +the line went dead.*expected:.*next: +look at the cable",
    ):
        fetch_cache.obtain("thing 1", fetch, advice="look at the cable")
    assert leftovers(cache) == []
    assert not (cache / "index").exists()


def test_two_processes_fetch_once(cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    running = [child(log, 0.5, cache) for _ in range(2)]
    outputs = [process.communicate(timeout=30)[0] for process in running]
    assert all(output.strip().endswith("content") for output in outputs)
    assert log.read_text() == "fetched\n"


def test_what_a_kill_left_is_neither_taken_nor_kept(cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = child(log, 60, cache)
    deadline = time.monotonic() + 30
    while not list(cache.glob(".*/part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(leftovers(cache)) == 1, "this test needs a half-written file"
    kept = fetch_cache.obtain("thing 1", writes(b"content", []), advice="")
    assert kept.read_bytes() == b"content"
    assert leftovers(cache) == [kept.name]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BATON_FETCHED", str(tmp_path / "file" / "cache"))
    with pytest.raises(
        OutputError, match=r"(?s)file/cache cannot be written.*got:.*expected:.*BATON_FETCHED"
    ):
        fetch_cache.obtain("thing 1", writes(b"content", []), advice="")


# ---- a cache that somebody else can write ----------------------------------------------------------------


def edit_indexes(folder: Path, digest: object) -> None:
    """Let every index below a folder, or one where the cache of earlier versions had it, name a digest."""
    shared = folder / "fetched/index"
    shared.mkdir(parents=True, exist_ok=True)
    for path in [*folder.rglob("index/*"), shared / "thing 1.json"]:
        path.write_text(json.dumps({"key": "thing 1", "sha256": digest, "bytes": 1}))


def test_an_edited_index_does_not_replace_pinned_bytes(cache: Path, tmp_path: Path) -> None:
    content, other = b"content", b"what somebody wants instead"
    fetch_cache.obtain("thing 1", writes(content, []), advice="", sha256=digest_of(content))
    (cache / digest_of(other)).write_bytes(other)
    edit_indexes(tmp_path, digest_of(other))
    calls: list[str] = []
    found = fetch_cache.obtain("thing 1", writes(content, calls), advice="", sha256=digest_of(content))
    assert found.read_bytes() == content and calls == []


def test_the_index_of_a_shared_cache_is_not_read(cache: Path, tmp_path: Path) -> None:
    """What has no digest in params is known by the project's own index, not by that of a shared folder."""
    other = b"what somebody wants instead"
    cache.mkdir()
    (cache / digest_of(other)).write_bytes(other)
    (cache / "index").mkdir()
    (cache / "index/thing 1.json").write_text(json.dumps({"key": "thing 1", "sha256": digest_of(other)}))
    calls: list[str] = []
    assert fetch_cache.obtain("thing 1", writes(b"content", calls), advice="").read_bytes() == b"content"
    assert fetch_cache.obtain("thing 1", writes(b"content", calls), advice="").read_bytes() == b"content"
    assert calls == ["call"]


@pytest.mark.parametrize("named", ["../victim.txt", "/etc/hostname", ".", "", None, 7, "A" * 64, ["a"]])
def test_an_index_cannot_name_a_file_outside_the_cache(cache: Path, tmp_path: Path, named: object) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    fetch_cache.obtain("thing 1", writes(b"content", []), advice="")
    edit_indexes(tmp_path, named)
    assert fetch_cache.obtain("thing 1", writes(b"content", []), advice="").read_bytes() == b"content"
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, b"\xff".decode("latin-1"), "{}"])
def test_a_damaged_index_is_written_again(
    cache: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch_cache.obtain("thing 1", writes(b"content", []), advice="")
    for path in tmp_path.rglob("index/*"):
        path.write_bytes(text.encode("latin-1"))
    calls: list[str] = []
    assert fetch_cache.obtain("thing 1", writes(b"content", calls), advice="").read_bytes() == b"content"
    assert calls == ["call"]
    assert "its entry in the index is damaged" in capsys.readouterr().out
    fetch_cache.obtain("thing 1", writes(b"content", calls), advice="")
    assert calls == ["call"]


def test_what_is_not_a_file_in_its_place_is_removed(cache: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    for put in (
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(victim),
        os.mkfifo,
    ):
        path = cache / digest_of(b"content")
        path.unlink(missing_ok=True)
        cache.mkdir(exist_ok=True)
        put(path)
        found = fetch_cache.obtain("thing 1", writes(b"content", []), advice="", sha256=digest_of(b"content"))
        assert found.read_bytes() == b"content" and not found.is_symlink()
    assert victim.read_text() == "mine"


def test_what_was_fetched_is_compared_with_the_pin(cache: Path) -> None:
    with pytest.raises(SourceError, match=r"(?s)thing 1 has a different sha256.*got:.*expected:.*next:"):
        fetch_cache.obtain("thing 1", writes(b"other", []), advice="", sha256=digest_of(b"content"))
    assert leftovers(cache) == []


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
