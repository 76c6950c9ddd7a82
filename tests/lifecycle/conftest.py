"""A project with an empty store, a small table without overlap of its splits, and students that are trained to a wanted degree."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from baton import params, runtime, tracking
from baton.data import text
from baton.data.batches import TextSplit, TrainingBatches
from baton.models import build
from baton.train import loop, losses
from tests import tiny
from tests.tracking import conftest as store_conftest
from tests.tracking import reading
from tests.tracking.reading import REASONS, settle

_quiet, project = store_conftest._quiet, store_conftest.project
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
CHANGES = {"batch_size": 8, "learning_rate": 3e-3, "evaluations_per_epoch": 1, "head": HEAD, "epochs": 8}

Publish = Callable[..., str]


def write_clean(folder: Path, copies: int = 3) -> None:
    """Every text of `tiny.TEXTS` with numbers that no other split has; a test table large enough for a verdict."""
    labels = sorted(tiny.TEXTS)
    rows = [(line, labels.index(label)) for label, lines in tiny.TEXTS.items() for line in lines]
    numbers = {"train": range(copies), "val": range(100, 103), "test": range(200, 209)}
    tiny.write_splits(
        folder, {split: [(f"{line} {n}", label) for n in some for line, label in rows] for split, some in numbers.items()}, labels
    )


@pytest.fixture(autouse=True)
def _own_store_only() -> Iterator[None]:
    """The registry names its store to the whole process: not to the tests after this one."""
    yield
    import mlflow

    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def publish(project: Path) -> Publish:
    """`publish(epochs, seed=0, labels=None, figure=0.9)`: train a student and tell of it as `distill` does."""
    path = project / "params.yaml"
    path.write_text(
        path.read_text().replace("first_minimum: 0.5", "first_minimum: 0.6").replace("latency_samples: 100", "latency_samples: 3")
    )
    path.write_text(path.read_text().replace("max_latency_ratio: 1.5", "max_latency_ratio: null").replace("max_ece: 0.15", "max_ece: null"))
    write_clean(Path("data/clean"))
    base = tiny.write_base(project / "base")

    def train(epochs: int, seed: int = 0, labels: list[str] | None = None, figure: float = 0.9) -> str:
        Path("data/arrays").mkdir(exist_ok=True)
        text.tokenize(Path("data/clean/train.parquet"), text.open_tokenizer(base, 16), Path("data/arrays"), 100, lambda count: None)
        settings = reading.settings(**CHANGES | {"epochs": max(1, epochs)})
        where = tiny.machine()
        runtime.seed_everything(seed)
        model = build.create(base, HEAD, 3, settings, where.attention, reading.TEXT_INPUT)
        batches = TrainingBatches(TextSplit(text.open_arrays(Path("data/arrays"), "train"), 0), 8, 1, seed)
        fixed = {"loss": 0.0, "accuracy": 0.0, "macro_f1": 0.0}
        if epochs:
            metric = settings.model_copy(update={"metric": "loss"})
            losses_seen = iter(range(100, 0, -1))
            for _ in loop.train(
                model, batches, losses.cross_entropy(0.0, None), lambda: fixed | {"loss": float(next(losses_seen))}, metric, where
            ):
                pass
        folder = Path("models/student")
        build.save(model, build.ModelInfo(labels or sorted(tiny.TEXTS), HEAD, reading.TEXT_INPUT), base, folder)
        with tracking.stage("distill", REASONS) as run:
            run.dataset("train", Path("data/clean/train.parquet"), "training")
            run.dataset("val", Path("data/clean/val.parquet"), "validation")
            run.model("student", folder, ["wheat exports rose"])
            run.final({"student/val_accuracy": figure})
        settle()
        return str(torch.cat([value.flatten() for value in model.state_dict().values()]).sum())

    return train
