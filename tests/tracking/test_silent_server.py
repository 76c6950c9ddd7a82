"""A server that does not answer holds up nobody but who asks it: no lock is held while it is asked."""

import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from baton import params, storage
from baton.processes import identity, locks
from baton.tracking import lineage, restored_runs, store


def free(name: str) -> bool:
    """Return whether nobody holds the lock of this name."""
    handle = locks.take(storage.state("runs") / f"{name}.lock")
    if handle is None:
        return not (storage.state("runs") / f"{name}.lock").exists()
    locks.give(handle)
    return True


def test_a_sync_holds_no_lock_while_it_asks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def runs(self: Any, *_: Any, **__: Any) -> list[Any]:
        asked.append(free("sync"))
        return []

    monkeypatch.setattr(store.Store, "runs", runs)
    opened = store.open_store(params.read().tracking)  # type: ignore[arg-type]
    (storage.state("runs")).mkdir(parents=True, exist_ok=True)
    (storage.state("runs") / "sync.lock").touch()
    lineage.sync(opened, {}, text="schema: '2.0'\n")
    assert asked and all(asked)


def test_opening_a_server_holds_no_lock(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def by_name(self: Any, name: str) -> None:
        asked.append(free("store"))
        raise OSError("silent")

    monkeypatch.setattr(store.MlflowClient, "get_experiment_by_name", by_name)
    (storage.state("runs")).mkdir(parents=True, exist_ok=True)
    (storage.state("runs") / "store.lock").touch()
    for uri, wanted in (("http://localhost:1", True), (None, False)):  # the second is the check's control
        settings = params.MlflowTracking(kind="mlflow", uri=uri, experiment="e")
        with pytest.raises(store.TrackingError):
            store.open_store(settings)
        assert asked.pop() is wanted


def test_an_experiment_that_another_process_has_just_made_is_used(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.open_store(params.read().tracking)  # type: ignore[arg-type]
    real, answers = store.MlflowClient.get_experiment_by_name, iter([None])

    def late(self: Any, name: str) -> Any:
        return next(answers, real(self, name))

    monkeypatch.setattr(store.MlflowClient, "get_experiment_by_name", late)
    assert store.open_store(params.read().tracking).experiment == first.experiment  # type: ignore[arg-type]


def test_one_of_two_syncs_records_a_restored_run(project: Path) -> None:
    """The other one is a living process; once it is gone, its claim is void."""
    Path("dvc.lock").write_text("schema: '2.0'\n")
    text, path = Path("dvc.lock").read_text(), storage.state(restored_runs.SYNCED)
    path.parent.mkdir(exist_ok=True)
    living = identity.described(psutil.Process(os.getppid()))
    claim = {
        "lock": restored_runs._digest(text),
        "process": [living.name, living.started],
        "time": time.time(),
    }
    storage.write_json(path, {"recording": claim})
    assert not restored_runs._claimed(text)
    for void in ({"process": [living.name, 1.0]}, {"time": time.time() - 3600}):
        storage.write_json(path, {"recording": claim | void})
        assert restored_runs._claimed(text)
    assert restored_runs._claimed(text) and restored_runs._claimed(text), "a process may claim it again"
    restored_runs.remember(lock=text)
    assert not restored_runs._claimed(text), "it is recorded"
