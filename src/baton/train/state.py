"""Hold everything that changes while a model is trained, which is exactly what a checkpoint holds.

Random generators are not part of the state: they are seeded before each step from (seed, step, rank), and
batches follow from (seed, epoch, position).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from baton import params
from baton.errors import TrainingError
from baton.train.checkpoint import Checkpoint
from baton.train.ema import Average
from baton.train.optimizer import Update
from baton.train.snapshot import Parts

OPTIMIZER, UPDATE = "optimizer.", ("scale", "grown", "failed")
# Suffix of the name of a training run's last checkpoint, which holds only its results.
FINISHED = "-finished"
LOSS_ALONE = {"loss": -1}  # directions of validation figures: of `loss`, lower is better


@dataclass(frozen=True)
class TrainPoint:
    """The means since the last point.

    `step` counts finished optimizer steps; `samples_per_second` includes everything except validation.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    samples: int
    samples_per_second: float
    time: int  # ms since 1970
    terms: dict[str, float] = field(default_factory=dict)  # of the loss, if they have names


@dataclass(frozen=True)
class ValidationPoint:
    """The validation figures after `step` steps; `best` is true if they are the best so far."""

    step: int
    epoch: float
    scores: dict[str, float]
    best: bool
    time: int  # ms since 1970


Point = TrainPoint | ValidationPoint


class State:
    """The model, optimizer, sums, best weights, position and history of one training run."""

    def __init__(
        self,
        model: nn.Module,
        update: Update,
        settings: params.Training,
        directions: Mapping[str, int] = LOSS_ALONE,
        frozen: frozenset[str] = frozenset(),
    ) -> None:
        """Start a training run; `settings.metric` selects the best weights, see `merit`.

        The `frozen` parameters are never trained: neither they nor copies of them are kept.
        """
        self.model, self.update, self.frozen = model, update, frozen
        self.average = Average(model, settings.ema.decay, frozen) if settings.ema else None
        self.step = self.validated = 0  # optimizer steps done; the step of the last validation
        self.finished = False
        self.points: list[Point] = []
        self.meter, self.best = Meter(), Best(settings.metric, directions, frozen)

    @property
    def name(self) -> str:
        """Return a name that sorts in the order of training."""
        return f"{self.step:08d}-{self.validated:08d}{FINISHED if self.finished else ''}"

    def parts(self) -> Parts:
        """Return tensors by part and name; at the end only the best weights."""
        if self.finished:
            return {"best": self.best.weights}
        parts: dict[str, dict[str, torch.Tensor]] = {
            "model": changing(self.model, self.frozen),
            "best": self.best.weights,
        }
        if self.average:
            parts["average"] = self.average.weights
        parts["update"] = {key: getattr(self.update, key) for key in UPDATE}
        for name, parameter in self.model.named_parameters():
            for key, value in self.update.optimizer.state.get(parameter, {}).items():
                parts.setdefault(f"{OPTIMIZER}{key}", {})[name] = value
        return parts

    def facts(self) -> dict[str, Any]:
        """Return the state that is not in tensors."""
        return {
            "step": self.step,
            "validated": self.validated,
            "finished": self.finished,
            # Frozen objects; asdict() would take seconds for a long training run.
            "points": [vars(point) for point in self.points],
            "meter": self.meter.facts(),
            "best": {"score": self.best.score, "age": self.best.age},
        }

    def restore(self, saved: Checkpoint) -> None:
        """Restore a saved state."""
        facts, device = saved.state, self.update.scale.device
        self.step, self.validated, self.finished = facts["step"], facts["validated"], facts["finished"]
        self.points = [
            ValidationPoint(**point) if "scores" in point else TrainPoint(**point)
            for point in facts["points"]
        ]
        self.best.weights = {name: value.to(device) for name, value in saved.parts["best"].items()}
        self.best.score, self.best.age = tuple(facts["best"]["score"]), facts["best"]["age"]
        if self.finished:
            return
        self.meter.restore(facts["meter"])
        load(self.model, saved.parts["model"], self.frozen)
        if self.average:
            self.average.restore(saved.parts["average"])
        for key in UPDATE:
            setattr(self.update, key, saved.parts["update"][key].to(device))
        parameters = dict(self.model.named_parameters())
        for part in saved.parts:
            for name, value in saved.parts[part].items() if part.startswith(OPTIMIZER) else ():
                self.update.optimizer.state[parameters[name]][part.removeprefix(OPTIMIZER)] = _laid_out(
                    value, parameters[name]
                )


def changing(model: nn.Module, frozen: frozenset[str]) -> dict[str, torch.Tensor]:
    """Return the model's weights and buffers without the frozen parameters."""
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def load(model: nn.Module, weights: Mapping[str, torch.Tensor], frozen: frozenset[str]) -> None:
    """Load what `changing` returned; nothing else may be missing, and nothing more may be there."""
    if not frozen:
        model.load_state_dict(weights)
        return
    missing, unexpected = model.load_state_dict(weights, strict=False)
    wrong = [*unexpected, *(name for name in missing if name not in frozen and name in model.state_dict())]
    if wrong:
        raise TrainingError(
            "saved weights do not fit the model",
            got=wrong[0],
            expected="all weights that are trained, and no others",
            hint="delete the checkpoints in .baton/checkpoints and train again",
        )


def _laid_out(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a saved value on a parameter's device, in its memory format.

    torch's fused AdamW goes by the order in memory, not by strides.
    """
    if value.shape != like.shape:
        return value.to(like.device)
    return torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value)


class Meter:
    """The sums since the last reading; tensors stay on the device until then, so that steps never wait."""

    def __init__(self) -> None:
        """Start at zero."""
        self.reset()

    def reset(self) -> None:
        """Reset the sums and restart the clock."""
        self.terms: list[torch.Tensor | float] = []  # of the loss; a single one if it has no others
        self.norm: torch.Tensor | float = 0.0
        self.steps = self.samples = 0
        self.since = time.monotonic()

    def add(self, loss: torch.Tensor, norm: torch.Tensor, samples: int) -> None:
        """Add one step, with the loss, (), or its terms, (terms,)."""
        new = torch.atleast_1d(loss).unbind()  # type: ignore[no-untyped-call]
        self.terms = [before + own for before, own in zip(self.terms or [0.0] * len(new), new, strict=True)]
        self.norm += norm
        self.steps += 1
        self.samples += samples

    @property
    def seconds(self) -> float:
        """Return the seconds since the last reading."""
        return time.monotonic() - self.since

    def facts(self) -> dict[str, Any]:
        """Return the sums as numbers; fp32 values are exact in JSON."""
        sums: dict[str, Any] = {"terms": [float(term) for term in self.terms], "norm": float(self.norm)}
        return sums | {"steps": self.steps, "samples": self.samples, "seconds": self.seconds}

    def restore(self, facts: dict[str, Any]) -> None:
        """Continue from `facts`."""
        self.terms, self.norm, self.steps, self.samples = (
            list(facts["terms"]),
            facts["norm"],
            facts["steps"],
            facts["samples"],
        )
        self.since = time.monotonic() - facts["seconds"]


def merit(
    scores: Mapping[str, float], metric: str, directions: Mapping[str, int] = LOSS_ALONE
) -> tuple[float, ...]:
    """Return the key that ranks validation figures, the higher the better.

    The key is `metric`; for equal values the lower `loss` is better. `directions` has 1 for figures of which
    higher is better, -1 for others; 1 is the default.
    """
    value = directions.get(metric, 1) * scores[metric]
    return (value,) if metric == "loss" else (value, -scores["loss"])


class Best:
    """The best weights so far by a validation metric, copied to memory.

    Equal scores, which small validation sets produce, are decided by the lower loss.
    """

    def __init__(
        self,
        metric: str,
        directions: Mapping[str, int] = LOSS_ALONE,
        frozen: frozenset[str] = frozenset(),
    ) -> None:
        """`metric` and `directions` are those of `merit`; weights of `frozen` parameters are not copied."""
        self.metric, self.directions, self.frozen = metric, directions, frozen
        self.score: tuple[float, ...] = ()  # the higher the better, in this order
        self.age = 0
        self.weights: dict[str, torch.Tensor] = {}

    def offer(self, scores: dict[str, float], model: nn.Module) -> bool:
        """Keep the weights if they are better, and return whether they are."""
        score = merit(scores, self.metric, self.directions)
        self.age += 1
        if score > self.score:
            self.score, self.age = score, 0
            self.weights = {
                name: tensor.detach().clone() for name, tensor in changing(model, self.frozen).items()
            }
        return self.age == 0

    def restore(self, model: nn.Module) -> None:
        """Load the best weights into the model."""
        load(model, self.weights, self.frozen)
