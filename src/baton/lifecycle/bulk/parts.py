"""The finished parts of a prediction job, in the folder OUT.parts, and the record OUT.json of a finished one.

A part has the answers to one chunk, and does not depend on which job computes it: jobs with different shards,
or one that goes on after a kill, only look for those that are missing. `manifest.json` says of what they are
the answers; whoever comes with something else is refused. Each part has its digest: no part of
another job is taken for one of this, however it got there.
"""

import contextlib
import glob
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from baton import storage
from baton.errors import OutputError
from baton.processes import locks

MANIFEST, LOCK = "manifest.json", "parts.lock"
MARK = b"baton.job"  # key of a part's metadata: the digest of the manifest
SAID = {  # in messages
    "input": "another input, or one that has changed",
    "model": "another model",
    "columns": "other columns of the input",
    "precision": "another precision",
}


class Finished(Exception):  # noqa: N818  no fault
    """Another job has finished the output."""


class Parts:
    """The parts of one output."""

    def __init__(self, out: Path) -> None:
        """Take the output's path."""
        self.out = out
        self.folder = out.with_name(f"{out.name}.parts")
        self.record = out.with_name(f"{out.name}.json")
        self.removed = f".{out.name}.removed-"  # begins the name of a folder that is being removed
        self.job: dict[str, Any] = {}

    def begin(self, job: Mapping[str, Any]) -> bool:
        """Write the manifest, or check that it is this job's; return whether the output is there already.

        Raises:
            OutputError: parts or output are there of another job.
        """
        self.job = dict(job)
        with self.locked():
            for left in self.out.parent.glob(f"{glob.escape(self.removed)}*"):
                shutil.rmtree(left, ignore_errors=True)  # another job may remove it, too
            if self.out.exists():
                done = storage.read_json(self.record).get("job") if self.record.is_file() else None
                if done == job:
                    self._remove()
                    return True
                if not (self.folder / MANIFEST).is_file():
                    self._drop()
                    raise self._occupied(done, job)
            path = self.folder / MANIFEST
            if path.is_file():
                _same(self.folder, storage.read_json(path), job)
            else:
                for unknown in self.folder.glob("part-*"):
                    unknown.unlink()
                storage.write_json(path, job)
            return False

    def known(self) -> dict[str, Any]:
        """Return the manifest that is there, or that of the finished output; empty if there is none."""
        for path in (self.folder / MANIFEST, self.record):
            with contextlib.suppress(FileNotFoundError):
                found: dict[str, Any] = storage.read_json(path)
                return dict(found.get("job", found))
        return {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other jobs of this output for a moment, in the folder, which exists then."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = locks.take(self.folder / LOCK, wait=True)
            if handle is not None:  # otherwise a job that has finished removed the folder
                break
        try:
            yield
        finally:
            locks.give(handle)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Exclude other jobs for a moment, as `locked`, after `begin`.

        Raises:
            Finished: another job has finished the output and removed the parts.
            OutputError: somebody removed the parts, or has begun another job.
        """
        with self.locked():
            path = self.folder / MANIFEST
            if path.is_file():
                _same(self.folder, storage.read_json(path), self.job)
            elif self.out.exists():
                self._remove()
                raise Finished
            else:
                self._drop()
                hint = "run the job again, which begins anew"
                raise OutputError(f"{self.folder} was removed", expected="parts that stay", hint=hint)
            yield

    @contextlib.contextmanager
    def shard(self, name: str) -> Iterator[None]:
        """Refuse a second job of the same shard.

        Raises:
            OutputError: there is one.
        """
        path = self.folder / f"shard-{name.replace('/', '-of-')}.lock"
        with locks.alone(path, f"job predicts shard {name} of {self.out}"):
            yield

    def path(self, chunk: int) -> Path:
        """Return the file of a chunk's part."""
        return self.folder / f"part-{chunk:08d}.parquet"

    def has(self, chunk: int) -> bool:
        """Return whether a chunk is finished, by this job or one like it."""
        try:
            return self._is_own(pq.read_schema(self.path(chunk)))
        except (pa.ArrowException, OSError):
            return False

    def write(self, chunk: int, table: pa.Table) -> None:
        """Write a part: whole, or not at all.

        Raises:
            Finished, OutputError: as `going_on`.
        """
        with self.going_on(), storage.atomic_file(self.path(chunk)) as temporary:
            pq.write_table(table.replace_schema_metadata({MARK: self._mark()}), temporary)

    def read(self, count: int) -> Iterator[pa.Table]:
        """Yield the parts of `count` chunks in order.

        Raises:
            OutputError: one is of another job, or does not begin where the one before it ends.
        """
        row = 1
        for chunk in range(count):
            try:
                table = pq.read_table(self.path(chunk))
                numbers = [*range(row, row + len(table))]
                fits = self._is_own(table.schema) and table.column("row").to_pylist() == numbers
            except (pa.ArrowException, OSError, KeyError):
                fits = False
            if not fits:
                hint = "remove it and run the job again, which computes it anew"
                raise OutputError(f"{self.path(chunk)} is damaged", expected=f"rows from {row}", hint=hint)
            yield table
            row += len(table)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Record that the output is complete and remove the parts; call it while `locked`."""
        storage.write_json(self.record, record)
        self._remove()

    def _mark(self) -> bytes:
        return hashlib.sha256(json.dumps(self.job, sort_keys=True).encode()).hexdigest().encode()

    def _is_own(self, schema: pa.Schema) -> bool:
        return (schema.metadata or {}).get(MARK) == self._mark()

    def _remove(self) -> None:
        """Remove the folder. Its name goes first: a kill meanwhile leaves no parts without their manifest."""
        target = tempfile.mkdtemp(prefix=self.removed, dir=self.out.parent)
        self.folder.replace(target)
        shutil.rmtree(target, ignore_errors=True)  # a job that begins may remove it, too

    def _drop(self) -> None:
        """Remove the folder if nothing but the lock is in it."""
        (self.folder / LOCK).unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _occupied(self, done: Mapping[str, Any] | None, job: Mapping[str, Any]) -> OutputError:
        got = "the output of " + _differences(done, job) if done else f"a file without {self.record.name}"
        hint = "choose another --out, or remove it"
        return OutputError(f"{self.out} exists", got=got, expected="a file to create", hint=hint)


def _same(folder: Path, there: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    if there != job:
        hint = f"give the job what it began with; or, to begin anew, remove {folder}"
        problem = f"{folder} has parts of another job"
        raise OutputError(problem, got=_differences(there, job), expected="the same job", hint=hint)


def _differences(there: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    names = [name for name in {**job, **there} if there.get(name) != job.get(name)]
    return ", ".join(SAID.get(name, f"{name} {there.get(name)}, now {job.get(name)}") for name in names)
