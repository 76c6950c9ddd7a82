"""Model folders as logged models: pyfunc from code, with signature, input example and exact requirements."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

import baton
from baton import storage
from baton.errors import TrackingError
from baton.tracking import environment, pipelines
from baton.tracking.store import Store, param_items

# Not imported: the file is for MLflow, and `serve` lies above `tracking`.
CODE = Path(baton.__file__).parent / "serve" / "pyfunc.py"
PACKAGES = ("mlflow", "torch", "transformers", "safetensors", "pandas", "numpy")
BATCH_SIZE = 32


def log(store: Store, run: str, name: str, folder: Path, example: Sequence[str]) -> str:
    """Log a model folder as an output of a run; the logged model's id.

    MLflow's own `log_model` would also load the model once more to try it, guess requirements, copy the run's first metrics, and need an
    active run; here it is told everything.

    Raises:
        TrackingError: `requirements.lock` does not name what the model needs.
    """
    info = storage.read_json(folder / "baton.json")
    requirements = read_requirements(environment.LOCK)
    params = dict(param_items(store.client.get_run(run).data.params))
    source = {key: value for key, value in store.client.get_run(run).data.tags.items() if key.startswith(("mlflow.source.", "mlflow.user"))}
    tags = source | {"sha256": storage.sha256_tree(folder), "path": folder.as_posix()}
    model = store.client.create_logged_model(store.experiment, name, run, tags, params, model_type="text classifier")
    store.client.set_logged_model_tags(model.model_id, {pipelines.NOTE: describe(store, model.model_id, info)})
    store.client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "model"
        mlflow.pyfunc.save_model(
            path=target,
            mlflow_model=Model(artifact_path=model.artifact_location, run_id=run, model_uuid=model.model_id, model_id=model.model_id),
            python_model=str(CODE),
            artifacts={"model": str(folder.resolve())},
            signature=signature(info["labels"]),
            input_example=list(example),
            pip_requirements=requirements,
        )
        store.client.log_model_artifacts(model.model_id, str(target))
    store.client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def describe(store: Store, model: str, info: Mapping[str, Any]) -> str:
    """What the model's page says: classes, signature (which MLflow's UI shows only in the file `MLmodel`) and how to use it."""
    lines = [
        "import mlflow",
        f'mlflow.set_tracking_uri("{store.client.tracking_uri}")',
        f'model = mlflow.pyfunc.load_model("models:/{model}")',
    ]
    rows = [
        "| input | raw texts, string (a list, Series, array, or a DataFrame whose first column is `text`) |",
        "| output | `label`, string; `probability_CLASS`, double, one for each class |",
        f"| params | `batch_size`, long, default {BATCH_SIZE} |",
    ]
    about = f"{len(info['labels'])} classes: {', '.join(info['labels'])}. Reads at most {info['max_length']} tokens."
    code = "\n".join(["```python", *lines, 'model.predict(["raw text", "another"])', "```"])
    table = "\n".join(["| signature | |", "|---|---|", *rows])
    return f"{about}\n\n{table}\n\n{code}"


def signature(labels: Sequence[str]) -> ModelSignature:
    """One column of strings in (without a name, for MLflow would refuse a plain list otherwise); label and probabilities out."""
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "label"),
        *(ColSpec(DataType.double, f"probability_{label}") for label in labels),
    ]
    params = ParamSchema([ParamSpec("batch_size", DataType.long, BATCH_SIZE)])
    return ModelSignature(Schema([ColSpec(DataType.string)]), Schema(outputs), params)


def read_requirements(lock: Path) -> list[str]:
    """The lines of the lock that the model needs: `torch==2.14.1` and so on.

    Raises:
        TrackingError: the lock is missing or does not pin one of them.
    """
    lines = lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else []
    pins = {
        match[1].lower().replace("_", "-"): f"{match[1]}=={match[2]}"
        for line in lines
        if (match := re.match(r"([\w.-]+)==([^\s;\\]+)", line))
    }
    if missing := [name for name in PACKAGES if name not in pins]:
        hint = "run `make lock`, or add their exact versions"
        raise TrackingError(
            f"{lock} does not pin what a model needs", got=f"no {', '.join(missing)}", expected="NAME==VERSION lines", hint=hint
        )
    return [pins[name] for name in PACKAGES]
