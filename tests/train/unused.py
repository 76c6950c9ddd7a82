"""Train a small model with a weight that no loss uses, and one that only every other step's loss uses."""

import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from baton import params
from baton.runtime import distributed, resolve
from baton.train import gradients, loop
from tests import tiny

STEPS, SAMPLES = 6, 8


class Model(nn.Module):
    """Three parallel layers."""

    def __init__(self) -> None:
        """Draw the weights from torch's generator."""
        super().__init__()
        self.used, self.spare, self.rare = (nn.Linear(4, 3) for _ in range(3))

    def forward(self, values: torch.Tensor, odd: bool) -> torch.Tensor:
        """Compute (batch, 4) -> (batch, 3)."""
        found: torch.Tensor = self.used(values) + self.rare(values) if odd else self.used(values)
        return found


class Part:
    """Some samples."""

    def __init__(self, values: torch.Tensor, labels: torch.Tensor, odd: bool) -> None:
        """Values (batch, 4), labels (batch,), and whether the step is odd."""
        self.values, self.labels, self.odd, self.shape = values, labels, odd, tuple(values.shape)

    def to(self, _device: torch.device) -> "Part":
        """Do nothing: everything is on the CPU."""
        return self


class Batches:
    """The same samples for any number of ranks, in two parts each."""

    steps_per_epoch = STEPS
    mean_length = 1.0

    def __init__(self, rank: int, ranks: int) -> None:
        """Keep this rank's place."""
        self.rank, self.ranks = rank, ranks

    def size(self, _step: int) -> int:
        """Return the number of samples in a step, over all ranks."""
        return SAMPLES

    def names(self, step: int) -> list[str]:
        """Return the ids of its samples."""
        return [f"{step}"] * SAMPLES

    def micro_batches(self, step: int) -> list[tuple[Any, float]]:
        """Return two parts, with their shares."""
        generator = torch.Generator().manual_seed(step)
        values, labels = (
            torch.randn(SAMPLES, 4, generator=generator),
            torch.randint(0, 3, (SAMPLES,), generator=generator),
        )
        rows = torch.arange(self.rank, SAMPLES, self.ranks).chunk(2)
        return [(Part(values[part], labels[part], step % 2 == 1), len(part) / SAMPLES) for part in rows]


def loss_fn(model: Any, part: Part) -> torch.Tensor:
    """Cross-entropy."""
    return nn.functional.cross_entropy(model(part.values, part.odd), part.labels)


def train(folder: Path, rank: int, ranks: int, port: int, spoiled: bool = False) -> None:
    """Run one process; rank 0 writes RANKS.safetensors. `spoiled`: DDP does not look for unused weights."""
    if spoiled:
        gradients.Gradients._unused = lambda self: False  # type: ignore[method-assign]
    place = resolve.Place(rank, rank, ranks, ranks, "a test")
    machine = resolve.resolve(params.Runtime.model_validate(tiny.SETTINGS), place)
    with contextlib.ExitStack() as group:
        if ranks > 1:
            store = TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=60))
            group.enter_context(distributed._group(machine, store))
        torch.manual_seed(0)
        model, settings = Model(), tiny.training(learning_rate=0.1, weight_decay=0.1, epochs=1)
        list(
            loop.train(
                model,
                Batches(rank, ranks),
                loss_fn,
                lambda: {"loss": 0.0, "accuracy": 0.0},
                settings,
                machine,
            )
        )  # type: ignore[arg-type]
        if rank == 0:
            save_file(model.state_dict(), folder / f"{ranks}.safetensors")
