"""A small project of real images: scikit-learn's digits, a weak base model, and better models."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch.nn import functional

from baton import params, predict
from baton.batches import array_splits
from baton.batches.sampler import Split
from baton.contracts import predictions
from baton.models import model_folder
from tests import tiny, tiny_images
from tests.evaluate.conftest import write_curves, write_seeds

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
COUNTS = {"train": 160, "val": 40, "test": 120}
STEPS = {"teacher": 40, "student": 20, "control": 10}


def digits(count: int) -> NDArray[np.uint8]:
    """Return images (count, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    return np.rint(load_digits().images[:count, None] * (255 / 16)).astype(np.uint8)


def write_project(root: Path) -> None:
    """Write the inputs of `evaluate`, with models that make mistakes."""
    (root / "requirements.lock").write_text("")
    tiny.write_image_base(root / "data/base")
    reads = tiny_images.write_arrays(root / "data", COUNTS)
    write_curves(root)
    splits = array_splits.open_splits(root / "data/arrays", None)
    labels = array_splits.read_meta(root / "data/arrays").task.names
    pretrained = trained(root / "data/base", splits["train"], steps=60, seed=9)
    save_file(pretrained.backbone.state_dict(), root / "data/base/model.safetensors")
    for seed, (name, steps) in enumerate(STEPS.items()):
        model = trained(root / "data/base", splits["train"], steps, seed)
        model_folder.save(
            model,
            model_folder.ModelInfo(tiny.task(*labels), HEAD, reads),
            root / "data/base",
            root / "models" / name,
        )
        for split, samples in splits.items():
            logits = predict.predict(model, samples, tiny.machine(), 64)
            predictions.write_predictions(
                root / f"data/predictions/{name}/{split}.parquet",
                array_splits.read_ids(root / "data/arrays", split),
                logits,
            )
    write_seeds(root)


def trained(base: Path, train: Split, steps: int, seed: int) -> model_folder.Classifier:
    torch.manual_seed(seed)
    model = model_folder.create(base, HEAD, 10, tiny.training(), "matmul", tiny.image_input())
    optimizer, batch = torch.optim.Adam(model.parameters(), 3e-3), train.batch(np.arange(len(train)))
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(*batch.inputs), batch.targets).backward()
        optimizer.step()
    return model.eval()
