"""Model folders as logged models: pyfunc from code, with signature, input example and exact requirements."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from baton import storage
from baton.contracts import fitted_values, task_spec
from baton.contracts.input_spec import InputSpec
from baton.contracts.task_spec import TaskSpec
from baton.tasks import task_figures
from baton.tracking import model_files, pipelines, served_code, served_inputs
from baton.tracking.store import Store, param_items

BATCH_SIZE = 32


def log(store: Store, run: str, entry: Mapping[str, Any], folder: Path) -> str:
    """Log a model folder as an output of a run, or resume doing so; return the logged model's id.

    MLflow's own `log_model` would also load the model again to try it, guess requirements, copy the run's
    first metrics, and need an active run; here everything is passed explicitly.

    Args:
        store: the store.
        run: a run's id.
        entry: the entry `model` of its journal: name, path, info (`baton.json`), code, config, requirements,
            example.
        folder: the model folder as it was.
    """
    model = _open(store, run, entry, storage.sha256_tree(folder))
    if model.status == "READY":
        return str(model.model_id)
    # Not in the system's temporary folder, where a kill would leave it.
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        target = Path(temporary) / "model"
        made = Model(
            artifact_path=model.artifact_location,
            run_id=run,
            model_uuid=model.model_id,
            model_id=model.model_id,
        )
        save(target, made, entry, folder)
        # First: a model whose files are there, and whose digest is not, could not be told from a forged one.
        tags = {model_files.FILES_SHA256: model_files.digest(target)}
        store.client.set_logged_model_tags(model.model_id, tags)
        store.client.log_model_artifacts(model.model_id, str(target))
    store.client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def save(target: Path, made: Model, entry: Mapping[str, Any], folder: Path) -> None:
    """Write a model folder as MLflow keeps models to `target`, which must not exist.

    Args:
        target: the folder to create; the code lies next to it meanwhile.
        made: what MLflow records of the model.
        entry: see `log`; `example` may be missing.
        folder: the model folder.
    """
    code = target.parent / "code"
    with importable(code, entry["code"]) as packages:
        mlflow.pyfunc.save_model(
            path=target,
            mlflow_model=made,
            python_model=str(code / served_code.MAIN),
            code_paths=packages,
            artifacts={"model": str(folder.resolve())},
            signature=signature(task_spec.read(entry["info"]), served_inputs.read(entry["info"])),
            model_config=entry.get("config"),  # settings that may be changed on loading or serving
            input_example=_rows(entry["example"]) if "example" in entry else None,
            pip_requirements=entry["requirements"],
        )


def _rows(example: list[Any]) -> Any:
    """Return an example as `predict` takes it; rows of several columns are a DataFrame."""
    return pd.DataFrame(example) if isinstance(example[0], dict) else example


@contextlib.contextmanager
def importable(folder: Path, code: Mapping[str, str] | str) -> Iterator[list[str]]:
    """Write the code of a served model into `folder` and yield its packages.

    They can be imported meanwhile, because MLflow runs the code.

    Args:
        folder: A folder to create.
        code: The result of `served_code.served`; in a journal of an earlier version the text of the one file.
    """
    files = {served_code.MAIN: code} if isinstance(code, str) else code
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        yield sorted({str(folder / Path(name).parts[0]) for name in files if name != served_code.MAIN})
    finally:
        sys.path.remove(str(folder))


def _open(store: Store, run: str, entry: Mapping[str, Any], digest: str) -> LoggedModel:
    """Return the logged model of this run, name and content, existing or new, as an output of the run."""
    owner = store.client.get_run(run)
    same = (
        item
        for item in store.models(f"source_run_id = '{run}'")
        if (item.name, item.tags.get("sha256")) == (entry["name"], digest)
    )
    model = next(same, None)
    if model is None:
        tags = {
            key: value
            for key, value in owner.data.tags.items()
            if key.startswith(("mlflow.source.", "mlflow.user"))
        }
        tags |= {"sha256": digest, "path": entry["path"]}
        kind, values = (
            served_inputs.of_model(entry["info"]).model_type,
            dict(param_items(owner.data.params)),
        )
        model = store.client.create_logged_model(
            store.experiment, entry["name"], run, tags, values, model_type=kind
        )
    if not owner.outputs or model.model_id not in {item.model_id for item in owner.outputs.model_outputs}:
        store.client.set_logged_model_tags(
            model.model_id, {pipelines.NOTE: describe(store, model.model_id, entry["info"])}
        )
        store.client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    return model


def describe(store: Store, model: str, info: Mapping[str, Any]) -> str:
    """Return the model page's description: the task, signature and how to use it.

    MLflow's UI shows the signature only in the file `MLmodel`.
    """
    how = served_inputs.of_model(info)
    lines = [
        "import mlflow",
        *how.imports,
        f'mlflow.set_tracking_uri("{store.client.tracking_uri}")',
        f'model = mlflow.pyfunc.load_model("models:/{model}")',
        f"model.predict({how.example})",
    ]
    # Journals of earlier versions have no fitted values.
    task, fitted = task_spec.read(info), fitted_values.read({"temperature": 1.0} | dict(info))
    rows = [
        f"| input | {how.accepted} |",
        f"| output | {task_figures.of(task).output(fitted)} |",
        f"| params | `batch_size`, long, default {BATCH_SIZE} |",
    ]
    named = f"{len(task.names)} {task.kind}: {', '.join(task.names)}" if task.names else task.kind
    about = f"{named}. {how.reads}"
    code = "\n".join(["```python", *lines, "```"])
    table = "\n".join(["| signature | |", "|---|---|", *rows])
    return f"{about}\n\n{table}\n\n{code}"


def signature(task: TaskSpec, reads: InputSpec) -> ModelSignature:
    """Return a signature with one input column, or two of pairs, and the columns of the answer as outputs.

    The columns have no names, since MLflow would refuse a plain list otherwise, but for those of different
    types: rows are then a DataFrame, or dicts. All are of MLflow's type `any`, the only one that passes
    values unchanged: `string` would turn numbers, null and `true` into texts, which a model would classify;
    `binary` would decode some JSON requests from base64 but not others, and turn a path into bytes.
    """
    types = {str: DataType.string, int: DataType.long, float: DataType.double}
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(types[kind], name) for name, kind in task_figures.of(task).columns.items()
    ]
    params = ParamSchema([ParamSpec("batch_size", DataType.long, BATCH_SIZE)])
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(AnyType(), name or None) for name in served_inputs.of(reads).columns
    ]
    return ModelSignature(Schema(inputs), Schema(outputs), params)
