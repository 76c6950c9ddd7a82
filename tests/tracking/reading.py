"""What the tests ask of a store, and the model that they log."""

import shutil
from pathlib import Path
from typing import Any

from baton import params
from tests import tiny

ROOT = Path(__file__).parent.parent.parent
REASONS = {"device": "cpu: no CUDA device", "threads": "2: processors this process may use"}


def write_model(folder: Path, seed: int, labels: tuple[str, ...] = ("grain", "ship", "trade")) -> Path:
    import torch

    from baton.models import build

    base = tiny.write_base(folder.parent / f"base-{folder.name}")
    head = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
    torch.manual_seed(seed)
    build.save(build.create(base, head, len(labels), 0.0, 0.0, "matmul"), build.ModelInfo(list(labels), head, 16, 0), base, folder)
    shutil.rmtree(base)
    return folder


def client() -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def runs(folder: Path | None = None) -> list[Any]:
    """All runs of the store, the oldest first."""
    from mlflow.tracking import MlflowClient

    found = MlflowClient(f"sqlite:///{(folder or Path.cwd()) / 'mlflow.db'}")
    return list(found.search_runs([item.experiment_id for item in found.search_experiments()], order_by=["attributes.start_time ASC"]))


def tree(folder: Path | None = None) -> dict[str, tuple[Any, list[Any]]]:
    """Pipeline run id -> the run and its children."""
    everything = runs(folder)
    parents = {run.info.run_id: run for run in everything if run.data.tags["baton.kind"] == "pipeline"}
    return {key: (run, [item for item in everything if item.data.tags.get("mlflow.parentRunId") == key]) for key, run in parents.items()}


def names(children: list[Any]) -> list[str]:
    return sorted(run.info.run_name for run in children)
