"""Test that training on packed documents follows the curve of padded ones, for any division into parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton import params
from baton.arrays import text_arrays
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.contracts import input_spec
from baton.distill import soft_targets
from baton.losses import class_losses
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.train import loop
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    windows = input_spec.Windows(most=3, overlap=0)
    tiny.write_arrays(root)
    tiny.write_arrays(root / "windows", reads=replace(tiny.TEXT_INPUT, max_length=6, truncation=windows))
    return root


def curve(root: Path, packs: bool, folder: str = ".", taught: bool = False, **changes: Any) -> list[float]:
    """Return the loss of each step of two epochs."""
    settings, machine = tiny.training(**{"epochs": 2, "learning_rate": 3e-4} | changes), tiny.machine()
    split = TextSplit(text_arrays.open_arrays(root / folder / "arrays", "train", tiny.TASK), 0)
    resolve.seed_everything(0)
    model = model_folder.create(root / "base", HEAD, 3, settings, "matmul", tiny.TEXT_INPUT)
    weights = torch.tensor([0.5, 2.0, 1.0])
    loss_fn = class_losses.cross_entropy(0.1, weights)
    if taught:
        logits = torch.randn(len(split), 3, generator=torch.Generator().manual_seed(0))
        loss_fn = tiny.distilled(
            tiny.LOSSES,
            soft_targets.cached(logits),
            2.0,
            0.3,
            0.1,
            weights,
            torch.linspace(0.5, 1.5, len(split)),
        )
    read = split.packed() if packs else split
    batches = TrainingBatches(read, settings.batch_size, settings.accumulation, 0, tokens=settings.tokens)
    validate = lambda: {"loss": 0.0, "accuracy": 0.0, "macro_f1": 0.0}  # noqa: E731
    points = loop.train(model, batches, loss_fn, validate, settings, machine)
    return [point.loss for point in points if isinstance(point, loop.TrainPoint)]


TOKENS = {"batch_size": None, "tokens": 80}


@pytest.mark.parametrize(
    "changes", [{}, TOKENS, {"folder": "windows"}, TOKENS | {"folder": "windows", "taught": True}], ids=str
)
def test_packed_documents_train_as_padded_ones_do(root: Path, changes: dict[str, Any]) -> None:
    padded, packed = curve(root, packs=False, **changes), curve(root, packs=True, **changes)
    assert len(padded) >= 10 and len(set(padded)) > 5
    np.testing.assert_allclose(packed[0], padded[0], atol=2e-6)
    np.testing.assert_allclose(
        packed, padded, atol=1e-3
    )  # for gradients that are nearly 0, Adam still makes full steps


def test_the_parts_of_a_step_by_tokens_change_nothing(root: Path) -> None:
    """The loss is the mean over a step's documents, although parts have different numbers of them."""
    whole, parts = (curve(root, packs=True, accumulation=accumulation, **TOKENS) for accumulation in (1, 3))
    np.testing.assert_allclose(parts[0], whole[0], atol=2e-6)
    np.testing.assert_allclose(parts, whole, atol=1e-3)


def test_predictions_of_packed_documents_are_those_of_padded_ones(root: Path) -> None:
    machine, split = (
        tiny.machine(),
        TextSplit(text_arrays.open_arrays(root / "windows/arrays", "train", tiny.TASK), 0),
    )
    model = model_folder.create(root / "base", HEAD, 3, tiny.training(), "matmul", tiny.TEXT_INPUT).eval()
    np.testing.assert_allclose(
        predict(model, split.packed(), machine, 7), predict(model, split, machine, 7), atol=1e-5
    )
