"""The finished parts of a prediction job, in the folder OUT.parts, and the record OUT.json of a finished one.

A part has the answers to one chunk, and does not depend on which job computes it: jobs with different shards,
or one that goes on after a kill, only look for those that are missing. `manifest.json` says of what they are
the answers; whoever comes with something else is refused.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from baton import storage
from baton.errors import OutputError
from baton.processes import locks

MANIFEST, LOCK = "manifest.json", "parts.lock"
SAID = {  # in messages
    "input": "another input, or one that has changed",
    "model": "another model",
    "columns": "other columns of the input",
    "precision": "another precision",
}


class Parts:
    """The parts of one output."""

    def __init__(self, out: Path) -> None:
        """Take the output's path."""
        self.out = out
        self.folder = out.with_name(f"{out.name}.parts")
        self.record = out.with_name(f"{out.name}.json")

    def begin(self, job: Mapping[str, Any]) -> bool:
        """Write the manifest, or check that it is this job's; return whether the output is there already.

        Raises:
            OutputError: parts or output are there of another job.
        """
        with self.locked():
            if self.out.exists():
                done = storage.read_json(self.record).get("job") if self.record.is_file() else None
                if done == job:
                    shutil.rmtree(self.folder)
                    return True
                if not (self.folder / MANIFEST).is_file():
                    self._drop()
                    raise self._occupied(done, job)
            path = self.folder / MANIFEST
            if path.is_file():
                _same(self.folder, storage.read_json(path), job)
            else:
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
        """Return whether a chunk is finished."""
        return self.path(chunk).is_file()

    def write(self, chunk: int, table: pa.Table) -> None:
        """Write a part: whole, or not at all."""
        with storage.atomic_file(self.path(chunk)) as temporary:
            pq.write_table(table, temporary)

    def read(self, count: int) -> Iterator[pa.Table]:
        """Yield the parts of `count` chunks in order.

        Raises:
            OutputError: one does not begin where the one before it ends.
        """
        row = 1
        for chunk in range(count):
            try:
                table = pq.read_table(self.path(chunk))
                fits = table.column("row").to_pylist() == [*range(row, row + len(table))]
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
        shutil.rmtree(self.folder)

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
