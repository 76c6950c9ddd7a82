"""Run `baton …` and end it, as SIGKILL would, at a point where the world has just changed.

    python tests/boundaries.py SETTINGS ARGUMENTS …    (SETTINGS is `Settings` as JSON)

Python's audit hook sees each step by which the process reaches files (open to write, rename, remove, …),
other processes, and the network. At each one, the world is compared with what it was before. What has changed
is the effect of the step before in the same thread, and here is a point to die at: after this effect, and
before the next one. Where nothing has changed, a death leaves what a death at the last point leaves. So
nobody has to list what only reads, and an upload that is cut off in the middle is a point if the server has
acted.

The world has two parts: what outlives the machine (the MLflow server, the git and the DVC remote), and the
checkout. At a point of the first, the machine ends with all processes, and the next job starts in a fresh
clone. At one of the second, this process alone is killed, and the next one starts in the same checkout. A
point is known by the step whose effect it is: its place in the code, and its command, path or request without
what differs from run to run.
"""

import contextlib
import json
import os
import pickle
import re
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

DIED = 9
FILES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
PROCESSES = ("subprocess.Popen", "os.posix_spawn", "os.system", "os.exec")
SENT = "http.client.send"  # connections are kept alive, so that not every request connects
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FRESH, KEPT = "fresh clone", "same checkout"  # where the next process starts
WORLD, CHECKOUT = "WORLD", "CHECKOUT"
OUTSIDE = ("server.db", "files", "origin.git", "storage")
# Temporary names (of tempfile, of this project, of DVC), digests and ids, numbers of versions.
DIFFERS = re.compile(
    r"(?<=/tmp)[a-z0-9_]{8}|(?<=/journal/)[^/ ]+|\.[a-z0-9_]{8}\.baton|\.[\w-]{22}\.tmp"
    r"|(?<![a-z])m-[0-9a-f]{32}|[0-9a-f]{12,}|[0-9]+",
    re.ASCII,
)


@dataclass(frozen=True)
class Settings:
    """What a process needs to know to die in the right place."""

    world: str  # the folder of what outlives the machine
    job: str  # a point is another one in another job of the story: a replaced champion is not a first one
    died: str  # a file with a line for each point at which a process has died already
    every: int  # die at one of so many points
    seed: int  # which of them


def tree(*roots: Path) -> int:
    """Return a number that changes with any file below the roots."""
    return hash(tuple(sorted(entry for root in roots for entry in _entries(root))))


def _entries(root: Path) -> Iterator[tuple[str, int, int]]:
    if root.is_file():
        status = root.stat()
        yield str(root), status.st_mtime_ns, status.st_size
        return
    folders = [str(root)]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.name == "__pycache__":
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
                yield entry.path, 0, 0
            elif os.path.lexists(entry.path):
                status = entry.stat(follow_symlinks=False)
                yield entry.path, status.st_mtime_ns, status.st_size


def place(frame: FrameType | None) -> str:
    """Return the functions of Baton that led to a frame, the outermost first."""
    names = []
    while frame is not None:
        _, ours, file = frame.f_code.co_filename.rpartition("/src/baton/")
        if ours:
            names.append(f"{Path(file).stem}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return " > ".join(names[::-1])


def step(event: str, arguments: tuple[Any, ...], frame: FrameType | None) -> str | None:
    """Return a step in words; None if the event is none that reaches anything."""
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(path, str | bytes) and isinstance(flags, int) and bool(flags & WRITES)
        return None if not writes or path == os.devnull else f"open {os.fsdecode(path)}"
    if event in FILES:
        return f"{event} {' '.join(str(item) for item in arguments if isinstance(item, str | Path))}"
    if event.startswith(PROCESSES):
        words = arguments[1] if len(arguments) > 1 else arguments[0]
        return f"run {' '.join(map(str, words)) if isinstance(words, list | tuple) else words}"
    return f"send {_request(arguments[1], frame)}" if event == SENT else None


def _request(data: Any, frame: FrameType | None) -> str:
    """Return the method, path and key of the request that a frame sends, and which part of it this is."""
    while frame is not None and not (
        frame.f_code.co_name == "request" and frame.f_code.co_filename.endswith("urllib3/connection.py")
    ):
        frame = frame.f_back
    if frame is None:
        return str(data[:40])
    known = frame.f_locals
    part = "head" if bytes(data[:16]).startswith(known["method"].encode()) else "body"
    try:
        body = json.loads(known["body"])
        key = " ".join(str(body[name]) for name in ("key", "alias", "name") if name in body)
    except (TypeError, ValueError):
        key = ""
    return f"{known['method']} {known['url'].partition('?')[0]} {key} ({part})"


class Boundary:
    """The audit hook."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.process, self.lock = settings, os.getpid(), threading.RLock()
        self.checkout, self.world = Path.cwd(), Path(settings.world)
        died = Path(settings.died)
        lines = died.read_text().splitlines() if died.is_file() else []
        self.known = {(own["job"], own["point"], own["next"]) for own in map(json.loads, lines)}
        self.inside = False
        self.mine = threading.local()  # the step before in the same thread
        self.earlier = (self.outside(), tree(self.checkout))

    @property
    def before(self) -> str:
        """Return this thread's last step."""
        return str(getattr(self.mine, "before", self.masked(f"start of {threading.current_thread().name}")))

    def outside(self) -> int:
        """Return what outlives the machine."""
        return tree(*(self.world / name for name in OUTSIDE))

    def now(self) -> tuple[int, int]:
        """Return both parts of the world; a part that the step before cannot reach is not looked at again."""
        sent = self.before.startswith("send ")
        far = self.before.startswith("run ") or CHECKOUT not in self.before
        outside = self.outside() if far else self.earlier[0]
        return outside, self.earlier[1] if sent else tree(self.checkout)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not event.startswith(("open", "os.", "subprocess.", "http.")) or os.getpid() != self.process:
            return  # a child between fork and exec is no process of its own yet
        with self.lock:
            if self.inside:
                return
            self.inside = True
            try:
                words = step(event, arguments, frame := sys._getframe(1))
                if words is not None and "__pycache__" not in words:
                    self.reached(f"{words} @ {place(frame)}")
            finally:
                self.inside = False

    def reached(self, words: str) -> None:
        """Compare the world with that of the step before, and die if this is a new point."""
        now = self.now()
        both = zip((FRESH, KEPT), now, self.earlier, strict=True)
        changed = [where for where, own, old in both if own != old]
        point, self.mine.before, self.earlier = self.before, self.masked(words), now
        for where in changed:
            if (self.settings.job, point, where) not in self.known and self.chosen(point, where):
                self.die(point, where)

    def masked(self, words: str) -> str:
        for root, name in ((self.checkout, CHECKOUT), (self.world, WORLD), (sys.executable, "PYTHON")):
            words = words.replace(str(root), name)
        return DIFFERS.sub("*", words)

    def chosen(self, point: str, where: str) -> bool:
        """Draw the point by its name, so that all processes draw alike."""
        key = f"{self.settings.seed} {self.settings.job} {where} {point}"
        return zlib.crc32(key.encode()) % self.settings.every == 0

    def die(self, point: str, where: str) -> None:
        """End the process like SIGKILL: nothing is flushed, released or tidied up.

        If the machine ends, what it started ends just so; otherwise it learns that its parent is gone.
        """
        line = json.dumps({"job": self.settings.job, "point": point, "next": where})
        handle = os.open(self.settings.died, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(handle, f"{line}\n".encode())
        os.fsync(handle)
        for child in psutil.Process().children(recursive=True) if where == FRESH else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        os._exit(DIED)


def remember_scores(world: Path) -> None:
    """Score the same versions on the same table once in all jobs: it takes longest, and changes nothing."""
    from baton.lifecycle.promotion import scoring

    score = scoring.score

    def remembered(models: Any, folders: Any, table: Any, samples: int) -> Any:
        kept = world / "scores" / f"{zlib.crc32(f'{sorted(models)} {table.sha256}'.encode())}.pickle"
        if not kept.is_file():
            found = score(models, folders, table, samples)
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(pickle.dumps(found))
            return found
        return pickle.loads(kept.read_bytes())

    scoring.score = remembered


def main() -> None:
    """Run the command."""
    del sys.path[0]  # tests/
    settings = Settings(**json.loads(sys.argv[1]))
    sys.argv[:2] = ["baton"]
    from baton import tracking

    tracking.prepare()
    from baton.cli.app import app

    remember_scores(Path(settings.world))
    sys.addaudithook(Boundary(settings))
    app()


if __name__ == "__main__":
    main()
