"""One tracked stage: its run and its pipeline run, from the first tag to the last figure."""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.markup import escape

from baton import console, params, storage
from baton.errors import TrackingError
from baton.tracking import Run, datasets, ending, environment, lineage, pipelines, process
from baton.tracking.delivery import Delivery, Point, now
from baton.tracking.store import Store, open_store

# A request that failed after this long did not fail, it got no answer: no other one is made in the stage's own time until one came through.
HANG_SECONDS = 5.0


class StoredRun(Run):
    """A stage's run in the store."""

    def __init__(self, store: Store, name: str, run: str, pipeline: str) -> None:
        """`run` and `pipeline` are ids of running runs, `name` is the stage's."""
        self.store, self.name, self.id, self.pipeline = store, name, run, pipeline
        self._models: dict[str, str] = {}  # name -> id
        self._datasets: dict[str, str] = {}  # name -> digest
        self._step = 0
        self._finals: dict[str, float] = {}
        self._delivery = Delivery(store.send, _system_sampler(run, store))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """See `Run`."""
        moment, self._step = now(), max(self._step, step)
        self._delivery.add([Point(self.id, key, float(value), step, moment) for key, value in values.items()])

    def dataset(self, name: str, path: Path, context: str) -> None:
        """See `Run`."""

        def record() -> None:
            self._datasets[name] = datasets.log(self.store, self.id, name, path, context)

        self.attempt(record)

    def figure(self, path: Path) -> None:
        """See `Run`."""
        for run in (self.id, self.pipeline):
            self.attempt(lambda run=run: self.store.client.log_artifact(run, str(path), "figures"))  # type: ignore[misc]

    def artifact(self, path: Path, folder: str = "") -> None:
        """See `Run`."""
        self.attempt(lambda: self.store.client.log_artifact(self.id, str(path), folder or None))

    def model(self, name: str, path: Path, example: Sequence[str]) -> None:
        """See `Run`."""

        def record() -> None:
            from baton.tracking import pyfuncs

            self._models[name] = pyfuncs.log(self.store, self.id, name, path, example)

        self.attempt(record)

    def final(self, values: Mapping[str, float]) -> None:
        """See `Run`."""
        moment = now()
        values = {key: float(value) for key, value in values.items() if self._finals.get(key) != value}
        if not values:
            return
        self._finals |= values
        # At the last step, so that among values by step the final one is what tables show.
        for key, value in values.items():
            own = Point(self.id, key, value, self._step, moment, *self._belongs(key))
            self._delivery.add([own, Point(self.pipeline, key, value, 0, moment)])

    def model_metrics(self, name: str, path: Path, values: Mapping[str, float]) -> None:
        """See `Run`."""
        self.attempt(lambda: self._find_model(name, path))
        self.final({f"{name}/{key.replace('/', '_')}": value for key, value in values.items()})

    def _belongs(self, figure: str) -> tuple[str | None, tuple[str, str] | None]:
        """Model and dataset of `teacher/val_accuracy`: the model `teacher`, if it is known, and the dataset `val`."""
        model, _, key = figure.partition("/")
        data = next(((name, digest) for name, digest in self._datasets.items() if key.startswith(f"{name}_")), None)
        return self._models.get(model), data

    def close(self, status: str, error: BaseException | None) -> None:
        """Send what is left and end the run, and the pipeline run if this was its last stage or it failed."""
        self._delivery.close()
        self.attempt(lambda: self._note(status, error))
        self.attempt(lambda: pipelines.end_stage(self.store, self.id, self.pipeline, status))

    def _note(self, status: str, error: BaseException | None) -> None:
        """What the run wrote, or why it ended: on the run, and as the description that its page shows."""
        if status == "FINISHED":
            self.store.log(
                self.id, tags={lineage.WRITTEN: json.dumps(lineage.written(self.name)), pipelines.FINAL: json.dumps(sorted(self._finals))}
            )
        elif error is not None:
            text = ending.described(error)
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

    def attempt(self, action: Callable[[], object]) -> None:
        """Do something with the store, whose failure must not stop the stage: it is said once. A store that hangs is left alone."""
        if self._delivery.hangs:
            return
        start = time.monotonic()
        try:
            action()
        except Exception as error:  # noqa: BLE001  whatever a store, a network or a disk can raise
            self._delivery.warn(error)
            self._delivery.hangs = time.monotonic() - start > HANG_SECONDS


@contextlib.contextmanager
def tracked(name: str, reasons: Mapping[str, str], settings: params.MlflowTracking) -> Iterator[Run]:
    """Open a stage's run and close it with its status; the null tracker if the store cannot be used."""
    with ending.sigterm_raises():
        run = _begin(name, reasons, settings)
        try:
            yield run or Run()
        except BaseException as error:
            if run:
                run.close(ending.status(error), error)
            raise
        if run:
            run.close("FINISHED", None)


def _begin(name: str, reasons: Mapping[str, str], settings: params.MlflowTracking) -> StoredRun | None:
    try:
        store = open_store(settings, params.read().description)
        owner, values, tags = process.owner(), params.flatten(params.read_raw()), environment.tags()
        pipeline = pipelines.open_pipeline(store, owner, values, tags)
        own = process.this()
        tags |= environment.source(f"stages/{name}.py")
        tags |= {pipelines.KIND: "stage", "baton.stage": name, pipelines.PROCESS: own.name, pipelines.STARTED: repr(own.started)}
        run = store.create_run(name, tags | {"mlflow.parentRunId": pipeline})
        store.log(run, values={**values, **{f"resolved.{key}": reason for key, reason in reasons.items()}})
        stored = StoredRun(store, name, run, pipeline)
    except Exception as error:  # noqa: BLE001  whatever a store, a network or a disk can raise must not stop a training
        text = str(error) if isinstance(error, TrackingError) else f"{type(error).__name__}: {error}"
        console.say(f"[yellow]tracking:[/] this stage is not recorded: {escape(text)}")
        return None
    console.say(f"[dim]recorded in MLflow: experiment {escape(settings.experiment)}, run {name} {run[:8]} (`make ui` shows it)[/]")
    stored.attempt(lambda: lineage.begin_stage(store, name, pipeline))
    return stored


def _system_sampler(run: str, store: Store) -> Callable[[], Sequence[Point]]:
    """MLflow's monitors (CPU, memory, disk, network, GPU), asked at each round of the delivery; one step a sample."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor: Any = None
    steps = itertools.count()
    psutil.cpu_percent()  # counted from the call before

    def sample() -> Sequence[Point]:
        nonlocal monitor
        monitor = monitor or SystemMetricsMonitor(run, tracking_uri=store.client.tracking_uri)
        monitor.collect_metrics()
        moment, step = now(), next(steps)
        points = [Point(run, f"system/{key}", float(value), step, moment) for key, value in monitor.aggregate_metrics().items()]
        for part in monitor.monitors:
            part.clear_metrics()
        return points

    return sample
