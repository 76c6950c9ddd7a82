"""Models of the store as base models: by version and by run, and how one that is not there is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from baton import params, storage, tracking
from baton.errors import TrackingError
from baton.tracking.store import Store, open_store
from baton.tracking.stored_models import TEACHER, fetch, find
from tests.tracking.reading import REASONS, runs, settle, write_model

UNKNOWN = "0" * 32


@pytest.fixture(autouse=True)
def _own_store_only() -> Iterator[None]:
    """Restore MLflow's store afterwards: fetching sets it for the whole process."""
    yield
    import mlflow

    mlflow.set_tracking_uri(None)


def settings() -> params.MlflowTracking:
    found = params.read().tracking
    assert isinstance(found, params.MlflowTracking)
    return found


@pytest.fixture
def store(project: Path) -> Store:
    """Return a store with the runs of the stages, without files."""
    for name in ("finetune", "distill", "evaluate"):
        with tracking.stage(name, REASONS):  # type: ignore[arg-type]
            pass
    settle()
    return open_store(settings())


def run_of(stage: str) -> str:
    return next(str(run.info.run_id) for run in runs() if run.info.run_name == stage)


def log(store: Store, stage: str, name: str, digest: str = "1") -> str:
    """Log a model without files to the run of a stage; return its id."""
    tags = {"sha256": digest * 64, "path": f"models/{name}"}
    made = store.client.create_logged_model(store.experiment, name, run_of(stage), tags)
    store.client.finalize_logged_model(made.model_id, "READY")
    return str(made.model_id)


def of_run(run: str, model: str = "teacher", sha256: str = "") -> params.RunBase:
    return params.RunBase.model_validate(
        {"kind": "run", "run": run, "model": model, "sha256": sha256, "licence": ""}
    )


def of_version(version: int) -> params.RegisteredBase:
    return params.RegisteredBase(kind="registered", name="news", version=version, sha256="", licence="")


def refused(store: Store, base: params.LoggedBase) -> str:
    with pytest.raises(TrackingError) as caught:
        find(store, base)
    assert all(part in str(caught.value) for part in ("got:", "next:"))
    return str(caught.value)


def test_the_folder_of_the_model_that_a_run_logged(teacher: Path, tmp_path: Path) -> None:
    """Of each stage; the digest is that of models/."""
    with tracking.stage("finetune", REASONS) as run:
        run.model("teacher", teacher, ["wheat exports rose"])
    with tracking.stage("distill", REASONS) as run:
        run.model("student", write_model(Path("models/student").resolve(), seed=2), ["wheat exports rose"])
    settle()
    for stage, model in (("finetune", "teacher"), ("distill", "student")):
        found = tracking.logged_model(of_run(run_of(stage), model), tmp_path / model)
        assert storage.sha256_tree(found) == storage.sha256_tree(Path("models", model))


def test_a_pipeline_run_stands_for_the_runs_of_its_stages(store: Store) -> None:
    teacher, student = log(store, "finetune", "teacher"), log(store, "distill", "student")
    pipeline = next(run.data.tags["mlflow.parentRunId"] for run in runs() if run.info.run_name == "finetune")
    linked = {f"baton.{stage}.run_id": run_of(stage) for stage in ("finetune", "distill")}  # as sync does
    store.log(pipeline, tags=linked)
    assert find(store, of_run(pipeline, "teacher")).model_id == teacher
    assert find(store, of_run(pipeline, "student")).model_id == student


def test_of_a_registered_version_it_is_the_teacher(store: Store) -> None:
    """Whatever the version itself is; a version without a teacher is refused, and one that is gone."""
    import mlflow

    mlflow.set_tracking_uri(store.client.tracking_uri)
    teacher, student = log(store, "finetune", "teacher"), log(store, "distill", "student")
    store.client.create_registered_model("news")
    for tags in ({TEACHER: teacher}, {}, {TEACHER: f"m-{UNKNOWN}"}):
        store.client.create_model_version("news", f"models:/{student}", run_of("distill"), tags=tags)
    assert find(store, of_version(1)).model_id == teacher
    assert "models:/news/2 names no teacher" in refused(store, of_version(2))
    assert "the teacher of models:/news/3 is no longer in this store" in refused(store, of_version(3))
    with pytest.raises(TrackingError, match="models:/news/4 is not in the registry"):
        find(store, of_version(4))


def test_a_run_without_that_model_is_refused_with_what_it_has(store: Store) -> None:
    log(store, "finetune", "teacher")
    log(store, "distill", "student")
    told = refused(store, of_run(run_of("distill"), "teacher"))
    assert f"run {run_of('distill')} logged no teacher" in told and "got:      student" in told
    assert "expected: a run of finetune" in told
    assert "got:      teacher" in refused(store, of_run(run_of("finetune"), "student"))
    assert "got:      no model" in refused(store, of_run(run_of("evaluate")))
    told = refused(store, of_run(UNKNOWN))
    assert f"run {UNKNOWN} is not in this store" in told and "sqlite:///" in told


def test_of_two_models_of_one_name_the_pinned_one_is_taken(store: Store) -> None:
    """A run that was resumed may have logged two."""
    first, second = log(store, "finetune", "teacher", "1"), log(store, "finetune", "teacher", "2")
    for digest, model in (("1", first), ("2", second)):
        assert find(store, of_run(run_of("finetune"), sha256=digest * 64)).model_id == model


def test_a_model_whose_files_are_gone_is_refused(store: Store, tmp_path: Path) -> None:
    model = log(store, "finetune", "teacher")
    with pytest.raises(TrackingError, match=f"the files of the model {model} are no longer"):
        fetch(settings(), of_run(run_of("finetune")), tmp_path)


def test_with_tracking_off_there_is_no_store(project: Path, tmp_path: Path) -> None:
    path = project / "params.yaml"
    head, _, rest = path.read_text().partition("\ntracking:")
    path.write_text(f"{head}\ntracking: {{kind: off}}\n{rest[rest.index('promotion:') :]}")
    with pytest.raises(TrackingError, match=r"base\.kind: run needs the MLflow store"):
        tracking.logged_model(of_run(UNKNOWN), tmp_path)
