"""The MLflow store: opened, written and read.

`uri: null` is `sqlite:///<project>/mlflow.db` with artifacts in `<project>/mlartifacts`, independent of the
working directory.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mlflow.entities import Experiment, LoggedModel, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from baton import params, storage
from baton.errors import TrackingError
from baton.processes.locks import locked
from baton.tracking import pinned_server

T = TypeVar("T")
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
# Limits of MLflow: entities in one request, and lengths beyond which a server refuses or truncates.
PARAMS_PER_REQUEST, METRICS_PER_REQUEST, KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH = 100, 1000, 250, 6000, 8000
# Marks Baton's experiments, in which runs and models are looked up.
MARK = "baton"
EXPERIMENT_TAGS = {MARK: "true", "mlflow.experimentKind": "custom_model_development"}


class Point(NamedTuple):
    """A value of a run's metric, and of a logged model's if `model` is its id; `dataset` is (name, digest).

    `time` is in ms since 1970.
    """

    run: str
    key: str
    value: float
    step: int
    time: int
    model: str | None = None
    dataset: tuple[str, str] | None = None


class Store:
    """One experiment of an MLflow store."""

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        """`experiment` is an id; use `open_store`."""
        self.client = client
        self.experiment = experiment

    def create_run(self, name: str, tags: Mapping[str, str], time: int) -> str:
        """Create a running run that began at `time` (ms since 1970); return its id.

        `MLFLOW_RUN_ID` and active runs are ignored.
        """
        run = self.client.create_run(self.experiment, start_time=time, run_name=name, tags=_tags(tags))
        return str(run.info.run_id)

    def send(self, points: Iterable[Point]) -> None:
        """Write metrics of any runs within MLflow's request limits; sending one again changes nothing."""
        for run, own in groupby(sorted(points, key=lambda point: point.run), key=lambda point: point.run):
            for some in _batches(map(_metric, own), METRICS_PER_REQUEST):
                self.client.log_batch(run, metrics=some)

    def log(
        self, run: str, values: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Write params and tags of a run."""
        for pairs in _batches(param_items(values or {}), PARAMS_PER_REQUEST):
            self.client.log_batch(run, params=[Param(key, value) for key, value in pairs])
        for pairs in _batches(_tags(tags or {}).items(), PARAMS_PER_REQUEST):
            self.client.log_batch(run, tags=[RunTag(key, value) for key, value in pairs])

    def complete(self, run: str, values: Mapping[str, Any]) -> None:
        """Add the params that a run lacks; those that it has are final in MLflow."""
        known = self.client.get_run(run).data.params
        self.log(run, values={key: value for key, value in param_items(values) if key not in known})

    def runs(self, condition: str = "", limit: int = 200) -> list[Run]:
        """Return runs of all Baton experiments, the newest first."""
        return list(
            self.client.search_runs(
                self.experiments(), condition, max_results=limit, order_by=["attributes.start_time DESC"]
            )
        )

    def models(self, condition: str) -> list[LoggedModel]:
        """Return logged models of all Baton experiments, the newest first."""
        order = [{"field_name": "creation_timestamp", "ascending": False}]
        return list(
            self.client.search_logged_models(self.experiments(), condition, max_results=50, order_by=order)
        )

    def text(self, run: str, path: str) -> str | None:
        """Return the text of a small file of a run, or None if it does not exist (not if the store fails)."""
        parent = path.rpartition("/")[0] or None
        if path not in {file.path for file in self.client.list_artifacts(run, parent)}:
            return None
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run, path, folder)).read_text(encoding="utf-8")

    def experiments(self) -> list[str]:
        """Return the ids of Baton's experiments."""
        found = self.client.search_experiments(filter_string=f"tags.{MARK} = 'true'")
        return sorted({self.experiment, *(item.experiment_id for item in found)})


def open_store(settings: params.MlflowTracking, description: str = "") -> Store:
    """Open the store, creating database and experiment if missing; `description` is for a new experiment.

    Raises:
        TrackingError: the store cannot be used, or is not the one that the environment names.
    """
    uri = tracking_uri(settings.uri)
    pinned_server.check(uri)
    # Two stages that start at the same time must not both create the tables of a database. A server creates
    # its own, and no lock is held while it may be silent.
    with usable(uri), contextlib.nullcontext() if uri.startswith("http") else locked("store"):
        if settings.uri is None and not (storage.project() / DATABASE).exists():
            create_database(storage.project() / DATABASE)
        client = MlflowClient(uri, registry_uri=uri)
        return Store(client, _experiment(client, settings.experiment, description, uri))


@contextlib.contextmanager
def usable(uri: str) -> Iterator[None]:
    """Turn errors of MLflow, the database or the disk into a TrackingError.

    Raises:
        TrackingError: the store cannot be used.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        outdated = "out-of-date database schema" in str(error)
        hint = "is the server up, is the disk full? `tracking: {kind: off}` records nothing"
        hint = f"copy the file, then run `mlflow db upgrade {uri}`" if outdated else hint
        raise TrackingError(
            "the MLflow store cannot be used", got=" ".join(str(error).split())[:300], expected=uri, hint=hint
        ) from error


def ask(uri: str) -> None:
    """Ask a store for one experiment.

    Raises:
        TrackingError: it does not answer.
    """
    with usable(uri):
        MlflowClient(uri).search_experiments(max_results=1)


def tracking_uri(uri: str | None) -> str:
    """Return the store's address, independent of the working directory.

    Null and relative SQLite files belong to the project.
    """
    if uri is None:
        return f"sqlite:///{storage.project() / DATABASE}"
    relative = re.fullmatch(r"sqlite:///([^/:].*)", uri)
    return f"sqlite:///{storage.project() / relative[1]}" if relative else uri


def param_items(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values as MLflow accepts them.

    Values are spelt as in YAML (null, true, 0.0001) and cut to MLflow's limit; other characters in names
    become `_`.
    """
    items: dict[str, str] = {}
    for key, value in values.items():
        name = clean_key(key)
        while name in items:
            name += "_"
        items[name] = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[
            :PARAM_LENGTH
        ]
    return list(items.items())


def clean_key(key: str) -> str:
    """Return a name that MLflow accepts."""
    return re.sub(r"[^\w\-. :/]", "_", key, flags=re.ASCII)[:KEY_LENGTH]


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _metric(point: Point) -> Metric:
    name, digest = point.dataset or (None, None)
    return Metric(
        clean_key(point.key),
        point.value,
        point.time,
        point.step,
        model_id=point.model,
        dataset_name=name,
        dataset_digest=digest,
    )


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {clean_key(key): value[:TAG_LENGTH] for key, value in tags.items()}


def create_database(path: Path) -> None:
    """Create the tables, and MLflow's `Default` experiment with the project's artifact folder.

    MLflow would use `mlruns` in the working directory. A database with only some of its tables could never be
    used, so it gets its name when it is complete.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with storage.atomic_file(path) as temporary:
        made = SqlAlchemyStore(f"sqlite:///{temporary}", (storage.project() / ARTIFACTS).as_uri())
        made.engine.dispose()


def _experiment(client: MlflowClient, name: str, description: str, uri: str) -> str:
    found: Experiment | None = client.get_experiment_by_name(name)
    if found is None:
        location = (storage.project() / ARTIFACTS).as_uri() if uri.startswith("sqlite:") else None
        tags = EXPERIMENT_TAGS | {"mlflow.note.content": description}
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException:  # another process was faster
            if (found := client.get_experiment_by_name(name)) is None:
                raise
    if found.lifecycle_stage != "active":  # deleted in the UI; its runs still exist
        client.restore_experiment(found.experiment_id)
    for key, value in EXPERIMENT_TAGS.items():
        if found.tags.get(key) != value:
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)
