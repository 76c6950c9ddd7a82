"""Images on a device and batches of one shape: losses and logits do not change, nothing is recompiled."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baton.batches import placement
from baton.batches.image_batches import ImageSplit
from baton.batches.sampler import TrainingBatches
from baton.batches.subset import Part
from baton.distill import soft_targets
from baton.errors import ParamsError
from baton.losses import class_losses
from tests import tiny
from tests.batches.test_image_batches import (
    ALIKE,
    EVERYTHING,
    LARGE,
    PARTS,
    SEVERAL,
    augmentation,
    make,
    rows,
)

CPU = torch.device("cpu")


class Small(nn.Module):
    """A model that computes each image independently."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3 * 21 * 21, 3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(pixels.float().flatten(1) / 255)
        return logits


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageSplit]:
    made = {
        name: make(tmp_path_factory.mktemp(name), ALIKE, LARGE, augmentation(**EVERYTHING))
        for name in ("train", "val", "test")
    }
    return made | {"several": make(tmp_path_factory.mktemp("several"), SEVERAL, LARGE)}


def test_what_fits_is_kept_and_said(splits: dict[str, ImageSplit]) -> None:
    names: dict[str, Any] = {name: splits[name] for name in ("train", "val", "test")}
    size = 24 * 21 * 21 * 3
    for free, kept in [(8 * size, [True, True]), (4 * size, [True, False]), (4 * size - 1, [False, False])]:
        found, said = placement.placed(names, CPU, "auto", free)
        own = [found[name] for name in ("train", "val")]
        assert [split.resident is not None for split in own if isinstance(split, ImageSplit)] == kept
        assert [split.device for split in own if isinstance(split, ImageSplit)] == [True, True]
        assert [
            f"{name} {str(yes).lower()}: 0.00 GB" in said
            for name, yes in zip(("train", "val"), kept, strict=True)
        ] == [True, True]
        assert found["test"] is names["test"]
    assert placement.placed(names, CPU, "auto")[0] is names  # training on the CPU is unchanged
    several, said = placement.placed(names | {"val": splits["several"]}, CPU, True, 8 * size)
    assert several["val"] is splits["several"]
    assert "val false: images of different shapes" in said
    with pytest.raises(ParamsError, match="data_on_device"):
        placement.placed(names, CPU, True, 2 * size - 1)


@pytest.mark.parametrize(
    "changes", [{}, PARTS["unmixed"], PARTS["resized crop"]], ids=["everything", "unmixed", "resized crop"]
)
def test_a_filled_batch_has_the_loss_and_gradient_of_its_own_samples(
    splits: dict[str, ImageSplit], changes: dict[str, Any]
) -> None:
    split = dataclasses.replace(splits["train"], augmentation=augmentation(**EVERYTHING | changes))
    teacher = Small()
    teacher.layer.weight.data.mul_(-1)
    weights = torch.linspace(0.5, 1.5, 24)
    for loss_fn in (
        class_losses.cross_entropy(0.1, None, weights),
        tiny.distilled(tiny.LOSSES, soft_targets.Live(teacher), 2.0, 0.3, 0.0, None),
        tiny.distilled(tiny.LOSSES, soft_targets.cached(torch.randn(24, 3)), 2.0, 0.3, 0.0, None, weights),
    ):
        found = []
        for own in (split, placement.of_one_size(split, 9)):
            model = Small()
            loss = loss_fn(model, own.training_batch(rows(5, 1, 8), rows(5, 1, 8, 2), 0, 0).to(CPU))
            loss.backward()
            assert model.layer.weight.grad is not None
            found.append((loss.detach(), model.layer.weight.grad))
        torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-7)


def test_nothing_is_compiled_again(splits: dict[str, ImageSplit]) -> None:
    counts = {}
    for name, split in {
        "filled": placement.of_one_size(Part(splits["train"], np.arange(23)), 5),
        "as they are": splits["train"],
    }.items():
        torch._dynamo.reset()
        shapes: list[tuple[int, ...]] = []

        def backend(graph: Any, example: Any, shapes: list[tuple[int, ...]] = shapes) -> Any:
            shapes.append(tuple(example[-1].shape))
            return graph.forward

        model = Small()
        model.compile(dynamic=False, backend=backend)
        batches = TrainingBatches(split, 10, 2, 0)
        assert sorted({batches.size(step) for step in range(3)}) == ([3, 10] if name == "filled" else [4, 10])
        loss_fn = class_losses.cross_entropy(0.0, None)
        for step in range(6):
            for part, _ in batches.micro_batches(step):
                loss_fn(model, part.to(CPU)).backward()
        counts[name] = len(shapes)
    torch._dynamo.reset()
    assert counts["filled"] == 1
    assert counts["as they are"] > 1  # the reason for padding


@pytest.mark.gpu
def test_batches_of_a_gpu_wait_for_nothing_and_come_from_its_memory(
    splits: dict[str, ImageSplit], tmp_path: Path
) -> None:
    cuda = torch.device("cuda")
    names: dict[str, Any] = {name: splits[name] for name in ("train", "val", "test")}
    found, _ = placement.placed(names, cuda, True)
    batch = found["train"].training_batch(rows(0, 1, 2), rows(0, 1, 2, 3), 0, 0).pin_memory()
    batch.to(cuda)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        (seen,) = batch.to(cuda).inputs
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert seen.device.type == "cuda"
    assert (
        seen.cpu() - splits["train"].training_batch(rows(0, 1, 2), rows(0, 1, 2, 3), 0, 0).inputs[0]
    ).abs().mean() < 0.2
