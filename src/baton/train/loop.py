"""The one training loop: no callbacks, no fork per method.

Model, batches, loss and the validation function are arguments; what happened is yielded as points, and the caller logs them. When the
generator ends, the model holds the weights of the best validation.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from baton import params
from baton.errors import TrainingError
from baton.runtime import Runtime
from baton.train import optim
from baton.train.losses import Loss


class Batches(Protocol):
    """Batches as a pure function of the step."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the data."""
        ...

    def micro_batches(self, step: int) -> Iterator[Any]:
        """Parts of the batch of global step `step`, counted from 0; each has a length and `to(device)`."""
        ...


@dataclass(frozen=True)
class TrainPoint:
    """Means since the last point; `step` counts finished optimizer steps, `samples_per_second` includes everything but validation."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    samples: int
    samples_per_second: float


@dataclass(frozen=True)
class ValidationPoint:
    """Validation figures after `step` steps; `best` says whether they are the best so far."""

    step: int
    epoch: float
    scores: dict[str, float]
    best: bool


def train(
    model: nn.Module, batches: Batches, loss_fn: Loss, validate: Callable[[], dict[str, float]], settings: params.Training, runtime: Runtime
) -> Iterator[TrainPoint | ValidationPoint]:
    """Train in place, yielding points; at the end the model has its best weights, in eval mode.

    Args:
        model: on the runtime's device.
        batches: yields the micro-batches of a step.
        loss_fn: mean loss over a micro-batch.
        validate: validation figures of the model as it is now; must hold `settings.metric`.
        settings: epochs, optimizer, schedule, when to validate and log.
        runtime: autocast and device.

    Raises:
        TrainingError: the loss or gradient norm is not finite.
    """
    steps = settings.epochs * batches.steps_per_epoch
    optimizer, schedule = optim.make(model, settings, steps)
    validate_at = _validation_steps(settings, batches.steps_per_epoch)
    meter, best = _Meter(), _Best(settings.metric)
    model.train()
    for step in range(1, steps + 1):
        learning_rate = schedule.get_last_lr()[0]
        loss, samples = _backward(model, batches.micro_batches(step - 1), loss_fn, runtime)
        norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm or math.inf)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        meter.add(loss, norm, samples)
        epoch = step / batches.steps_per_epoch
        if due(step, settings.log_every) or step in validate_at:
            yield meter.read(step, epoch, float(learning_rate))
        if step in validate_at:
            model.eval()
            scores = validate()
            model.train()
            yield ValidationPoint(step, epoch, scores, best.offer(scores, model))
            meter.reset()  # validation does not count as training time
            if settings.early_stopping and best.age >= settings.early_stopping.patience:
                break
    best.restore(model)
    model.eval()


def due(step: int, every: int) -> bool:
    """Whether periodic work falls on this step."""
    return step % every == 0


def _backward(model: nn.Module, micro_batches: Iterator[Any], loss_fn: Loss, runtime: Runtime) -> tuple[torch.Tensor, int]:
    """Gradients of the mean loss over one optimizer step's samples, whatever the number of micro-batches."""
    parts = list(micro_batches)
    samples = sum(len(part) for part in parts)
    total = torch.zeros((), device=runtime.device)
    for part in parts:
        with runtime.autocast():
            loss = loss_fn(model, part.to(runtime.device)) * (len(part) / samples)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total, samples


def _validation_steps(settings: params.Training, steps_per_epoch: int) -> set[int]:
    """Steps after which to validate: evenly through each epoch, always at its end."""
    parts = min(settings.evaluations_per_epoch, steps_per_epoch)
    ends = [round(steps_per_epoch * part / parts) for part in range(1, parts + 1)]
    return {epoch * steps_per_epoch + end for epoch in range(settings.epochs) for end in ends}


class _Meter:
    """Sums since the last reading; tensors stay on the device until then, so that a step never waits for the host."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.loss: torch.Tensor | float = 0.0
        self.norm: torch.Tensor | float = 0.0
        self.steps = self.samples = 0
        self.since = time.perf_counter()

    def add(self, loss: torch.Tensor, norm: torch.Tensor, samples: int) -> None:
        self.loss += loss
        self.norm += norm
        self.steps += 1
        self.samples += samples

    def read(self, step: int, epoch: float, learning_rate: float) -> TrainPoint:
        loss, norm, samples = float(self.loss) / self.steps, float(self.norm) / self.steps, self.samples
        rate = samples / (time.perf_counter() - self.since)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            hint = "lower learning_rate, set clip_norm, or set runtime.precision to fp32"
            got = f"loss {loss}, gradient norm {norm}, learning rate {learning_rate:.3g}"
            raise TrainingError(
                f"training diverged in the {self.steps} steps up to step {step}", got=got, expected="finite numbers", hint=hint
            )
        self.reset()
        return TrainPoint(step, epoch, loss, learning_rate, norm, samples, rate)


class _Best:
    """The best weights so far by a validation metric, copied to memory."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.score = -math.inf
        self.age = 0
        self.weights: dict[str, torch.Tensor] = {}

    def offer(self, scores: dict[str, float], model: nn.Module) -> bool:
        score = -scores["loss"] if self.metric == "loss" else scores[self.metric]
        self.age += 1
        if score > self.score:
            self.score, self.age = score, 0
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return self.age == 0

    def restore(self, model: nn.Module) -> None:
        model.load_state_dict(self.weights)
