"""Gradients of steps of episodes: parts and processes give those of the whole step."""

from pathlib import Path
from typing import Any

import pytest
import torch

from baton import params
from baton.batches import array_splits
from baton.batches.episodes import EpisodeBatches, rows_of_classes
from baton.losses import episode_losses
from baton.models import text_model
from baton.runtime.resolve import seed_everything
from baton.train import optimizer, reptile
from baton.train.gradients import Gradients
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
WAY, SHOTS, EPISODES = 2, 3, 5
BLOCKS = {"prototypes": (SHOTS + 4,), "reptile": (SHOTS,) * 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gradients")
    tiny.write_arrays(folder)
    return folder


def learner(data: Path, method: str) -> tuple[Any, Any]:
    seed_everything(0)
    model = text_model.create(data / "base", HEAD, 3, tiny.training(), "matmul")
    width, model.head = model.head.output.in_features, torch.nn.Identity()  # type: ignore[assignment]
    if method == "reptile":
        return reptile.Reptile(model, WAY, width, 0.1), reptile.loss
    return model, episode_losses.prototypical(WAY, SHOTS)


def batches(data: Path, method: str, ranks: int = 1, rank: int = 0) -> EpisodeBatches:
    split, blocks = array_splits.open_splits(data / "arrays")["train"], BLOCKS[method]
    classes = rows_of_classes(split.targets, WAY, sum(blocks), "train", "x")
    return EpisodeBatches(
        split=split,
        classes=classes,
        way=WAY,
        blocks=blocks,
        batch_size=EPISODES,
        seed=0,
        steps=10,
        rank=rank,
        ranks=ranks,
    )


def flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])


def by_ranks(data: Path, method: str, ranks: int, step: int, alike: bool = False) -> torch.Tensor:
    """Return the sum over ranks of a step's gradient. `alike`: each rank counts once (the control)."""
    model, loss_fn = learner(data, method)
    update = optimizer.Update(optimizer.make(model, tiny.training()), None, False, torch.device("cpu"))
    for rank in range(ranks):
        own = batches(data, method, ranks, rank)
        parts = own.micro_batches(step)
        if alike:
            parts = [(part, 1 / (ranks * len(parts))) for part, _ in parts]
        Gradients(model.train(), own, loss_fn, update, tiny.machine(), 0).backward(parts)
    return flat(model)


def whole(data: Path, method: str, step: int) -> torch.Tensor:
    """Return the gradient of the mean of all episodes' losses, in one pass."""
    model, loss_fn = learner(data, method)
    parts = [part for part, _ in batches(data, method).micro_batches(step)]
    torch.stack([loss_fn(model.train(), part) for part in parts]).mean().backward()
    return flat(model)


@pytest.mark.parametrize("method", BLOCKS)
@pytest.mark.parametrize("ranks", [1, 2, 7])
def test_parts_and_ranks_give_the_gradient_of_the_whole_step(data: Path, method: str, ranks: int) -> None:
    for step in range(2):
        expected, found = whole(data, method, step), by_ranks(data, method, ranks, step)
        assert expected.abs().max() > 1e-3
        assert torch.allclose(expected, found, rtol=1e-4, atol=1e-6)
        if ranks == 2:  # one has three episodes, the other two
            control = by_ranks(data, method, ranks, step, alike=True)
            assert not torch.allclose(expected, control, rtol=1e-2, atol=1e-5)
