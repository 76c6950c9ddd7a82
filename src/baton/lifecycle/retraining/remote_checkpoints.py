"""Checkpoints of a retraining on the DVC remote, from which the job after a killed one goes on.

`REMOTE/baton/checkpoints/STAGE/` is laid out as `.baton/checkpoints/STAGE/` (`train.resume`), but holds only
the newest checkpoint of each training run. A manifest is stored last: without one, a checkpoint is not whole,
and what is fetched is compared with it.
"""

import contextlib
import json
import re
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from baton import console, params, storage
from baton.processes import patience
from baton.train import checkpoint_folders
from baton.train.checkpoint_folders import MANIFEST
from baton.workspace import refusals, remote

ROOT = "baton/checkpoints"
FINGERPRINT = "fingerprint.json"  # what `train.resume` compares
# Names become paths here: none that begins with a dot, so none is a parent folder or a hidden one.
NAME = re.compile(r"\w[\w.-]*", re.ASCII)
OLD_SECONDS = 30 * 24 * 3600
LEAST_SECONDS = 10.0  # to wait at the end, however impatient the job is
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
    remote.reachable(patience.persist(shelf.fetched))
    thread = threading.Thread(target=shelf.watch, args=(minutes * 60,), daemon=True)
    thread.start()
    try:
        yield
        shelf.finish = shelf.clear
    finally:
        shelf.done.set()
        thread.join(max(patience.allowed(), LEAST_SECONDS))  # a remote that hangs holds up no finished job


class Shelf:
    """The checkpoints of one stage, here and on the remote."""

    def __init__(self, stage: str) -> None:
        """Open the project's remote."""
        self.remote, self.here = remote.Remote(), storage.state("checkpoints") / stage
        self.there = f"{self.remote.path.rstrip('/')}/{ROOT}/{stage}"
        self.end = PurePosixPath(ROOT, stage).parts  # of folders with fingerprints
        self.done, self.finish = threading.Event(), self.store
        self.before: dict[str, str] = {}  # training run -> its newest checkpoint when the job began
        self.own: set[str] = set()  # fingerprints that this job stored or fetched
        self.trouble = ""  # the last one, which is said once

    def watch(self, seconds: float) -> None:
        """Store new checkpoints now and then, until the job is done with the stage; then `finish`."""
        while not self.done.wait(seconds):
            self._tried(self.store)
        self._tried(self.finish)

    def fetched(self) -> str | None:
        """Bring the checkpoints here that fit the params and are newer; return what stands in the way."""
        if trouble := self.remote.trouble():
            return trouble
        known = params.flatten(params.read().model_dump(mode="json"))
        wanted = {f"params {key}": json.dumps(value) for key, value in known.items()}
        try:
            for run, found in self._found().items():
                if self._fits(_experiment(run), wanted):
                    self._fetch(run, found)
        except Exception as error:  # noqa: BLE001  every kind of remote has its own
            refusals.check(error)
            return f"a checkpoint on the DVC remote cannot be fetched ({refusals.reason(error)})"
        self.before = {run: name for run, name, _ in self._newest()}
        return None

    def store(self) -> None:
        """Store the newest checkpoint of each training run of this job, and remove the older ones of it."""
        found = self._found()
        for run, name, folder in self._newest():
            there = found.get(run, {})
            if self.before.get(run) == name or any(_is_whole(there, other, name) for other in there):
                continue
            if self._put(run, name, folder):
                self.own.add(_experiment(run))
                for old in {other for other in there if other < name}:
                    self._remove(f"{run}/{old}")

    def clear(self) -> None:
        """Remove the checkpoints from the remote whose training runs are finished here, and old ones."""
        waiting = {_experiment(run) for run, _, _ in self._newest()}
        for fingerprint in {_experiment(run) for run in self._found()}:
            if fingerprint in self.own - waiting or self._is_old(fingerprint):
                self._remove(fingerprint)

    def _is_old(self, fingerprint: str) -> bool:
        """Return whether nothing was stored of an experiment for a month."""
        try:
            stored = self.remote.fs.modified(f"{self.there}/{fingerprint}/{FINGERPRINT}")
            return bool(time.time() - stored.timestamp() > OLD_SECONDS)
        except (FileNotFoundError, NotImplementedError, AttributeError):
            return False  # some kinds of remote do not say

    def _tried(self, act: Callable[[], None]) -> None:
        """Act; say once what went wrong, since training is not to end because of it."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  every kind of remote has its own
            trouble = refusals.reason(error)
            if trouble != self.trouble:
                console.warn("checkpoints", f"those on the DVC remote are not up to date ({trouble})")
            self.trouble = trouble

    def _newest(self) -> list[tuple[str, str, Path]]:
        """Return each training run here, with the name and folder of its newest checkpoint."""
        runs = [(folder, checkpoint_folders.names(folder)) for folder in sorted(self.here.glob("*/*/"))]
        return [
            (folder.relative_to(self.here).as_posix(), names[-1], folder / names[-1])
            for folder, names in runs
            if names
        ]

    def _found(self) -> Found:
        """Return what is on the remote; anything else that lies there is left out."""
        found: Found = defaultdict(lambda: defaultdict(set))
        with contextlib.suppress(FileNotFoundError):
            for path in self.remote.fs.find(self.there):
                *folder, fingerprint, run, name, file = ("", "", "", *PurePosixPath(path).parts)
                if tuple(folder[-len(self.end) :]) == self.end and all(
                    map(NAME.fullmatch, (fingerprint, run, name, file))
                ):
                    found[f"{fingerprint}/{run}"][name].add(file)
        return found

    def _fits(self, fingerprint: str, wanted: dict[str, str]) -> bool:
        """Return whether checkpoints are of these params."""
        target = self.here / fingerprint / FINGERPRINT
        try:
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                with storage.atomic_file(target) as temporary:
                    self._get(f"{fingerprint}/{FINGERPRINT}", temporary)
            marks = storage.read_json(target)
        except (FileNotFoundError, ValueError):
            return False  # not whole yet, or not any more
        return all(wanted.get(key, value) == value for key, value in marks.items())

    def _fetch(self, run: str, found: dict[str, set[str]]) -> None:
        """Fetch the newest checkpoint that is whole, if it is newer than what is here."""
        own = checkpoint_folders.names(self.here / run)
        for name in sorted((name for name, files in found.items() if MANIFEST in files), reverse=True):
            if own and own[-1] >= name:
                return
            target = self.here / run / name
            temporary = checkpoint_folders.begin(target)
            for file in found[name]:
                self._get(f"{run}/{name}/{file}", temporary / file)
            if _is_intact(temporary):
                checkpoint_folders.end(temporary, target)
                self.own.add(_experiment(run))
                console.say(f"checkpoint: {target} is from an earlier job")
                return
            shutil.rmtree(temporary)
            console.warn("checkpoints", f"{run}/{name} on the DVC remote is broken; it is removed")
            self._remove(f"{run}/{name}")

    def _put(self, run: str, name: str, folder: Path) -> bool:
        """Store a checkpoint; return False if training removed it meanwhile, since it has newer ones."""
        marks = f"{_experiment(run)}/{FINGERPRINT}"
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


def _is_whole(there: dict[str, set[str]], other: str, name: str) -> bool:
    """Return whether a checkpoint on the remote is whole and as new as `name`, or newer."""
    return other >= name and MANIFEST in there[other]


def _is_intact(folder: Path) -> bool:
    """Return whether a checkpoint's files are those of its manifest."""
    try:
        manifest = storage.read_json(folder / MANIFEST)
        return all(checkpoint_folders.entry(folder / name) == known for name, known in manifest.items())
    except (FileNotFoundError, ValueError, AttributeError):
        return False


def _experiment(run: str) -> str:
    """Return the fingerprint of a training run."""
    return run.partition("/")[0]
