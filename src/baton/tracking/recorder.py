"""One tracked stage: its records become entries of its run's journal, sent to MLflow by `delivery`.

Nothing here touches the store or imports mlflow, so a stage never waits for it; only its end waits, for a few
seconds. The seconds that a stage spent here are counted and put on its run (`baton.tracking_seconds`).
"""

import contextlib
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from baton import console, params, storage
from baton.errors import BatonError, TrackingError
from baton.processes import ending
from baton.tracking import datasets, delivery, environment, journal, served_entry, writer
from baton.tracking.run import Run
from baton.tracking.writer import Writer
from baton.workspace import dvc_files

P = ParamSpec("P")

# How long the end of a stage waits for the store; a stage that was told to stop has less time.
WAIT_SECONDS, KILLED_WAIT_SECONDS = 10.0, 1.0


def counted(
    method: "Callable[Concatenate[JournalRun, P], None]",
) -> "Callable[Concatenate[JournalRun, P], None]":
    """Count the seconds of a call; its failure does not stop the stage, and is reported once per method."""

    def call(self: "JournalRun", /, *args: P.args, **kwargs: P.kwargs) -> None:
        start = clock.perf_counter()
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  any error of a disk or a file
            self.warn(method.__name__, error)
        finally:
            self.seconds += clock.perf_counter() - start

    return call


class JournalRun(Run):
    """A stage's run that records to a journal."""

    def __init__(
        self,
        name: str,
        own: Writer,
        store: str | None,
        seconds: float,
        serving: Mapping[str, Any] | None = None,
    ) -> None:
        """Read the points of an earlier attempt, and start the delivery.

        `store` is the store's address; `seconds` were spent already; `serving` are settings of logged models,
        see `serve`.
        """
        self.id, self.seconds, self._serving = own.journal.id, seconds, serving
        self._name, self._writer = name, own
        self._seen: set[tuple[str, int]] = set()
        self._step = samples = 0
        self._finals: dict[str, float] = {}
        self._warned: set[str] = set()
        for line, _ in own.journal.lines(0):  # from an earlier attempt; a million steps take half a second
            if line.startswith(b'{"kind":"system"'):
                samples += 1
            elif line.startswith(b'{"kind":"points"'):
                entry = journal.parsed(line)
                self._note(entry.get("values", {}), entry.get("step", 0))
            elif line.startswith(b'{"kind":"final"'):
                self._finals |= journal.parsed(line).get("values", {})
        self._deliverer = delivery.Deliverer(own, store, samples)

    @counted
    def metrics(self, values: Mapping[str, float], step: int, time: int | None = None) -> None:
        """See `Run`."""
        new = {key: float(value) for key, value in values.items() if (key, step) not in self._seen}
        if new:
            self._append("points", time=journal.now() if time is None else time, step=step, values=new)
            self._note(new, step)

    @counted
    def dataset(self, name: str, path: Path, context: str) -> None:
        """See `Run`."""
        about = datasets.describe(path)
        file = self._writer.keep(path, copy=False)
        # A large file on another disk is read once now instead of being copied.
        digest = "" if file else storage.sha256(path)
        self._append(
            "dataset", name=name, path=path.as_posix(), context=context, file=file, digest=digest, **about
        )

    @counted
    def figure(self, path: Path) -> None:
        """See `Run`."""
        self._append("figure", file=self._writer.keep(path))

    @counted
    def artifact(self, path: Path, folder: str = "") -> None:
        """See `Run`."""
        self._append("artifact", folder=folder, file=self._writer.keep(path))

    @counted
    def model(self, name: str, path: Path, example: Sequence[Any]) -> None:
        """See `Run`."""
        about = served_entry.of_folder(path, self._serving or {}) | {"example": list(example)}
        self._append("model", name=name, path=path.as_posix(), file=self._writer.keep(path), **about)

    @counted
    def final(self, values: Mapping[str, float]) -> None:
        """See `Run`."""
        self._final(values)

    @counted
    def model_metrics(self, name: str, path: Path, values: Mapping[str, float]) -> None:
        """See `Run`."""
        self._append("use", name=name, file=self._writer.keep(path))
        self._final({f"{name}/{key.replace('/', '_')}": value for key, value in values.items()})

    def warn(self, what: str, error: Exception) -> None:
        """Report once per kind of entry that it could not be recorded."""
        if what not in self._warned:
            self._warned.add(what)
            text = str(error) if isinstance(error, BatonError) else f"{type(error).__name__}: {error}"
            console.warn("tracking", f"{what} is not recorded; the stage continues ({text})")

    def close(self, status: str, error: BaseException | None = None) -> None:
        """Record the end, and wait a little for the store.

        Interrupting the wait loses nothing: the journal is complete by then.
        """
        self._close(status, error)
        if error is None:
            self._deliverer.finish(WAIT_SECONDS)
            return
        with contextlib.suppress(KeyboardInterrupt, SystemExit):  # the error that ended the stage counts
            self._deliverer.finish(KILLED_WAIT_SECONDS if status == "KILLED" else WAIT_SECONDS)

    @counted
    def _close(self, status: str, error: BaseException | None) -> None:
        start = clock.perf_counter()
        about: dict[str, Any] = {} if error is None else {"error": ending.described(error)}
        if status == "FINISHED":
            about = {"written": dvc_files.written(self._name), "finals": sorted(self._finals)}
        self._append(
            "close",
            time=journal.now(),
            status=status,
            seconds=self.seconds + clock.perf_counter() - start,
            **about,
        )

    def _final(self, values: Mapping[str, float]) -> None:
        new = {key: float(value) for key, value in values.items() if self._finals.get(key) != value}
        if new:
            # At the last step, so that tables, which show the value of the last step, show this one.
            self._append("final", time=journal.now(), step=self._step, values=new)
            self._finals |= new

    def _note(self, values: Mapping[str, float], step: int) -> None:
        self._seen |= {(key, step) for key in values}
        self._step = max(self._step, step)

    def _append(self, kind: str, **values: Any) -> None:
        self._writer.append(kind, **values)


@contextlib.contextmanager
def tracked(
    name: str, reasons: Mapping[str, str], active: params.Params, resume: str | None, since: float
) -> Iterator[Run]:
    """Open a stage's run, or continue the run `resume`, and close it with its status.

    Time counts from `since` (`perf_counter`).
    """
    with ending.sigterm_raises():
        run = _begin(name, reasons, active, resume, since)
        try:
            yield run or Run()
        except BaseException as error:
            if run:
                run.close(ending.status(error), error)
            raise
        if run:
            run.close("FINISHED")


def _begin(
    name: str, reasons: Mapping[str, str], active: params.Params, resume: str | None, since: float
) -> JournalRun | None:
    try:
        about = environment.opening(name, reasons, active)
        if resume and not _goes_on(journal.Journal(storage.state("journal") / resume), about):
            resume = None
        opened = _open(resume)
        opened.append("open", time=journal.now(), **about)
        serving = served_entry.known_settings(active.preprocess)
        return JournalRun(name, opened, about["store"]["uri"], clock.perf_counter() - since, serving)
    except (OSError, BatonError) as error:  # a full or read-only disk must not stop training
        console.warn("tracking", f"this stage is not recorded: {error}")
        return None


def _open(resume: str | None) -> Writer:
    if resume:
        # A process that outlived its stage may hold the journal: a new one gets all points again.
        with contextlib.suppress(TrackingError):
            return writer.write(resume)
    return writer.write(writer.new_id())


def _goes_on(earlier: journal.Journal, about: Mapping[str, Any]) -> bool:
    """Return whether a run can continue in the store that is set now.

    A journal that is gone was delivered: its run is found by its id.
    """
    first = next((entry for entry, _ in earlier.entries() if entry["kind"] == "open"), None)
    return first is None or all(first["store"][key] == about["store"][key] for key in ("uri", "experiment"))
