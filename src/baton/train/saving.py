"""Who saves a training, and when: the main process by itself, or all processes together where the model is split.

In: the training's `State`, its `Checkpoints`, the `Runtime`. The loop asks `before` and `after` each pass; which of the two it talks to
makes no difference to it.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from torch import nn

from baton.processes import signals
from baton.runtime import distributed, sharding
from baton.runtime.resolve import Runtime
from baton.train.checkpoint import Checkpoint, Checkpoints
from baton.train.state import State

if TYPE_CHECKING:
    from baton.train.sharded_checkpoint import ShardedCheckpoints

Step = list[tuple[Any, float]]  # the parts of one step


def saving(state: State, saved: Checkpoints | None, runtime: Runtime) -> "Saving":
    """How a training is saved to `saved`, which is that of each process; nothing is saved without."""
    keeper = _keeper(saved, state.model, runtime)
    return (
        Together(state, keeper, runtime) if sharding.is_split(state.model) else Saving(state, keeper, runtime)
    )


def as_many(parts: Step, most: int) -> Step:
    """`most` parts, for as many passes as other processes make: who has fewer repeats its last, with no share in the loss."""
    return parts + [(part, 0.0) for part, _ in parts[-1:]] * (most - len(parts))


def _keeper(
    saved: Checkpoints | None, model: nn.Module, runtime: Runtime
) -> "Checkpoints | ShardedCheckpoints | None":
    """Who writes: the main process alone, or all processes where the model is split."""
    if saved and runtime.sharding == "full":
        from baton.train.sharded_checkpoint import ShardedCheckpoints  # it takes half a second

        return ShardedCheckpoints(saved, model, runtime.local_processes)
    return saved if runtime.is_main else None


class Saving:
    """The main process saves by itself, whatever the others do."""

    def __init__(
        self, state: State, keeper: "Checkpoints | ShardedCheckpoints | None", runtime: Runtime
    ) -> None:
        """`keeper` is None where this process saves nothing."""
        self.state, self.keeper, self.runtime = state, keeper, runtime

    def load(self) -> Checkpoint | None:
        """The newest checkpoint, on every process.

        Raises:
            OutputError: one cannot be read, although it may be whole.
        """
        found = self.keeper.load() if self.keeper else None
        if self.runtime.processes == 1 or self.runtime.sharding == "full":
            return found
        state = distributed.share(found.state if found else None)
        return (
            None
            if state is None
            else Checkpoint(distributed.HandedOut(found.parts if found else {}, self.runtime.device), state)
        )

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Around a training, see `Checkpoints.writing`."""
        with self.keeper.writing() if self.keeper else contextlib.nullcontext():
            yield

    def exchange(self) -> AbstractContextManager[None]:
        """Around passes that are no step: signals are held back where this process cannot leave them by itself."""
        return contextlib.nullcontext()

    def before(self, prepared: Step) -> Step:
        """Before each pass: the parts of the step, or none for a validation, that this process is to compute."""
        return prepared

    def after(self) -> None:
        """After each pass and what the caller did with its point: save if it is time, without waiting.

        Raises:
            OutputError: this checkpoint, or the one before, cannot be written.
        """
        if self.keeper and self.keeper.due():
            self.save(wait=False)

    def finish(self) -> None:
        """The training is done, and saved: what follows it can be done again without it.

        Raises:
            OutputError: the checkpoint cannot be written.
        """
        with signals.held():
            self.before([])
            self.state.finished = True
            self.save()

    def leave(self) -> None:
        """Save what there is on the way out."""
        self.save()

    def save(self, wait: bool = True) -> None:
        """Save a checkpoint, unless the numbers went wrong since the last check: the last good one stays the newest."""
        if self.keeper and float(self.state.update.failed) < 0:
            with signals.held():
                self.keeper.save(self.state.name, self.state.parts(), self.state.facts(), wait)


class Together(Saving):
    """All processes of a split model, whose passes are exchanges: they meet before each, and begin it, save or leave together."""

    def exchange(self) -> AbstractContextManager[None]:
        """See `Saving`."""
        return signals.held()

    def before(self, prepared: Step, leaving: bool = False) -> Step:
        """All save, or leave, where the main one must, and make as many passes.

        Raises:
            SystemExit: the main process is leaving this training.
            OutputError: a checkpoint cannot be written.
        """
        due_now = self.keeper is not None and self.runtime.is_main and (self.keeper.due() or leaving)
        most, saves, leaves = distributed.most(len(prepared), int(due_now), int(leaving))
        if saves:
            self.save(wait=bool(leaves))
        if leaves and not leaving:
            raise SystemExit(0)  # the main process says why
        return as_many(prepared, most)

    def after(self) -> None:
        """Nothing: they meet before the next."""

    def leave(self) -> None:
        """The main process takes the others along."""
        if self.runtime.is_main and not self.state.finished:
            self.before([], leaving=True)
