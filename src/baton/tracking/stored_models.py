"""Fetch the model from which a training run starts: that of a registered version, or of a run."""

from pathlib import Path

from mlflow.entities import LoggedModel, Run
from mlflow.exceptions import MlflowException

from baton import params
from baton.errors import TrackingError
from baton.tracking import links, model_files, pipelines
from baton.tracking.store import Store, open_store, usable

# Tags of a version: the logged model, and its folder's digest.
TEACHER, TEACHER_SHA256 = "baton.teacher", "baton.teacher_sha256"
STAGE_OF = {"teacher": "finetune", "student": "distill"}  # the stage whose run logs a model
MISSING = "RESOURCE_DOES_NOT_EXIST"


def fetch(settings: params.MlflowTracking, base: params.LoggedBase, target: Path) -> Path:
    """Fetch a model folder into `target`: see `baton.tracking.logged_model`."""
    store = open_store(settings)
    with usable(store.client.tracking_uri):
        model = find(store, base)
        if not store.client.list_logged_model_artifacts(model.model_id):
            raise TrackingError(
                f"the files of the model {model.model_id} are no longer in MLflow's artifact store",
                expected=f"the {model.name} of run {model.source_run_id}",
                hint="restore them, or choose another base",
            )
        named = f"models:/{model.model_id}"
        fetched = model_files.fetch(store.client, named, target)
        # Weights and config are taken from it, whose own digest params pin, and no code: a model that was
        # logged before there were digests of all files is as good.
        if model_files.FILES_SHA256 in model.tags:
            model_files.check(fetched, model.tags, named)
        return fetched / "artifacts" / Path(model.tags["path"]).name  # the model folder keeps its name


def find(store: Store, base: params.LoggedBase) -> LoggedModel:
    """Return the logged model that params name.

    Raises:
        TrackingError: the store does not have it.
    """
    match base:
        case params.RegisteredBase():
            return _of_version(store, base.name, base.version)
        case params.RunBase():
            return _of_run(store, base)


def _of_version(store: Store, name: str, version: int) -> LoggedModel:
    """Return the teacher of a registered version."""
    try:
        found = store.client.get_model_version(name, str(version))
    except MlflowException as error:
        if error.error_code != MISSING:
            raise
        raise TrackingError(
            f"models:/{name}/{version} is not in the registry",
            expected="a version that `baton register` made",
        ) from None
    if TEACHER not in found.tags:
        hint = "use a version that was registered together with its teacher"
        raise TrackingError(f"models:/{name}/{version} names no teacher", got=f"no tag {TEACHER}", hint=hint)
    try:
        return store.client.get_logged_model(found.tags[TEACHER])
    except MlflowException as error:
        if error.error_code != MISSING:
            raise
        raise TrackingError(
            f"the teacher of models:/{name}/{version} is no longer in this store",
            got=f"no model {found.tags[TEACHER]}",
            hint="choose another version as the base",
        ) from None


def _of_run(store: Store, base: params.RunBase) -> LoggedModel:
    """Return the model that a run logged, or the stage's run that a pipeline run names."""
    run = _run(store, base.run)
    behind = run.data.tags.get(links.link(STAGE_OF[base.model]))
    if run.data.tags.get(pipelines.KIND) == "pipeline" and behind:
        run = _run(store, behind)
    logged = [
        model
        for model in store.models(f"source_run_id = '{run.info.run_id}'")
        if model.status == "READY" and "path" in model.tags
    ]
    found = [model for model in logged if model.name == base.model]
    if not found:
        raise TrackingError(
            f"run {base.run} logged no {base.model}",
            got=", ".join(sorted({model.name for model in logged})) or "no model",
            expected=f"a run of {STAGE_OF[base.model]}, or the pipeline run that it belongs to",
            hint="`baton ui` shows the models of a run",
        )
    return next((model for model in found if model.tags.get("sha256") == base.sha256), found[0])


def _run(store: Store, run: str) -> Run:
    try:
        return store.client.get_run(run)
    except MlflowException as error:
        if error.error_code != MISSING:
            raise
        raise TrackingError(
            f"run {run} is not in this store",
            got=store.client.tracking_uri,
            expected="a run of finetune or distill",
            hint="check the id, and that params `tracking` name the store that has it",
        ) from None
