"""Decide whether to compile a training run, by measuring cost and savings on this machine if it can pay off.

Input: the model, its batches and its loss, before training. Output: `Settled`, the choice with its reason and
the measured seconds. The measurements are kept in `.baton/compile`, one file per combination of everything
that a step depends on, and never changed: a resumed training run, the seeds after the first, and the control
run of a student all make the same choice. Only passing failures (a full disk, lack of memory) are not kept.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from baton import params, storage
from baton.errors import first_line
from baton.losses.loss import Loss
from baton.runtime import distributed, sharding
from baton.runtime.memory import explained_memory
from baton.runtime.resolve import MEASURED, Runtime, seed_step
from baton.train.compiled import Compiled, restored
from baton.train.compiler_errors import is_compilers
from baton.train.loader import Batches

FEWEST_STEPS = 200
# Seconds; a first compilation takes from 20 s (MiniLM) to minutes, and rarely saves half of the time.
SHORTEST = 60.0
PASSES = 5  # passes to time
# Costs are shared by texts whose mean lengths differ by at most a fifth: steps per power of two.
LENGTHS = 4

Part = tuple[Any, float]


class Companion(Protocol):
    """Another model used in the loss, such as a live teacher; it is compiled if the trained model is."""

    model: nn.Module
    forward: nn.Module  # what the loss calls: the model, or its compiled version


@dataclass(frozen=True)
class Costs:
    """The seconds for a part of a step, eager and compiled, and for the first compiled pass.

    If shapes are fixed, the first pass covers each of them. The last two are None if nothing was compiled,
    because it could not pay off or because it failed; `failure` gives the reason. `passing`: the failure may
    not recur, and is not kept.
    """

    eager: float
    compiled: float | None = None
    first: float | None = None
    failure: str | None = None
    passing: bool = False


@dataclass(frozen=True)
class Settled:
    """The choice, its reason, and the measured seconds, if any."""

    compile: bool
    reason: str
    costs: Costs | None = None

    def figures(self) -> dict[str, float]:
        """Return the figures for tracking."""
        found = {"compiled": float(self.compile)}
        costs = self.costs
        seconds = {"eager": costs.eager, "compiled": costs.compiled, "first": costs.first} if costs else {}
        return found | {
            f"compile_{name}_seconds": value for name, value in seconds.items() if value is not None
        }


def settled(
    model: nn.Module,
    batches: Batches,
    loss_fn: Loss,
    runtime: Runtime,
    steps: int,
    settings: params.Training,
    companions: Sequence[Companion] = (),
) -> Settled:
    """Return the choice for one training run.

    Every rank calls this, and rank 0 decides. Neither weights nor statistics change.

    Args:
        model: on the runtime's device; in training mode afterwards.
        batches: of the training run.
        loss_fn: its loss.
        runtime: determines whether to measure.
        steps: of the whole training run, including those done before a checkpoint.
        settings: of the training run; its batch size and dropout rates affect the cost of a step.
        companions: see `Companion`.
    """
    if runtime.compile != MEASURED:
        return Settled(runtime.compile is True, runtime.reasons["compile"].partition(": ")[2])
    if sharding.is_split(model):
        return Settled(False, "not measured for a split model; set it to true or false")
    if steps < FEWEST_STEPS:
        return Settled(False, f"{steps:,} steps are too few to pay off")
    kept = _place(model, batches, runtime, settings, companions)
    costs = _shared(_read(kept) if runtime.is_main else None)
    if costs is None or (
        costs.first is None and not costs.failure and costs.eager * steps * _parts(batches) >= SHORTEST
    ):
        costs = _measured(model, batches, loss_fn, runtime, steps, companions, costs)
        if runtime.is_main:
            storage.write_json(kept, dataclasses.asdict(Costs(costs.eager) if costs.passing else costs))
    choice = decided(costs, steps, _parts(batches))
    if costs.failure and not costs.passing:
        return dataclasses.replace(choice, reason=f"{choice.reason}; to try it again, delete {kept}")
    return choice


def decided(costs: Costs, steps: int, parts: int = 1) -> Settled:
    """Return the choice that these costs imply for `steps` steps of `parts` parts each."""
    eager = costs.eager * steps * parts
    if costs.failure:
        return Settled(False, costs.failure, costs)
    if eager < SHORTEST or costs.first is None or costs.compiled is None:
        return Settled(False, f"the {steps:,} steps take about {eager:.0f} s without it", costs)
    saved = eager - costs.compiled * steps * parts
    shown = f"a pass takes {1000 * costs.compiled:.1f} ms with it and {1000 * costs.eager:.1f} ms without"
    shown += f": {saved:.0f} s saved in {steps:,} steps, and {costs.first:.0f} s to compile"
    return Settled(saved > costs.first, shown, costs)


def first_parts(batches: Batches, runtime: Runtime) -> list[Part]:
    """Return parts that show the compiler every shape: one of each if shapes are fixed, else just one."""
    if not runtime.fixed_shapes:
        # The largest, since a single row would be a special case.
        return [max(batches.micro_batches(0), key=lambda part: part[0].shape[0])]
    # The last batch may be smaller.
    sizes = {batches.size(step): step for step in reversed(range(batches.steps_per_epoch))}
    parts = [part for step in sorted(sizes.values()) for part in batches.micro_batches(step)]
    return list({part[0].shape: part for part in reversed(parts)}.values())


def use(companions: Sequence[Companion], fixed_shapes: bool) -> None:
    """Compile the other models in the loss, until `restore`."""
    for companion in companions:
        companion.forward = Compiled(companion.model, fixed_shapes)


def restore(model: nn.Module, companions: Sequence[Companion]) -> None:
    """Undo the compilation of all models."""
    restored(model)
    for companion in companions:
        companion.forward = restored(companion.model)


def _measured(
    model: nn.Module,
    batches: Batches,
    loss_fn: Loss,
    runtime: Runtime,
    steps: int,
    companions: Sequence[Companion],
    known: Costs | None,
) -> Costs:
    """Measure the costs; those of compiling only if it can pay off."""
    later = [batches.micro_batches(step)[-1] for step in range(min(PASSES, batches.steps_per_epoch))]
    first = first_parts(batches, runtime)
    seed_step(0, 0, runtime.rank)

    def seconds(forward: nn.Module, parts: Iterable[Part]) -> float:
        return _seconds(forward, parts, loss_fn, runtime)

    with unchanged(model.train()):
        if known is None:
            seconds(model, first)
            seconds(model, later)  # kernels may still be chosen for shapes seen for the first time
            known = Costs(seconds(model, later) / len(later))
        known = _shared(known)
        if known.eager * steps * _parts(batches) < SHORTEST:
            return known
        use(companions, runtime.fixed_shapes)
        forward, failure, lasts = Compiled(model, runtime.fixed_shapes), "", False
        try:
            opening = seconds(forward, first)
            seconds(forward, later)
            known = Costs(known.eager, seconds(forward, later) / len(later), opening)
        except Exception as error:  # noqa: BLE001  from torch, Triton, the C compiler or lack of memory: run eager
            lasts = is_compilers(error)
            why = first_line(error)
            failure = f"this model {'cannot be' if lasts else 'was not'} compiled ({why})"
        finally:
            restore(model, companions)
    failed, lasting = distributed.most(int(bool(failure)), int(lasts))
    if failed:  # on one rank: it would fail there in training, too
        known = Costs(
            known.eager,
            failure=failure or "this model was not compiled in another process",
            passing=not lasting,
        )
    return _shared(known)


C = TypeVar("C", bound=Costs | None)


def _shared(costs: C) -> C:
    """Return rank 0's costs on every rank."""
    plain = distributed.share(None if costs is None else dataclasses.asdict(costs))
    return costs if plain is None else Costs(**plain)  # type: ignore[return-value]


@contextlib.contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Undo extra passes: restore the statistics, which a forward pass changes, and drop the gradients."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        model.zero_grad(set_to_none=True)


def _seconds(forward: nn.Module, parts: Iterable[Part], loss_fn: Loss, runtime: Runtime) -> float:
    """Measure the total time of forward and backward passes over `parts`."""
    _wait(runtime)
    start = time.monotonic()
    for part, share in parts:
        with explained_memory("training", part.shape), runtime.autocast():
            loss = loss_fn(forward, part.to(runtime.device)) * share
        with explained_memory("training", part.shape):
            loss.sum().backward()  # type: ignore[no-untyped-call]
    _wait(runtime)
    return time.monotonic() - start


def _wait(runtime: Runtime) -> None:
    if runtime.device.type == "cuda":
        torch.cuda.synchronize(runtime.device)


def _parts(batches: Batches) -> int:
    """Return the number of parts of the first step; other steps may have fewer."""
    return len(batches.micro_batches(0))


def _place(
    model: nn.Module,
    batches: Batches,
    runtime: Runtime,
    settings: params.Training,
    companions: Sequence[Companion],
) -> Path:
    """Return the file for the costs, named by all they depend on, but not by the seed or a few more rows."""
    models = [
        (
            str(one),
            [
                (name, list(parameter.shape), parameter.requires_grad)
                for name, parameter in one.named_parameters()
            ],
        )
        for one in (model, *(other.model for other in companions))
    ]
    if runtime.fixed_shapes:
        sizes = [list(part.shape) for part, _ in first_parts(batches, runtime)]
    else:
        sizes = [[round(LENGTHS * math.log2(max(batches.mean_length, 1.0)))]]
    device = (
        torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else runtime.device.type
    )
    chosen = (
        runtime.precision,
        runtime.attention,
        runtime.packing,
        runtime.gradient_checkpointing,
        runtime.processes,
    )
    own = (
        settings.batch_size,
        settings.tokens,
        settings.accumulation,
        settings.dropout,
        settings.attention_dropout,
        settings.drop_path,
    )
    marks = json.dumps([models, sizes, device, torch.__version__, *chosen, *own])
    return storage.state("compile") / f"{hashlib.sha256(marks.encode()).hexdigest()}.json"


def _read(path: Path) -> Costs | None:
    kept = storage.read_state(path)
    return Costs(**kept) if kept else None
