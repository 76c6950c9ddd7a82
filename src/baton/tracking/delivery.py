"""From journals to the MLflow store: by a thread of each stage, and by `baton sync` for the rest.

A failure is reported once and retried later; a request that hangs holds up only the thread.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rich.markup import escape

from baton import console, params
from baton.errors import TrackingError
from baton.tracking import environment, journal, writer
from baton.tracking.run import SyncReport
from baton.workspace import dvc_files

if TYPE_CHECKING:
    from baton.tracking.replay import Carrier

SECONDS = 5.0  # between two rounds
PAUSES = (1.0, 60.0)  # after failures: the first pause doubles up to the last
KEEP_SECONDS = 30 * 86400.0  # for the delivered journal of an unfinished stage, which may be resumed


@dataclass
class Delivered:
    """The delivered and undelivered parts of journals."""

    entries: int = 0
    points: int = 0
    ended: int = 0
    refused: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)  # journals, with the reason
    down: dict[str | None, Exception] = field(default_factory=dict)  # stores that failed, by address


class Deliverer:
    """A stage's thread that delivers journals, first those of earlier stages; it also samples the machine."""

    def __init__(self, own: writer.Writer, store: str | None, samples: int) -> None:
        """`store` is the journal's store; `samples` were taken in earlier attempts."""
        self._writer, self._store, self._samples = own, store, samples
        self._closing, self._locks = threading.Event(), contextlib.ExitStack()
        self._said: set[str] = set()
        self._left = False  # the process ends without waiting for the thread
        self._carrier: Carrier | None = None
        if "sklearn" in sys.modules:
            # scikit-learn looks for pandas among the loaded modules, and would find it half loaded by the
            # thread. If scikit-learn is not loaded yet, its own import takes longer than that.
            import pandas as pd  # noqa: F401
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait at most `seconds` for the rest of the journal to be delivered; report what still waits."""
        self._closing.set()
        try:
            self._thread.join(seconds)
        finally:
            # `baton repro` delivers them at its end, and says what then still waits.
            waiting = self._writer.journal.waiting()
            if waiting and os.environ.get("BATON_DELIVERY") != "later":
                console.warn(
                    "tracking", f"{waiting:,} entries wait in the journal; `baton sync` delivers them"
                )
            self._left = self._thread.is_alive()
            if not self._left:
                self._writer.close()

    def _run(self) -> None:
        try:
            with self._reported("the state of git and of dvc.lock is not recorded"):
                self._writer.append("environment", **environment.surroundings())
            self._rounds()
        except Exception as error:  # noqa: BLE001  it would go unnoticed otherwise
            if not self._left:
                console.warn(
                    "tracking",
                    f"nothing is sent to the MLflow store; the journal keeps everything ({_reason(error)})",
                )
        finally:
            self._locks.close()
            if self._closing.is_set():
                self._writer.close()

    def _rounds(self) -> None:
        import pandas as pd  # noqa: F401  first, see above

        from baton.tracking.system_metrics import Sampler

        sampler, pause, due = Sampler(), 0.0, 0.0
        while True:
            closing = self._closing.is_set()
            with self._reported("system metrics are not recorded"):
                self._writer.append("system", time=journal.now(), step=self._samples, values=sampler.sample())
                self._samples += 1
            if closing or time.monotonic() >= due:
                done = False
                with self._reported(
                    "the MLflow store failed; the stage continues, its journal keeps everything"
                ):
                    self._deliver()
                    done = True
                pause = 0.0 if done else min(max(2 * pause, PAUSES[0]), PAUSES[1])
                due = time.monotonic() + pause
            if closing:
                return
            self._closing.wait(SECONDS)

    def _deliver(self) -> None:
        own = self._writer.journal
        if self._carrier is None:
            done = deliver_left(own.id, lambda store: store == self._store)
            _say_refused(done.refused)
            if self._store in done.down:
                raise done.down[self._store]
            from baton.tracking.replay import Carrier

            self._locks.enter_context(own.delivering())
            self._carrier = Carrier(own)
        announced = bool(self._carrier.cursor.run)
        try:
            self._carrier.deliver()
        finally:
            _say_refused(self._carrier.refused)
            self._carrier.refused.clear()
            cursor = self._carrier.cursor
            if cursor.run and not announced:
                where = f"experiment {escape(cursor.store['experiment'])}, run {cursor.run[:8]}"
                console.say(f"[dim]recorded in MLflow: {where} (`baton ui` shows it)[/]")
        if self._closing.is_set() and self._carrier.cursor.status == "FINISHED" and not own.waiting():
            own.remove()

    @contextlib.contextmanager
    def _reported(self, text: str) -> Iterator[None]:
        """Report a failure once and continue, whatever a store, a network, a disk or a sensor raises.

        Once the process ends, its temporary files go and the thread's calls fail: that is no news.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001
            if text not in self._said and not self._left:
                self._said.add(text)
                console.warn("tracking", f"{text} ({_reason(error)})")


def deliver_left(own: str = "", wanted: Callable[[str | None], bool] = lambda _: True) -> Delivered:
    """Deliver the journals that earlier stages left for `wanted` stores, the oldest first.

    Skip the one named `own`, and those of running stages.
    """
    done = Delivered()
    for one in journal.left():
        if one.id == own or not writer.abandoned(one):
            continue
        with one.delivering() as there:
            if there and one.waiting():
                _deliver_one(one, wanted, done)
        writer.clear(one, KEEP_SECONDS)
    return done


def _deliver_one(one: journal.Journal, wanted: Callable[[str | None], bool], done: Delivered) -> None:
    from baton.tracking.replay import Carrier

    carrier = Carrier(one)
    if not wanted(carrier.address):
        return
    error = done.down.get(carrier.address)
    if error is None:
        try:
            carrier.deliver()
        except Exception as caught:  # noqa: BLE001  any error of a store, a network or a disk
            # Also for the store's later journals, which may build on this one.
            error = done.down[carrier.address] = caught
    if error:
        done.waiting.append(f"{one.folder}: {_reason(error)}")
    done.entries, done.points, done.ended = (
        done.entries + carrier.entries,
        done.points + carrier.points,
        done.ended + carrier.ended,
    )
    done.refused += carrier.refused


def sync(settings: params.MlflowTracking) -> SyncReport:
    """Deliver and link: see `baton.tracking.sync`."""
    from baton.tracking import lineage
    from baton.tracking.store import open_store, usable

    done = deliver_left()
    if settings.uri in done.down:
        got, hint = (
            _reason(done.down[settings.uri]),
            "is the server up? Nothing is lost: run `baton sync` again when it is",
        )
        raise TrackingError(
            f"{len(done.waiting)} journals wait for the MLflow store",
            got=got,
            expected="a store that answers",
            hint=hint,
        )
    store = open_store(settings)
    with usable(store.client.tracking_uri):
        report = lineage.sync(store, dvc_files.read_lock(), text=dvc_files.read_text())
    report = replace(report, entries=done.entries, points=done.points, ended=report.ended + done.ended)
    return replace(report, refused=tuple(done.refused), waiting=tuple(done.waiting))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _say_refused(refused: list[str]) -> None:
    for text in refused:
        console.warn("tracking", f"the MLflow store rejected: {text}")
