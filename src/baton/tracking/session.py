"""One tracked stage: its run and its pipeline run, from the first tag to the last figure."""

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.markup import escape

from baton import console, params, storage
from baton.errors import BatonError, TrackingError
from baton.tracking import Run, datasets, environment, lineage, pipelines, process
from baton.tracking.delivery import Delivery, Point, now
from baton.tracking.store import Store, open_store

TERMINATED = 143  # 128 + SIGTERM, what a shell reports
ERROR_LENGTH = 2000


class StoredRun(Run):
    """A stage's run in the store."""

    def __init__(self, store: Store, name: str, run: str, pipeline: str) -> None:
        """`run` and `pipeline` are ids of running runs, `name` is the stage's."""
        self.store, self.name, self.id, self.pipeline = store, name, run, pipeline
        self._models: dict[str, str] = {}  # name -> id
        self._step = 0
        self._finals: dict[str, float] = {}
        self._delivery = Delivery(lambda points: store.log(run, points), _system_sampler(run, store))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """See `Run`."""
        time, self._step = now(), max(self._step, step)
        self._delivery.add([Point(key, float(value), step, time) for key, value in values.items()])

    def dataset(self, name: str, path: Path, context: str) -> None:
        """See `Run`."""
        self._try(lambda: datasets.log(self.store, self.id, name, path, context))

    def figure(self, path: Path) -> None:
        """See `Run`."""
        for run in (self.id, self.pipeline):
            self._try(lambda run=run: self.store.client.log_artifact(run, str(path), "figures"))  # type: ignore[misc]

    def artifact(self, path: Path, folder: str = "") -> None:
        """See `Run`."""
        self._try(lambda: self.store.client.log_artifact(self.id, str(path), folder or None))

    def model(self, name: str, path: Path, example: Sequence[str]) -> None:
        """See `Run`."""

        def record() -> None:
            from baton.tracking import pyfuncs

            self._models[name] = pyfuncs.log(self.store, self.id, name, path, example)

        self._try(record)

    def final(self, values: Mapping[str, float]) -> None:
        """See `Run`."""
        time = now()
        values = {key: float(value) for key, value in values.items() if self._finals.get(key) != value}
        if not values:
            return
        self._finals |= values
        # At the last step, so that among values by step the final one is what tables show.
        points = [Point(key, value, self._step, time, self._models.get(key.partition("/")[0])) for key, value in values.items()]
        self._try(lambda: self.store.log(self.id, points, tags={pipelines.FINAL: json.dumps(sorted(self._finals))}))
        self._try(lambda: self.store.log(self.pipeline, [point._replace(step=0, model=None) for point in points]))

    def model_metrics(self, name: str, path: Path, values: Mapping[str, float]) -> None:
        """See `Run`."""
        self._try(lambda: self._find_model(name, path))
        self.final({f"{name}/{key.replace('/', '_')}": value for key, value in values.items()})

    def close(self, status: str, error: BaseException | None) -> None:
        """Send what is left and end the run, and the pipeline run if this was its last stage or it failed."""
        self._delivery.close()
        self._try(lambda: self._note(status, error))
        self._try(lambda: pipelines.end_stage(self.store, self.id, self.pipeline, status))

    def _note(self, status: str, error: BaseException | None) -> None:
        """What the run wrote, or why it ended: on the run, and as the description that its page shows."""
        if status == "FINISHED":
            self.store.log(self.id, tags={lineage.WRITTEN: json.dumps(lineage.written(self.name))})
        elif error is not None:
            text = _described(error)
            self.store.log(self.id, tags={"baton.error": text, pipelines.NOTE: f"```\n{text}\n```"})

    def _find_model(self, name: str, path: Path) -> None:
        """Remember the logged model whose folder has this digest: one of this pipeline run if there is one, else the newest."""
        from mlflow.entities import LoggedModelInput

        found = self.store.models(f"tags.sha256 = '{storage.sha256_tree(path)}'")
        siblings = pipelines.stage_runs(self.store, self.pipeline)
        found.sort(key=lambda model: model.source_run_id not in siblings)  # stable: the newest stays first
        if found:
            self._models[name] = found[0].model_id
            self.store.client.log_inputs(self.id, models=[LoggedModelInput(found[0].model_id)])

    def _try(self, action: Callable[[], object]) -> None:
        """A store that fails must not stop the stage: said once, then silence."""
        try:
            action()
        except Exception as error:  # noqa: BLE001  whatever a store, a network or a disk can raise
            self._delivery.warn(error)


@contextlib.contextmanager
def tracked(name: str, reasons: Mapping[str, str], settings: params.MlflowTracking) -> Iterator[Run]:
    """Open a stage's run and close it with its status; the null tracker if the store cannot be used."""
    with _sigterm_raises():
        run = _begin(name, reasons, settings)
        try:
            yield run or Run()
        except BaseException as error:
            if run:
                run.close(_status(error), error)
            raise
        if run:
            run.close("FINISHED", None)


def _begin(name: str, reasons: Mapping[str, str], settings: params.MlflowTracking) -> StoredRun | None:
    try:
        store = open_store(settings)
        owner, values, tags = process.owner(), params.flatten(params.read_raw()), environment.tags()
        pipeline = pipelines.open_pipeline(store, owner, values, tags)
        own = process.this()
        tags |= environment.source(f"stages/{name}.py")
        tags |= {pipelines.KIND: "stage", "baton.stage": name, pipelines.PROCESS: own.name, pipelines.STARTED: repr(own.started)}
        run = store.create_run(name, tags | {"mlflow.parentRunId": pipeline})
        store.log(run, values={**values, **{f"resolved.{key}": reason for key, reason in reasons.items()}})
        lineage.begin_stage(store, name, pipeline)
    except Exception as error:  # noqa: BLE001  whatever a store, a network or a disk can raise must not stop a training
        text = str(error) if isinstance(error, TrackingError) else f"{type(error).__name__}: {error}"
        console.say(f"[yellow]tracking:[/] this stage is not recorded: {escape(text)}")
        return None
    console.say(f"[dim]recorded in MLflow: experiment {escape(settings.experiment)}, run {name} {run[:8]} (`make ui` shows it)[/]")
    return StoredRun(store, name, run, pipeline)


def _system_sampler(run: str, store: Store) -> Callable[[], Sequence[Point]]:
    """MLflow's monitors (CPU, memory, disk, network, GPU), asked at each round of the delivery; one step a sample."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor: Any = SystemMetricsMonitor(run, tracking_uri=store.client.tracking_uri)
    monitor.collect_metrics()  # the processor's use is counted from the sample before
    for part in monitor.monitors:
        part.clear_metrics()
    step = 0

    def sample() -> Sequence[Point]:
        nonlocal step
        monitor.collect_metrics()
        points = [Point(f"system/{key}", float(value), step, now()) for key, value in monitor.aggregate_metrics().items()]
        for part in monitor.monitors:
            part.clear_metrics()
        step += 1
        return points

    return sample


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM raises SystemExit(143), so that runs are closed; ignored while that happens, and as before afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _status(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in (TERMINATED, 128 + signal.SIGINT)):
        return "KILLED"
    return "FINISHED" if isinstance(error, SystemExit) and not error.code else "FAILED"


def _described(error: BaseException) -> str:
    text = str(error) if isinstance(error, BatonError) else f"{type(error).__name__}: {error}"
    return text[:ERROR_LENGTH]
