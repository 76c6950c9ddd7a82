"""The single training loop, without callbacks and without variants per method.

Model, batches, loss and the validation function are arguments; progress is yielded as points, which the
caller logs. When the generator ends, the model holds the weights of the best validation. With checkpoints,
training resumes where it stopped, bit for bit: the earlier points are yielded again, then the new ones.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from baton import console, params
from baton.errors import TrainingError
from baton.losses.loss import Loss
from baton.processes import signals
from baton.runtime import distributed, sharding
from baton.runtime.memory import explained_memory
from baton.runtime.resolve import Runtime, seed_step, takes_statistics
from baton.train import compiling, loader, optimizer, saving
from baton.train.checkpoint import Checkpoints
from baton.train.compiled import Compiled
from baton.train.loader import Batches
from baton.train.state import LOSS_ALONE, Point, State, TrainPoint, ValidationPoint


def train(
    model: nn.Module,
    batches: Batches,
    loss_fn: Loss,
    validate: Callable[[], dict[str, float]],
    settings: params.Training,
    runtime: Runtime,
    saved: Checkpoints | None = None,
    companions: Sequence[compiling.Companion] = (),
    directions: Mapping[str, int] = LOSS_ALONE,
) -> Generator[Point]:
    """Train in place, yielding points; at the end the model has its best weights and is in eval mode.

    Close the generator (`contextlib.closing`), so that the run is also saved if a signal arrives while the
    caller works.

    Args:
        model: on the runtime's device.
        batches: provides the parts of each step.
        loss_fn: mean loss over a part's targets.
        validate: returns validation figures of the current model, the same on every rank; must include
            `settings.metric`.
        settings: epochs, optimizer, schedule, when to validate and log.
        runtime: device, precision, ranks; its `compile` must be settled (`compiling.settled`), otherwise
            nothing is compiled.
        saved: checkpoints to write and to resume from; if None, nothing is saved.
        companions: other models in the loss, compiled if the model is.
        directions: of the validation figures, see `state.merit`.

    Raises:
        TrainingError: the loss or gradient norm is not finite, or memory ran out.
        OutputError: a checkpoint cannot be written.
    """
    try:
        loop = _Loop(model, batches, loss_fn, settings, runtime, directions)
        if runtime.compile is True:
            # Their first batch, which determines what is compiled, is the one of `warm_up`.
            compiling.use(companions, runtime.fixed_shapes)
        state = loop.state
        saves = saving.saving(state, saved, runtime)
        found = saves.load()
        if found:
            state.restore(found)
            done = (
                f"finished earlier, in {state.step:,} steps"
                if state.finished
                else f"resumed after step {state.step:,} of {loop.steps:,}"
            )
            console.say(done)
        yield from list(state.points)
        if not state.finished:
            with saves.writing():
                yield from loop.rest(validate, saves)
    finally:
        compiling.restore(model, companions)
    state.best.restore(model)
    model.eval()


def due(step: int, every: int) -> bool:
    """Return whether periodic work is due at this step."""
    return step % every == 0


class _Loop:
    """One training run: the arguments of `train`, and its state."""

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        loss_fn: Loss,
        settings: params.Training,
        runtime: Runtime,
        directions: Mapping[str, int] = LOSS_ALONE,
    ) -> None:
        self.batches, self.loss_fn, self.settings, self.runtime = batches, loss_fn, settings, runtime
        self.update = optimizer.Update(
            optimizer.make(model, settings), settings.clip_norm, runtime.precision == "fp16", runtime.device
        )
        self.state = State(model, self.update, settings, directions)
        self.split = sharding.is_split(model)
        self.forward = _forward(model, runtime, self._unused())
        self.steps = settings.epochs * batches.steps_per_epoch
        self.validate_at = _validation_steps(settings, batches.steps_per_epoch)
        # On the CPU, checking at each step that numbers are finite costs nothing.
        self.check_every = 1 if runtime.device.type == "cpu" else settings.log_every

    def _unused(self) -> bool:
        """Return whether there are weights that the loss of a first batch does not depend on, on some rank.

        A single process leaves such weights unchanged (their gradient is None), and so do several.
        """
        model = self.state.model
        if self.runtime.processes == 1 or self.split:
            return False
        before = model.training
        with self._first_pass() as (part, _), self.runtime.autocast():
            reached = reaches(self.loss_fn(model.train(), part.to(self.runtime.device)))
        model.train(before)
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        unused = distributed.most(*(int(parameter not in reached) for _, parameter in named))
        names = [name for (name, _), missed in zip(named, unused, strict=True) if missed]
        if names:
            console.say(
                f"processes: {len(names)} weights get no gradient from the first batch ({names[0]}, …); "
                "checking for unused weights at each step"
            )
        return bool(names)

    def warm_up(self) -> None:
        """Make the first pass the same at the start and on resume.

        DDP's order of buckets and the compiler's first shape follow from it, and both affect rounding.
        """
        compiles = self.runtime.compile is True
        if compiles or isinstance(self.forward, DistributedDataParallel):
            # All parts in one go: ranks exchange gradients once, regardless of their numbers of shapes.
            with self._first_pass() as part:
                parts = compiling.first_parts(self.batches, self.runtime) if compiles else [part]
                self._backward(saving.as_many(parts, *distributed.most(len(parts))) if self.split else parts)

    @contextlib.contextmanager
    def _first_pass(self) -> Iterator[tuple[Any, float]]:
        """Yield the last part of the first step, for a pass that leaves no trace."""
        seed_step(self.settings.seed, 0, self.runtime.rank)
        with compiling.unchanged(self.state.model):
            yield self.batches.micro_batches(0)[-1]

    def rest(self, validate: Callable[[], dict[str, float]], saves: saving.Saving) -> Iterator[Point]:
        """Do the remaining training, yielding its points."""
        self.state.model.train()
        try:
            with saves.exchange():
                self.warm_up()
            parts = loader.parts(self.batches, self.state.step, self.steps, self.runtime)
            while (validates := self.validates()) or not self.finished():
                with saves.exchange() if validates else signals.held():
                    prepared = saves.before([] if validates else next(parts))
                    point = self.validation(validate) if validates else self.step(prepared)
                if point:
                    yield point
                saves.after()
            saves.finish()
        except (GeneratorExit, KeyboardInterrupt, SystemExit):
            saves.leave()
            raise

    def validates(self) -> bool:
        """Return whether the current model is due for validation."""
        return self.state.step in self.validate_at and self.state.validated < self.state.step

    def step(self, parts: list[tuple[Any, float]]) -> TrainPoint | None:
        """Do one optimizer step; return a point if one is due."""
        state, number = self.state, self.state.step + 1
        seed_step(self.settings.seed, number, self.runtime.rank)
        rate = optimizer.learning_rate(self.settings, number - 1, self.steps)
        # Over all ranks, since every rank must decide alike.
        loss = distributed.total(self._backward(parts))
        with explained_memory("training", parts[-1][0].shape):
            norm = self.update.step(number, loss, rate)
        if state.average:
            state.average.update(number)
        state.meter.add(loss, norm, self.batches.size(number - 1))
        state.step = number
        if due(number, self.check_every):
            self._check()
        if due(number, self.settings.log_every) or number in self.validate_at:
            self._check()
            return self._read(rate)
        return None

    def validation(self, validate: Callable[[], dict[str, float]]) -> ValidationPoint:
        """Validate the weights, or their average if there is one; keep them if they are the best."""
        state, start = self.state, time.monotonic()
        with state.average.applied() if state.average else contextlib.nullcontext():
            for buffer in state.model.buffers():  # batch statistics differ between ranks
                distributed.spread(buffer)
            state.model.eval()
            scores = distributed.share(validate())  # rank 0 decides what is best, and when to stop
            state.model.train()
            with signals.held():
                point = ValidationPoint(
                    state.step, self._epoch(), scores, state.best.offer(scores, state.model), _now()
                )
                state.points.append(point)
                state.validated = state.step
                state.meter.since += time.monotonic() - start  # validation does not count as training time
        return point

    def finished(self) -> bool:
        """Return whether all steps are done, or there was no improvement for too long."""
        early = self.settings.early_stopping
        return self.state.step == self.steps or (early is not None and self.state.best.age >= early.patience)

    def _backward(self, parts: list[tuple[Any, float]]) -> torch.Tensor:
        """Compute gradients of the mean loss over the step's targets, for any number of parts and ranks.

        Returns:
            This rank's share of the loss, ().
        """
        total = torch.zeros((), device=self.runtime.device)
        scale = self.update.scale * self.runtime.processes  # DDP takes the mean over ranks; this is a sum
        for index, (part, share) in enumerate(parts):
            with self._together(index == len(parts) - 1), explained_memory("training", part.shape):
                moved = part.to(self.runtime.device)
                with self.runtime.autocast():
                    loss = self.loss_fn(self.forward, moved) * share
                (loss * scale).backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
        return total

    def _together(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Let ranks exchange gradients only in the last part."""
        if last or not isinstance(self.forward, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.forward.no_sync()

    def _read(self, rate: float) -> TrainPoint:
        """Return the means since the last reading."""
        meter = self.state.meter
        loss = float(meter.loss) / meter.steps
        speed = meter.samples / meter.seconds
        norm, samples = float(meter.norm) / meter.steps, meter.samples
        point = TrainPoint(self.state.step, self._epoch(), loss, rate, norm, samples, speed, _now())
        meter.reset()
        self.state.points.append(point)
        return point

    def _epoch(self) -> float:
        return self.state.step / self.batches.steps_per_epoch

    def _check(self) -> None:
        """Raise an error if a step's numbers were not finite; neither it nor later steps changed weights."""
        step = int(self.update.failed)
        if step < 0:
            return
        rate = optimizer.learning_rate(self.settings, step - 1, self.steps)
        raise TrainingError(
            f"training diverged at step {step}: its loss or gradients are not finite",
            got=f"learning rate {rate:.3g}, batch of samples {', '.join(self.batches.names(step - 1))}",
            expected="finite numbers",
            hint="check these samples; lower learning_rate, set clip_norm, or set runtime.precision to fp32",
        )


def _forward(model: nn.Module, runtime: Runtime, unused: bool) -> nn.Module:
    """Return the module that the loss calls: the model, compiled and replicated as the runtime requires.

    The model itself is unchanged. `unused`: some weights may get no gradient; DDP then looks for them in each
    step, instead of waiting for their gradients.
    """
    own = Compiled(model, runtime.fixed_shapes) if runtime.compile is True else model
    if runtime.processes == 1 or sharding.is_split(model):
        return own
    devices = [runtime.device] if runtime.device.type == "cuda" else None
    # Buffers that training changes (batch statistics) follow rank 0, whose buffers a checkpoint holds.
    return DistributedDataParallel(
        own,
        device_ids=devices,
        forward_sync_buffers=takes_statistics(model),
        gradient_as_bucket_view=True,
        find_unused_parameters=unused,
    )


def reaches(loss: torch.Tensor) -> set[torch.Tensor]:
    """Return the leaf tensors that a loss depends on."""
    seen, left, leaves = set[Any](), [loss.grad_fn], set[torch.Tensor]()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # where a gradient is accumulated
            leaves.add(node.variable)
        left += [following for following, _ in node.next_functions]
    return leaves


def _validation_steps(settings: params.Training, steps_per_epoch: int) -> set[int]:
    """Return the steps after which to validate: evenly spaced in each epoch, always at its end."""
    parts = min(settings.evaluations_per_epoch, steps_per_epoch)
    ends = [round(steps_per_epoch * part / parts) for part in range(1, parts + 1)]
    return {epoch * steps_per_epoch + end for epoch in range(settings.epochs) for end in ends}


def _now() -> int:
    return time.time_ns() // 1_000_000
