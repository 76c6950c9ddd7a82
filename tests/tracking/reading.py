"""Queries of a store for the tests, and the model that they log."""

import shutil
import threading
from pathlib import Path
from typing import Any

from baton import params
from tests import tiny

ROOT = Path(__file__).parent.parent.parent
REASONS = {"device": "cpu: no CUDA device", "threads": "2: processors this process may use"}


def write_model(folder: Path, seed: int, labels: tuple[str, ...] = ("grain", "ship", "trade")) -> Path:
    import torch

    from baton.models import model_folder

    base = tiny.write_base(folder.parent / f"base-{folder.name}")
    head = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
    torch.manual_seed(seed)
    model = model_folder.create(base, head, len(labels), tiny.training(), "matmul", tiny.TEXT_INPUT)
    model_folder.save(
        model, model_folder.ModelInfo(tiny.task(*list(labels)), head, tiny.TEXT_INPUT), base, folder
    )
    shutil.rmtree(base)
    return folder


def settle() -> None:
    """Wait for the threads of stages that ended: the stage itself waits too briefly on a busy machine."""
    for thread in threading.enumerate():
        if thread.name == "tracking":
            thread.join(60)


def journals() -> list[str]:
    """Ids of the remaining journals."""
    from baton.tracking import journal

    settle()
    return [one.id for one in journal.left()]


def client(uri: str | None = None) -> Any:
    from mlflow.tracking import MlflowClient

    settle()
    return MlflowClient(uri or f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def runs(folder: Path | None = None, uri: str | None = None) -> list[Any]:
    """All runs of the store, the oldest first."""
    found = client(uri or f"sqlite:///{(folder or Path.cwd()) / 'mlflow.db'}")
    return list(
        found.search_runs(
            [item.experiment_id for item in found.search_experiments()],
            order_by=["attributes.start_time ASC"],
        )
    )


def tree(folder: Path | None = None, uri: str | None = None) -> dict[str, tuple[Any, list[Any]]]:
    """Pipeline run id -> the run and its children."""
    everything = runs(folder, uri)
    parents = {run.info.run_id: run for run in everything if run.data.tags["baton.kind"] == "pipeline"}
    return {
        key: (run, [item for item in everything if item.data.tags.get("mlflow.parentRunId") == key])
        for key, run in parents.items()
    }


def names(children: list[Any]) -> list[str]:
    return sorted(run.info.run_name for run in children)


def history(run: str, key: str, uri: str | None = None) -> list[tuple[int, float]]:
    """Step and value of every point of a metric, sorted."""
    return sorted((point.step, point.value) for point in client(uri).get_metric_history(run, key))
