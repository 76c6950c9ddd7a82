"""Decide when and by which process a training run is saved: the main one, or all together for a split model.

Input: the run's `State`, its `Checkpoints`, the `Runtime`. The loop calls `before` and `after` around each
pass, the same way for both classes.
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
    """Return the object that saves a training run to `saved`, given on each process; None saves nothing."""
    keeper = _keeper(saved, state.model, runtime)
    return (
        Together(state, keeper, runtime) if sharding.is_split(state.model) else Saving(state, keeper, runtime)
    )


def as_many(parts: Step, most: int) -> Step:
    """Return `most` parts, one per pass of other processes; repeats of the last have no share in the loss."""
    return parts + [(part, 0.0) for part, _ in parts[-1:]] * (most - len(parts))


def _keeper(
    saved: Checkpoints | None, model: nn.Module, runtime: Runtime
) -> "Checkpoints | ShardedCheckpoints | None":
    """Return the writer: of the main process alone, or of all processes if the model is split."""
    if saved and runtime.sharding == "full":
        from baton.train.sharded_checkpoint import ShardedCheckpoints  # it takes half a second

        return ShardedCheckpoints(saved, model, runtime.local_processes)
    return saved if runtime.is_main else None


class Saving:
    """Saving by the main process alone, independently of the others."""

    def __init__(
        self, state: State, keeper: "Checkpoints | ShardedCheckpoints | None", runtime: Runtime
    ) -> None:
        """`keeper` is None if this process saves nothing."""
        self.state, self.keeper, self.runtime = state, keeper, runtime

    def load(self) -> Checkpoint | None:
        """Return the newest checkpoint, on every process.

        Raises:
            OutputError: a checkpoint cannot be read, although it may be intact.
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
        """Wrap a training run; see `Checkpoints.writing`."""
        with self.keeper.writing() if self.keeper else contextlib.nullcontext():
            yield

    def exchange(self) -> AbstractContextManager[None]:
        """Wrap passes that are not steps; hold back signals if this process cannot leave them by itself."""
        return contextlib.nullcontext()

    def before(self, prepared: Step) -> Step:
        """Return the parts that this process must compute in the next pass; none for a validation."""
        return prepared

    def after(self) -> None:
        """Save if it is time, without waiting; call this after each pass, once its point is dealt with.

        Raises:
            OutputError: this checkpoint, or the previous one, cannot be written.
        """
        if self.keeper and self.keeper.due():
            self.save(wait=False)

    def finish(self) -> None:
        """Save the finished training run, so that later steps can be repeated without training again.

        Raises:
            OutputError: the checkpoint cannot be written.
        """
        with signals.held():
            self.before([])
            self.state.finished = True
            self.save()

    def leave(self) -> None:
        """Save the current state on the way out."""
        self.save()

    def save(self, wait: bool = True) -> None:
        """Save a checkpoint, unless a number was not finite: the last good one then stays the newest."""
        if self.keeper and float(self.state.update.failed) < 0:
            with signals.held():
                self.keeper.save(self.state.name, self.state.parts(), self.state.facts(), wait)


class Together(Saving):
    """Saving by all processes of a split model, whose passes are collective operations.

    The processes meet before each pass, and start it, save or leave together.
    """

    def exchange(self) -> AbstractContextManager[None]:
        """See `Saving`."""
        return signals.held()

    def before(self, prepared: Step, leaving: bool = False) -> Step:
        """Save or leave together when the main process must, and equalise the number of passes.

        Raises:
            SystemExit: the main process is leaving this training run.
            OutputError: a checkpoint cannot be written.
        """
        due_now = self.keeper is not None and self.runtime.is_main and (self.keeper.due() or leaving)
        most, saves, leaves = distributed.most(len(prepared), int(due_now), int(leaving))
        if saves:
            self.save(wait=bool(leaves))
        if leaves and not leaving:
            raise SystemExit(0)  # the main process gives the reason
        return as_many(prepared, most)

    def after(self) -> None:
        """Do nothing: the processes meet before the next pass."""

    def leave(self) -> None:
        """Let the main process take the others along."""
        if self.runtime.is_main and not self.state.finished:
            self.before([], leaving=True)
