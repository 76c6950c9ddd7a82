"""Compare training on packed documents with padded ones: the same steps of one model, on real lengths.

Both sides share one process and take turns at every step, so that the ratio is valid on a busy machine. The
timed work is the forward and backward pass of steps spread evenly over an epoch's steps, ordered by tokens.
On CUDA each side uses its own attention (`varlen_attn`, or SDPA with a mask).

    python -m benchmarks.packed_speed [--project FOLDER] [--steps N] [--repeats N] [--tokens N]
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from baton import params
from baton.batches.sampler import TrainingBatches
from baton.losses import class_losses
from baton.losses.loss import Loss
from baton.models import model_folder, packing
from baton.runtime import resolve
from benchmarks import _sides
from benchmarks._training import Work

SIDES = ("padded", "packed")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print samples/s of both sides, their ratio, and the share of padding."""
    parser = _sides.parser(__doc__, 5)
    parser.add_argument("--steps", type=int, default=8, help="timed steps per repeat (default 8)")
    parser.add_argument(
        "--tokens", type=int, help="a token budget per step (default: the recipe's batch_size)"
    )
    options = parser.parse_args(arguments)
    _sides.require(options.project, "data/arrays/meta.json", "data/base/config.json")
    loaded = params.load("finetune", "runtime", path=options.project / "params.yaml")
    work = Work(options.project, loaded.finetune.of(options.seed), loaded.runtime, options.steps)
    if options.tokens:
        settings = work.settings.model_copy(update={"batch_size": None, "tokens": options.tokens})
        work = Work(work.project, settings, work.runtime, work.steps)
    measured = measure(work, options.steps, options.repeats)
    # Samples per second of each side, (repeats,).
    rates = {side: measured["samples"] / seconds.sum(axis=1) for side, seconds in measured["seconds"].items()}
    for side, found in rates.items():
        print(f"{side}: {np.median(found):.1f} samples/s ({found.min():.1f} to {found.max():.1f})")
    ratios = rates["packed"] / rates["padded"]
    print(f"packed / padded: {np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f})")
    print(
        f"padding of these steps: {100 * measured['padding']:.1f}% of the padded side's tokens; "
        f"largest difference of losses {measured['difference']:.1e}"
    )
    print(f"packing {measured['reason']}; {_sides.machine('torch', 'transformers')}")


def measure(work: Work, steps: int, repeats: int) -> dict[str, Any]:
    """Return each side's seconds (repeats, steps), samples per repeat, padding, and loss difference."""
    settings, meta, machine = work.settings, work.meta(), work.machine()
    resolve.seed_everything(settings.seed)
    model = model_folder.create(
        work.project / "data/base",
        settings.head,
        meta.task.width,
        settings,
        machine.attention,
        meta.input,
    )
    model.to(machine.device).train()
    packs, reason = packing.settled(machine, model, settings.attention_dropout)
    split, loss_fn = work.split("train"), class_losses.cross_entropy(settings.label_smoothing, None)
    sides = dict(zip(SIDES, (split, split.packed()), strict=True))
    size = (settings.batch_size, settings.accumulation, settings.seed)
    batches = {side: TrainingBatches(own, *size, tokens=settings.tokens) for side, own in sides.items()}
    plan = batches["padded"]
    ordered = sorted(range(plan.steps_per_epoch), key=lambda step: int(split.lengths[plan.rows(step)].sum()))
    chosen = [ordered[int((place + 0.5) * len(ordered) / steps)] for place in range(steps)]
    parts = {side: [own.micro_batches(step) for step in chosen] for side, own in batches.items()}
    seconds = {side: np.zeros((repeats, steps)) for side in SIDES}
    difference = 0.0
    for repeat in range(-1, repeats):  # the first is a warm-up
        for place in range(steps):
            found = {}
            for side in SIDES if place % 2 else reversed(SIDES):
                begun = time.perf_counter()
                found[side] = _step(model, parts[side][place], loss_fn, machine)
                if repeat >= 0:
                    seconds[side][repeat, place] = time.perf_counter() - begun
            difference = max(difference, abs(found["packed"] - found["padded"]))
    computed = {
        side: sum(part.input_ids.numel() for step in own for part, _ in step) for side, own in parts.items()
    }
    return {
        "seconds": seconds,
        "samples": sum(plan.size(step) for step in chosen),
        "padding": 1 - computed["packed"] / computed["padded"],
        "difference": difference,
        "reason": f"by runtime.packing: {str(packs).lower()}, {reason}",
    }


def _step(
    model: model_folder.Classifier,
    parts: list[tuple[Any, float]],
    loss_fn: Loss,
    machine: resolve.Runtime,
) -> float:
    """Run the forward and backward pass of one step; return its loss."""
    model.zero_grad()
    total = torch.zeros((), device=machine.device)
    for part, share in parts:
        moved = part.to(machine.device)
        with machine.autocast():
            loss = loss_fn(model, moved) * share
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return float(total)  # waits for the device


if __name__ == "__main__":
    main()
