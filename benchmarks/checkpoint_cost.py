"""Measure what checkpoints cost: the share of training time that one save every two minutes takes.

A model of `--parameters` (square linear layers) is trained by the real loop with AdamW on batches in memory:
without checkpoints, waiting for each one (as the loop does when a copy does not fit in memory), and with each
one written from its copy while the steps continue. A checkpoint holds weights, the best weights and AdamW's
two moments: 16 bytes per parameter. The cost of one is the extra time of a training run with saves over the
runs without, measured before and after it, divided by the number of saves; the first two saves of each run,
which must allocate memory, do not count. Blocked is how long the loop stood still for one save. The last
column is a calculation, not a measurement: the cost of a checkpoint grows with its size, so the cost for
`--target` parameters is the measured one times the ratio of sizes.

    python -m benchmarks.checkpoint_cost [--parameters N] [--target N] [--every STEPS] [--saves N]
        [--repeats N] [--folder FOLDER]
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from baton import console, params
from baton.runtime import resolve
from baton.train import loop
from baton.train.checkpoint import Checkpoints
from benchmarks import _sides

ROOT = Path(__file__).parents[1]
LAYERS = 24
WARM_UP = 2  # saves
INTERVAL = 120.0  # seconds between two saves


@dataclass(frozen=True)
class Work:
    """The inputs of all sides."""

    parameters: int
    rows: int  # per batch
    every: int  # steps from one save to the next
    saves: int
    folder: Path


@dataclass(frozen=True)
class Measured:
    """The measurements of one training run."""

    seconds: float  # of its timed steps
    saves: int  # in these steps
    blocked: float  # seconds that the loop stood still for each save
    memory: int  # bytes, peak of the process


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the cost of a checkpoint, and its share of the time between two."""
    options = parsed(arguments)
    work = Work(options.parameters, options.rows, options.every, options.saves, options.folder)
    sides = {name: functools.partial(measure, work, name) for name in ("none", "waited for", "meanwhile")}
    with _sides.processes(sides, fresh=True, all_launched=True) as started:
        found = _sides.take_turns(
            started, options.repeats, lambda one: f"{one.seconds:.1f} s, blocked {one.blocked:.2f} s per save"
        )
    console.say(f"{options.parameters:,} parameters, {_sides.machine('torch', 'safetensors')}")
    steps = work.every * work.saves
    columns = (
        "side",
        "step, s",
        "cost of a save, s",
        "blocked, s",
        f"share of {INTERVAL:.0f} s",
        "peak memory, GB",
        f"{options.target:,} (calculated)",
    )
    _sides.markdown(columns, [row(name, found, steps, work, options.target) for name in found])


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--parameters", type=int, default=100_000_000, help="of the model (default 100 million)"
    )
    parser.add_argument(
        "--target", type=int, default=1_000_000_000, help="parameters to calculate for (default 1 billion)"
    )
    parser.add_argument(
        "--rows", type=int, default=256, help="per batch, which determine the time of a step (default 256)"
    )
    parser.add_argument(
        "--every",
        type=int,
        default=12,
        help="steps from one save to the next, in which it must be written (default 12)",
    )
    parser.add_argument("--saves", type=int, default=3, help="timed saves per training run (default 3)")
    parser.add_argument("--repeats", type=int, default=3, help="training runs of each side (default 3)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        help="a folder on the disk to write to (default: the working directory)",
    )
    return parser.parse_args(arguments)


def row(name: str, found: Mapping[str, list[Measured]], steps: int, work: Work, target: int) -> list[str]:
    """Return one side's line of the table."""
    own = found[name]
    costs = [cost(one, without) for one, without in zip(own, found["none"], strict=True)]
    seconds, memory = (
        _sides.spread([one.seconds / steps for one in own], "{:.3f}"),
        _sides.spread([one.memory / 1e9 for one in own]),
    )
    if name == "none":
        return [name, seconds, "", "", "", memory, ""]
    scaled = share(statistics.median(costs) * target / work.parameters)
    blocked = _sides.spread([one.blocked for one in own], "{:.2f}")
    return [
        name,
        seconds,
        _sides.spread(costs, "{:.2f}"),
        blocked,
        f"{share(statistics.median(costs)):.2%}",
        memory,
        f"{scaled:.1%}",
    ]


def cost(saving: Measured, without: Measured) -> float:
    """Return the seconds that a save adds to a training run, compared with one without saves."""
    return (saving.seconds - without.seconds) / saving.saves if saving.saves else 0.0


def share(seconds: float) -> float:
    """Return the share of the time, if a save of this cost starts every `INTERVAL`."""
    return seconds / INTERVAL


def measure(work: Work, side: str) -> Measured:
    """Run one training run of a side in this process."""
    loaded = params.load("finetune", "runtime", path=ROOT / "params.yaml")
    periods = WARM_UP + work.saves
    changes = {"epochs": 1, "early_stopping": None, "ema": None, "layer_decay": 1.0, "log_every": work.every}
    changes |= {"evaluations_per_epoch": periods, "metric": "loss", "seeds": (0,)}
    settings, machine = loaded.finetune.model_copy(update=changes), resolve.resolve(loaded.runtime)
    resolve.seed_everything(0)
    model = Layers(work.parameters).to(machine.device)
    batches = InMemory(torch.randn(work.rows, model.width), periods * work.every)
    with tempfile.TemporaryDirectory(dir=work.folder, prefix=".checkpoint_cost.") as folder:
        saved = None if side == "none" else Timed(Path(folder) / "training", work.every, side == "waited for")
        begun, ended, before = 0.0, 0.0, 0
        for point in loop.train(model, batches, mean_square, lambda: {"loss": 1.0}, settings, machine, saved):
            if isinstance(point, loop.TrainPoint):
                _finish(machine.device)
                ended = time.perf_counter()
                if saved and point.step == WARM_UP * work.every:
                    before = len(saved.blocked)
                begun = begun if point.step > WARM_UP * work.every else ended
    blocked = saved.blocked[before:] if saved else []
    if saved and not blocked:
        raise SystemExit(
            "no save was timed, because writing one takes longer than --every steps: raise --every"
        )
    return Measured(ended - begun, len(blocked), statistics.mean(blocked or [0.0]), _sides.peak_memory())


class Timed(Checkpoints):
    """Checkpoints saved every `every` steps, or once the previous save is written; each call is timed."""

    def __init__(self, folder: Path, every: int, waits: bool) -> None:
        super().__init__(folder, 0.0, {})
        self.every, self.waits, self.steps, self.next = every, waits, 0, 1
        self.blocked: list[float] = []

    def due(self) -> bool:
        """See Checkpoints."""
        self.steps += 1
        return super().due() and self.steps >= self.next

    def save(self, name: str, parts: Any, state: Mapping[str, Any], wait: bool = True) -> None:
        """See Checkpoints."""
        self.next += self.every
        begun = time.perf_counter()
        super().save(name, parts, state, wait or self.waits)
        if not wait:
            self.blocked.append(time.perf_counter() - begun)


class Layers(nn.Module):
    """Residual layers with about this number of parameters."""

    def __init__(self, parameters: int) -> None:
        super().__init__()
        self.width = max(1, round((parameters / LAYERS) ** 0.5))
        self.layers = nn.ModuleList(nn.Linear(self.width, self.width, bias=False) for _ in range(LAYERS))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map rows of shape (rows, width) to rows of the same shape."""
        for layer in self.layers:
            rows = rows + torch.tanh(layer(rows))
        return rows


@dataclass(frozen=True)
class Rows:
    """A micro-batch."""

    values: torch.Tensor  # (rows, width)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of rows and the width."""
        return self.values.shape[0], self.values.shape[1]

    def to(self, device: torch.device) -> "Rows":
        """Move to a device."""
        return Rows(self.values.to(device, non_blocking=True))

    def pin_memory(self) -> "Rows":
        """Return itself pinned, for DataLoader with CUDA."""
        return Rows(self.values.pin_memory())


@dataclass(frozen=True)
class InMemory:
    """The same batch at every step."""

    rows: torch.Tensor
    steps_per_epoch: int

    def size(self, _step: int) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def names(self, _step: int) -> list[str]:
        """Return no ids."""
        return []

    def micro_batches(self, _step: int) -> list[tuple[Rows, float]]:
        """Return one part."""
        return [(Rows(self.rows), 1.0)]


def mean_square(model: nn.Module, rows: Rows) -> torch.Tensor:
    """Return the loss, ()."""
    return model(rows.values).square().mean()


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
