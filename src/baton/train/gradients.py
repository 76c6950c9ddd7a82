"""The gradients of a training run's steps: over all parts, processes and devices, eager or compiled.

Input: the model, its batches and its loss. Output: gradients in the model's weights, the same on every rank,
and the loss.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from baton import console
from baton.losses.loss import Loss
from baton.runtime import distributed, sharding
from baton.runtime.memory import explained_memory
from baton.runtime.resolve import Runtime, seed_step, takes_statistics
from baton.train import compiling, saving
from baton.train.compiled import Compiled
from baton.train.loader import Batches
from baton.train.optimizer import Update


class Gradients:
    """The model as the loss calls it, and the gradients of its steps."""

    def __init__(
        self, model: nn.Module, batches: Batches, loss_fn: Loss, update: Update, runtime: Runtime, seed: int
    ) -> None:
        """Compile and replicate the model as the runtime requires; `update` scales the loss, for fp16."""
        self.model, self.batches, self.loss_fn, self.update = model, batches, loss_fn, update
        self.runtime, self.seed = runtime, seed
        self.split = sharding.is_split(model)
        self.forward = _forward(model, runtime, self._unused())

    def warm_up(self) -> None:
        """Make the first pass the same at the start and on resume.

        DDP's order of buckets and the compiler's first shape follow from it, and both affect rounding.
        """
        compiles = self.runtime.compile is True
        if compiles or isinstance(self.forward, DistributedDataParallel):
            # All parts in one go: ranks exchange gradients once, regardless of their numbers of shapes.
            with self._first_pass() as part:
                parts = compiling.first_parts(self.batches, self.runtime) if compiles else [part]
                self.backward(saving.as_many(parts, *distributed.most(len(parts))) if self.split else parts)

    def backward(self, parts: list[tuple[Any, float]]) -> torch.Tensor:
        """Compute gradients of the mean loss over the step's targets, for any number of parts and ranks.

        Returns:
            This rank's share of the loss, (), or of its terms, (terms,).
        """
        total = torch.zeros((), device=self.runtime.device)
        scale = self.update.scale * self.runtime.processes  # DDP takes the mean over ranks; this is a sum
        for index, (part, share) in enumerate(parts):
            with self._together(index == len(parts) - 1), explained_memory("training", part.shape):
                moved = part.to(self.runtime.device)
                with self.runtime.autocast():
                    loss = self.loss_fn(self.forward, moved) * share
                (loss.sum() * scale).backward()  # type: ignore[no-untyped-call]
                total = total + loss.detach()
        return total

    def _unused(self) -> bool:
        """Return whether there are weights that the loss of a first batch does not depend on, on some rank.

        A single process leaves such weights unchanged (their gradient is None), and so do several.
        """
        model = self.model
        if self.runtime.processes == 1 or self.split:
            return False
        with self._first_pass() as (part, _), self.runtime.autocast():  # frozen modules stay in eval mode
            reached = reaches(self.loss_fn(model, part.to(self.runtime.device)))
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        unused = distributed.most(*(int(parameter not in reached) for _, parameter in named))
        names = [name for (name, _), missed in zip(named, unused, strict=True) if missed]
        if names:
            console.say(
                f"processes: {len(names)} weights get no gradient from the first batch ({names[0]}, …); "
                "checking for unused weights at each step"
            )
        return bool(names)

    @contextlib.contextmanager
    def _first_pass(self) -> Iterator[tuple[Any, float]]:
        """Yield the last part of the first step, for a pass that leaves no trace."""
        seed_step(self.seed, 0, self.runtime.rank)
        with compiling.unchanged(self.model):
            yield self.batches.micro_batches(0)[-1]

    def _together(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Let ranks exchange gradients only in the last part."""
        if last or not isinstance(self.forward, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.forward.no_sync()


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
