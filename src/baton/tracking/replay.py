"""Apply a journal's entries to the MLflow store, in order.

After each, the cursor advances. After a crash in between, an entry is applied again, so each leaves the store
as if it were applied once: created objects are looked up first (runs by their journal's id, models by run,
name and digest), metrics with the same time stamp are the same in MLflow, and everything else overwrites.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby, islice
from pathlib import Path

from mlflow.entities import LoggedModelInput

from baton import params, storage
from baton.tracking import datasets, environment, lineage, logged_models, permanent_errors, pipelines
from baton.tracking.journal import Entry, Journal
from baton.tracking.permanent_errors import UnusableError
from baton.tracking.store import Point, Store, open_store
from baton.workspace.dvc_files import Lock

BATCH = 500  # entries read at once
POINTS = ("points", "system")
SECONDS = "baton.tracking_seconds"


class Carrier:
    """The executor of one journal's entries; the journal's delivery lock must be held."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.cursor = journal, journal.cursor()
        self.entries = self.points = self.ended = 0  # delivered; runs of a process that is gone
        self.refused: list[str] = []
        self._store: Store | None = None

    def deliver(self) -> None:
        """Apply the waiting entries.

        Raises:
            Exception: any error of a store, a network or a disk. The entry waits.
        """
        while batch := list(islice(self.journal.entries(self.cursor.offset), BATCH)):
            for kind, group in groupby(
                batch, key=lambda item: "points" if item[0]["kind"] in POINTS else item[0]["kind"]
            ):
                some = list(group)
                if kind != "points" or not self._carry(
                    [entry for entry, _ in some], some[-1][1], alone=False
                ):
                    for entry, end in some:
                        self._carry([entry], end)

    def _carry(self, entries: list[Entry], end: int, alone: bool = True) -> bool:
        """Apply entries of one kind, up to the position `end`.

        Return False if they were refused and are not `alone`; a single refused entry is noted and passed
        over.
        """
        try:
            self._act(entries)
        except Exception as error:
            if not (permanent_errors.hopeless(error) and self._answers()):
                raise
            if not alone:
                return False
            self.refused.append(
                f"{entries[0]['kind']} of run {self.journal.id}: {' '.join(str(error).split())[:300]}"
            )
        self.cursor.offset = end
        self.journal.save(self.cursor)
        self.entries += len(entries)
        for file in (entry["file"] for entry in entries if entry.get("file")):
            shutil.rmtree(self.journal.file(file).parent, ignore_errors=True)
        return True

    def _act(self, entries: list[Entry]) -> None:
        actions: Mapping[str, Callable[[Entry], None]] = {
            "open": self._open,
            "environment": self._environment,
            "dataset": self._dataset,
            "figure": self._file,
            "artifact": self._file,
            "model": self._model,
            "use": self._use,
            "final": self._final,
            "close": self._close,
        }
        kind = entries[0]["kind"]
        if kind in POINTS:
            run = self._run
            self._send(
                Point(run, key, value, entry["step"], entry["time"])
                for entry in entries
                for key, value in entry["values"].items()
            )
        elif kind in actions:
            actions[kind](entries[0])
        else:
            raise UnusableError("a line of the journal is not readable")

    @property
    def address(self) -> str | None:
        """The address of the journal's store, as params give it."""
        first = self.cursor.store or next(
            (entry["store"] for entry, _ in self.journal.entries() if entry["kind"] == "open"), {}
        )
        return first.get("uri")

    def _answers(self) -> bool:
        try:
            self.store.experiments()
        except Exception:  # noqa: BLE001  any error of a store or a network
            return False
        return True

    @property
    def store(self) -> Store:
        """The journal's store, opened on first use."""
        if self._store is None:
            where = dict(self.cursor.store)
            description = where.pop("description", "")
            self._store = open_store(params.MlflowTracking(kind="mlflow", **where), description)
        return self._store

    @property
    def _run(self) -> str:
        if not self.cursor.run:
            raise UnusableError("its run was not created")
        return self.cursor.run

    def _open(self, entry: Entry) -> None:
        cursor = self.cursor
        cursor.store, cursor.status = entry["store"], ""
        earlier = cursor.pipeline
        cursor.run, cursor.pipeline = pipelines.open_stage(self.store, entry, self.journal.id)
        if earlier and cursor.pipeline != earlier:  # another repro continues it
            self._send(
                Point(cursor.pipeline, key, value, 0, time) for key, (value, time) in cursor.finals.items()
            )

    def _environment(self, entry: Entry) -> None:
        """Put git's state on the run if it has none, and on the pipeline run if this stage created it."""
        tags = environment.git_tags(entry["git"])
        for run in (self._run, self.cursor.pipeline):
            own = self.store.client.get_run(run).data.tags
            if own.get(pipelines.JOURNAL) == self.journal.id and "git.dirty" not in own:
                if entry["diff"] and run == self.cursor.pipeline:
                    self.store.client.log_text(run, entry["diff"], "uncommitted.diff")
                self.store.log(run, tags=tags)
        stage = self.store.client.get_run(self._run).data.tags[pipelines.STAGE]
        lock: Lock = entry["lock"]
        lineage.begin_stage(self.store, stage, self.cursor.pipeline, lock)

    def _dataset(self, entry: Entry) -> None:
        digest = entry["digest"] or storage.sha256(self._kept(entry))
        self.cursor.datasets[entry["name"]] = datasets.log(self.store, self._run, entry, digest)

    def _file(self, entry: Entry) -> None:
        figure = entry["kind"] == "figure"
        for run in (self._run, self.cursor.pipeline) if figure else (self._run,):
            self.store.client.log_artifact(
                run, str(self._kept(entry)), "figures" if figure else entry["folder"] or None
            )

    def _model(self, entry: Entry) -> None:
        self.cursor.models[entry["name"]] = logged_models.log(self.store, self._run, entry, self._kept(entry))

    def _use(self, entry: Entry) -> None:
        """Remember the logged model whose folder has this digest, preferably one of this pipeline run.

        Otherwise the newest is taken.
        """
        found = self.store.models(f"tags.sha256 = '{storage.sha256_tree(self._kept(entry))}'")
        siblings = pipelines.stage_runs(self.store, self.cursor.pipeline)
        found.sort(key=lambda model: model.source_run_id not in siblings)  # stable: the newest stays first
        if found:
            model = self.cursor.models[entry["name"]] = found[0].model_id
            inputs = self.store.client.get_run(self._run).inputs
            if not inputs or model not in {item.model_id for item in inputs.model_inputs}:
                self.store.client.log_inputs(self._run, models=[LoggedModelInput(model)])

    def _final(self, entry: Entry) -> None:
        """Send all values at once: a request for each would take longer than the rest of a short stage."""
        points = list[Point]()
        for key, value in entry["values"].items():
            points += [
                Point(self._run, key, value, entry["step"], entry["time"], *self._belongs(key)),
                Point(self.cursor.pipeline, key, value, 0, entry["time"]),
            ]
        self._send(points)
        self.cursor.finals |= {key: [value, entry["time"]] for key, value in entry["values"].items()}

    def _belongs(self, figure: str) -> tuple[str | None, tuple[str, str] | None]:
        """Return model and dataset of a figure.

        For `teacher/val_accuracy` they are the model `teacher`, if it is known, and the dataset `val`.
        """
        model, _, key = figure.partition("/")
        data = next(
            ((name, digest) for name, digest in self.cursor.datasets.items() if key.startswith(f"{name}_")),
            None,
        )
        return self.cursor.models.get(model), data

    def _close(self, entry: Entry) -> None:
        """Put the written files, or the error, on the run, then end the runs.

        The error is also the description that the run's page shows.
        """
        run, tags = self._run, {} if entry["seconds"] is None else {SECONDS: f"{entry['seconds']:.3f}"}
        if entry["status"] == "FINISHED":
            pipelines.clear_error(self.store, self.store.client.get_run(run))
            tags |= {
                lineage.WRITTEN: json.dumps(entry["written"]),
                pipelines.FINAL: json.dumps(entry["finals"]),
            }
        elif "error" in entry:
            tags |= {pipelines.ERROR: entry["error"], pipelines.NOTE: pipelines.error_note(entry["error"])}
        self.store.log(run, tags=tags)
        ended = pipelines.end_stage(self.store, run, self.cursor.pipeline, entry["status"], entry["time"])
        self.ended += ended if entry["seconds"] is None else 0
        self.cursor.status = entry["status"]

    def _send(self, points: Iterable[Point]) -> None:
        some = list(points)
        self.store.send(some)
        self.points += len(some)

    def _kept(self, entry: Entry) -> Path:
        path = self.journal.file(entry["file"])
        if not path.exists():
            raise UnusableError(f"{path} is gone")
        return path
