"""A project with an empty store, a small table with disjoint splits, and students of any quality."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from baton import params, tracking
from baton.arrays import text_arrays
from baton.batches.sampler import Split, TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.contracts.input_spec import InputSpec
from baton.losses import class_losses
from baton.models import model_folder
from baton.runtime import resolve
from baton.texts import document_windows
from baton.train import loop
from tests import tiny
from tests.lifecycle import pictures
from tests.tracking import conftest as store_conftest
from tests.tracking.reading import REASONS, settle

_quiet, project = store_conftest._quiet, store_conftest.project
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
ARRAYS = Path("data/arrays")

Publish = Callable[..., str]


def write_clean(folder: Path, copies: int = 3) -> None:
    """Write every text of `tiny.TEXTS` with numbers unique to its split, and enough test rows."""
    labels = sorted(tiny.TEXTS)
    rows = [(line, labels.index(label)) for label, lines in tiny.TEXTS.items() for line in lines]
    numbers = {"train": range(copies), "val": range(100, 103), "test": range(200, 209)}
    tiny.write_splits(
        folder,
        {
            split: [(f"{line} {n}", label) for n in some for line, label in rows]
            for split, some in numbers.items()
        },
        labels,
    )


@pytest.fixture(autouse=True)
def _own_store_only() -> Iterator[None]:
    """Restore MLflow's store afterwards: the registry sets it for the whole process."""
    yield
    import mlflow

    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def lenient(project: Path) -> Path:
    """Return a project whose `params.yaml` asks the gate only for what tiny models can show."""
    path = project / "params.yaml"
    path.write_text(
        path.read_text()
        .replace("first_minimum: 0.5", "first_minimum: 0.6")
        .replace("latency_samples: 100", "latency_samples: 3")
    )
    path.write_text(
        path.read_text()
        .replace("max_latency_ratio: 1.5", "max_latency_ratio: null")
        .replace("max_calibration_error: 0.15", "max_calibration_error: null")
    )
    return path


@pytest.fixture
def publish(lenient: Path) -> Publish:
    """Return `publish(epochs, seed=0, labels=None, figure=0.9)`: it trains a student and logs it."""
    write_clean(Path("data/clean"))
    base = tiny.write_base(lenient.parent / "base")

    def tokenize() -> Split:
        text_arrays.tokenize(
            Path("data/clean/train.parquet"),
            document_windows.open_tokenizer(base, 16),
            ARRAYS,
            100,
            lambda count: None,
            tiny.TASK,
        )
        return TextSplit(text_arrays.open_arrays(ARRAYS, "train", tiny.TASK), 0)

    return publisher(base, tokenize, tiny.TEXT_INPUT, sorted(tiny.TEXTS), ["wheat exports rose"])


@pytest.fixture
def publish_images(lenient: Path) -> Publish:
    """Return the same for a student that reads images."""
    from baton.arrays import image_arrays
    from baton.batches import image_batches

    splits = {
        "train": pictures.draw(60),
        "val": pictures.draw(12, seed=1),
        "test": pictures.draw(108, seed=2),
    }
    pictures.write(Path("data/clean"), splits)
    base = tiny.write_image_base(lenient.parent / "base", size=pictures.SIDE, channels=3)
    reads = tiny.image_input(pictures.SIDE, 3)

    def tokenize() -> Split:
        image_arrays.tokenize(
            Path("data/clean/train.parquet"), reads, ARRAYS, 32, lambda count: None, tiny.TASK
        )
        return image_batches.ImageSplit(
            image_arrays.open_arrays(ARRAYS, "train", tiny.TASK), tuple, reads, None
        )

    return publisher(base, tokenize, reads, pictures.LABELS, [pictures.base64_of(splits["val"][0][0])])


def publisher(
    base: Path, tokenize: Callable[[], Split], reads: InputSpec, names: list[str], example: list[str]
) -> Publish:
    """Return the function described in `publish`."""

    def train(epochs: int, seed: int = 0, labels: list[str] | None = None, figure: float = 0.9) -> str:
        ARRAYS.mkdir(exist_ok=True)
        settings = tiny.training(learning_rate=3e-3, epochs=max(1, epochs), metric="loss")
        where = tiny.machine()
        resolve.seed_everything(seed)
        model = model_folder.create(base, HEAD, len(names), settings, where.attention, reads)
        batches = TrainingBatches(tokenize(), 8, 1, seed)
        fixed = {"loss": 0.0, "accuracy": 0.0, "macro_f1": 0.0}
        if epochs:
            losses_seen = iter(range(100, 0, -1))
            for _ in loop.train(
                model,
                batches,
                class_losses.cross_entropy(0.0, None),
                lambda: fixed | {"loss": float(next(losses_seen))},
                settings,
                where,
            ):
                pass
        folder = Path("models/student")
        model_folder.save(
            model, model_folder.ModelInfo(tiny.task(*(labels or names)), HEAD, reads), base, folder
        )
        with tracking.stage("distill", REASONS) as run:
            run.dataset("train", Path("data/clean/train.parquet"), "training")
            run.dataset("val", Path("data/clean/val.parquet"), "validation")
            run.model("student", folder, example)
            run.final({"student/val_accuracy": figure, "student/seed": seed})
        settle()
        return str(torch.cat([value.flatten() for value in model.state_dict().values()]).sum())

    return train
