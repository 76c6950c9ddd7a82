"""The single training loop, without callbacks and without variants per method.

Model, batches, loss and the validation function are arguments; progress is yielded as points, which the
caller logs. When the generator ends, the model holds the weights of the best validation. With checkpoints,
training resumes where it stopped, bit for bit: the earlier points are yielded again, then the new ones.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from baton import console, params
from baton.errors import TrainingError
from baton.losses.loss import Loss, names
from baton.processes import signals
from baton.runtime import distributed
from baton.runtime.memory import explained_memory
from baton.runtime.resolve import Runtime, seed_step
from baton.train import compiling, loader, optimizer, saving, strategy
from baton.train.checkpoint import Checkpoints
from baton.train.gradients import Gradients
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
        loss_fn: mean loss over a part's targets, or its terms.
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
        loop = _Loop(model, batches, loss_fn, settings, runtime, companions, directions)
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
        companions: Sequence[compiling.Companion] = (),
        directions: Mapping[str, int] = LOSS_ALONE,
    ) -> None:
        self.batches, self.settings, self.runtime, self.loss_fn = batches, settings, runtime, loss_fn
        self.companions = companions
        self.groups, self.joined = strategy.groups(model, settings), -1
        self.update = optimizer.Update(
            optimizer.make(model, settings, self.groups),
            settings.clip_norm,
            runtime.precision == "fp16",
            runtime.device,
        )
        self.state = State(model, self.update, settings, directions, strategy.untrained(model, self.groups))
        self.steps = settings.epochs * batches.steps_per_epoch
        self.joins = strategy.starts(self.groups, self.steps)
        self.validate_at = _validation_steps(settings, batches.steps_per_epoch)
        # On the CPU, checking at each step that numbers are finite costs nothing.
        self.check_every = 1 if runtime.device.type == "cpu" else settings.log_every

    def rest(self, validate: Callable[[], dict[str, float]], saves: saving.Saving) -> Iterator[Point]:
        """Do the remaining training, yielding its points."""
        try:
            self.join(saves)
            parts = loader.parts(self.batches, self.state.step, self.steps, self.runtime)
            while (validates := self.validates()) or not self.finished():
                if not validates and self.state.step in self.joins and self.state.step != self.joined:
                    self.join(saves)
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

    def join(self, saves: saving.Saving | None = None) -> None:
        """Let the groups of weights that have joined get gradients; at the start, and when others join.

        A resumed training run thus makes the same first pass with them as the interrupted one did.
        """
        state, self.joined = self.state, self.state.step
        strategy.apply(state.model, self.groups, state.step, self.steps)
        strategy.training_mode(state.model)
        compiling.restore(state.model, self.companions)
        with saves.exchange() if saves else contextlib.nullcontext():
            self.gradients = Gradients(
                state.model, self.batches, self.loss_fn, self.update, self.runtime, self.settings.seed
            )
            if self.runtime.compile is True:
                # Their first batch, which determines what is compiled, is the one of `warm_up`.
                compiling.use(self.companions, self.runtime.fixed_shapes)
            self.gradients.warm_up()

    def validates(self) -> bool:
        """Return whether the current model is due for validation."""
        return self.state.step in self.validate_at and self.state.validated < self.state.step

    def step(self, parts: list[tuple[Any, float]]) -> TrainPoint | None:
        """Do one optimizer step; return a point if one is due."""
        state, number = self.state, self.state.step + 1
        seed_step(self.settings.seed, number, self.runtime.rank)
        rate = optimizer.learning_rate(self.settings, number - 1, self.steps)
        # Over all ranks, since every rank must decide alike.
        loss = distributed.total(self.gradients.backward(parts))
        with explained_memory("training", parts[-1][0].shape):
            norm = self.update.step(number, loss.sum(), rate)
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
            strategy.training_mode(state.model)
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

    def _read(self, rate: float) -> TrainPoint:
        """Return the means since the last reading."""
        meter = self.state.meter
        means = [float(term) / meter.steps for term in meter.terms]
        terms = dict(zip(names(self.loss_fn), means, strict=False))  # a loss of one term has no names
        speed = meter.samples / meter.seconds
        norm, samples = float(meter.norm) / meter.steps, meter.samples
        point = TrainPoint(
            self.state.step, self._epoch(), sum(means), rate, norm, samples, speed, _now(), terms
        )
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


def _validation_steps(settings: params.Training, steps_per_epoch: int) -> set[int]:
    """Return the steps after which to validate: evenly spaced in each epoch, always at its end."""
    parts = min(settings.evaluations_per_epoch, steps_per_epoch)
    ends = [round(steps_per_epoch * part / parts) for part in range(1, parts + 1)]
    return {epoch * steps_per_epoch + end for epoch in range(settings.epochs) for end in ends}


def _now() -> int:
    return time.time_ns() // 1_000_000
