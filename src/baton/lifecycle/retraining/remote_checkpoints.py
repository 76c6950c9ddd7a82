"""Checkpoints of a retraining on the DVC remote, from which the job after a killed one goes on.

`REMOTE/baton/checkpoints/STAGE/` is laid out as `.baton/checkpoints/STAGE/` (`train.resume`), but holds only
the newest checkpoint of each training run. A manifest is stored last: without one, a checkpoint is not whole.
"""

import contextlib
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from baton import console, storage
from baton.processes import patience
from baton.train import checkpoint_folders
from baton.train.checkpoint_folders import MANIFEST
from baton.workspace import remote

ROOT = "baton/checkpoints"
FINGERPRINT = "fingerprint.json"  # what `train.resume` compares
# Names become paths here: none that begins with a dot, so none is a parent folder or a hidden one.
NAME = re.compile(r"\w[\w.-]*", re.ASCII)
Found = dict[str, dict[str, set[str]]]  # training run (FINGERPRINT/RUN) -> checkpoint -> files


@contextlib.contextmanager
def kept(stage: str, minutes: float | None) -> Iterator[None]:
    """Fetch what a killed job stored of a stage; store this job's checkpoints until the stage is done.

    If the block fails, the newest ones stay on the remote; if not, none does.

    Args:
        stage: in `dvc.yaml`.
        minutes: between two looks for new checkpoints; None does nothing, nor is anything done on a web
            server, which cannot list files.

    Raises:
        OutputError: the remote cannot be reached.
    """
    if minutes is None or not (shelf := Shelf(stage)).remote.lists_files:
        yield
        return
    remote.reachable(patience.persist(shelf.remote.trouble))
    shelf.tried("fetched", shelf.fetch)
    done = threading.Event()
    thread = threading.Thread(target=shelf.watch, args=(done, minutes * 60), daemon=True)
    thread.start()
    finish = shelf.store
    try:
        yield
        finish = shelf.clear
    finally:
        done.set()
        thread.join()
        shelf.tried("brought up to date", finish)


class Shelf:
    """The checkpoints of one stage, here and on the remote."""

    def __init__(self, stage: str) -> None:
        """Open the project's remote."""
        self.remote, self.here = remote.Remote(), storage.state("checkpoints") / stage
        self.there = f"{self.remote.path.rstrip('/')}/{ROOT}/{stage}"
        self.trouble = ""  # the last one, which is said once

    def watch(self, done: threading.Event, seconds: float) -> None:
        """Store new checkpoints now and then, until `done`."""
        while not done.wait(seconds):
            self.tried("stored", self.store)

    def tried(self, what: str, act: Callable[[], None]) -> None:
        """Act; say once what went wrong, since training is not to end because of it."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  every kind of remote has its own
            trouble = " ".join(f"{type(error).__name__}: {error}".split())[: remote.WORDS]
            if trouble != self.trouble:
                console.warn("checkpoints", f"those on the DVC remote are not {what} ({trouble})")
            self.trouble = trouble

    def fetch(self) -> None:
        """Bring the checkpoints here that are newer than those that are here."""
        for run, found in self._found().items():
            newest = max((name for name, files in found.items() if MANIFEST in files), default=None)
            own = checkpoint_folders.names(self.here / run)
            if newest is None or (own and own[-1] >= newest):
                continue
            target = self.here / run / newest
            temporary = checkpoint_folders.begin(target)
            for file in found[newest]:
                self._get(f"{run}/{newest}/{file}", temporary / file)
            checkpoint_folders.end(temporary, target)
            marks = f"{run.partition('/')[0]}/{FINGERPRINT}"
            if not (self.here / marks).exists():
                self._get(marks, self.here / marks)
            console.say(f"checkpoint: {target} is from an earlier job")

    def store(self) -> None:
        """Store the newest checkpoint of each training run, and remove the older ones of it."""
        found = self._found()
        for folder in self.here.glob("*/*/"):
            run = folder.relative_to(self.here).as_posix()
            there, names = found.get(run, {}), checkpoint_folders.names(folder)
            if names and MANIFEST not in there.get(names[-1], ()) and self._put(run, names[-1]):
                for old in set(there) - {names[-1]}:
                    self._remove(f"{run}/{old}")

    def clear(self) -> None:
        """Remove all checkpoints of the stage from the remote."""
        for run in {run.partition("/")[0] for run in self._found()}:
            self._remove(run)

    def _found(self) -> Found:
        """Return what is on the remote; anything else that lies there is left out."""
        found: Found = defaultdict(lambda: defaultdict(set))
        with contextlib.suppress(FileNotFoundError):
            for path in self.remote.fs.find(self.there):
                names = path.removeprefix(self.there).strip("/").split("/")
                if len(names) == 4 and all(map(NAME.fullmatch, names)):
                    found["/".join(names[:2])][names[2]].add(names[3])
        return found

    def _put(self, run: str, name: str) -> bool:
        """Store a checkpoint; return False if training removed it meanwhile, since it has newer ones."""
        folder = self.here / run / name
        marks = f"{run.partition('/')[0]}/{FINGERPRINT}"
        try:
            self._upload(self.here / marks, marks)
            for path in sorted(folder.iterdir(), key=lambda path: path.name == MANIFEST):
                self._upload(path, f"{run}/{name}/{path.name}")
        except FileNotFoundError:
            if folder.exists():
                raise
            return False
        return True

    def _upload(self, path: Path, to: str) -> None:
        target = f"{self.there}/{to}"
        self.remote.fs.makedirs(self.remote.fs.parent(target))
        self.remote.fs.put_file(str(path), target)

    def _get(self, name: str, to: Path) -> None:
        self.remote.fs.get_file(f"{self.there}/{name}", str(to))

    def _remove(self, name: str) -> None:
        self.remote.fs.rm(f"{self.there}/{name}", recursive=True)
