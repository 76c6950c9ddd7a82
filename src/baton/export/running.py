"""An exported model on samples: its logits, and the seconds it takes beside others."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from baton import predict
from baton.batches.sampler import Split
from baton.contracts.batch import Batch
from baton.contracts.predictions import Predicted
from baton.contracts.ragged import Ragged
from baton.engines.engine import Engine
from baton.evaluate import timing
from baton.export import graphs
from baton.runtime.resolve import Runtime

CONFIDENCE = 0.95
Side = Callable[[Batch], Any]  # computes the logits of a batch


def predicted(engine: Engine, names: tuple[str, ...], split: Split, batch_size: int) -> Predicted:
    """Return the logits of every sample, or of samples' units, in the split's order, as `predict` does."""
    chunks = predict.by_length(split, np.arange(len(split)), batch_size)
    parts = []
    for chunk in chunks:
        batch = split.batch(chunk)
        parts.append(graphs.of_batch(engine.run(graphs.arrays(batch, names)), batch))
    rows, units = np.concatenate(chunks), split.units
    logits = np.concatenate(parts)
    ordered = np.zeros((len(split) if units is None else len(units.places), logits.shape[1]), np.float32)
    ordered[rows if units is None else units.read(rows)] = logits
    return ordered if units is None else Ragged(ordered, units.offsets)


def exported(engine: Engine, names: tuple[str, ...]) -> Side:
    """Return how an export computes a batch."""
    return lambda batch: engine.run(graphs.arrays(batch, names))


def in_torch(model: nn.Module, runtime: Runtime, mixed: bool) -> Side:
    """Return how torch computes a batch, within `predict.inference`; `mixed`: in the runtime's precision."""

    def compute(batch: Batch) -> Any:
        if mixed:
            return predict.forward(model, batch, runtime).cpu()
        import torch

        with torch.autocast(runtime.device.type, enabled=False):
            return predict.forward(model, batch, runtime).cpu()

    return compute


def timed(
    sides: Mapping[str, Side], split: Split, batch_size: int, seconds: float, runtime: Runtime
) -> dict[str, timing.Seconds]:
    """Return the seconds of each side for each batch, (rounds, batches); they take turns at every batch."""
    chunks = predict.by_length(split, np.arange(len(split)), batch_size)

    @functools.lru_cache(maxsize=1)
    def batch(item: int) -> Batch:
        return split.batch(chunks[item])

    def timer(compute: Side, item: int) -> float:
        made = batch(item)
        start = time.perf_counter()
        compute(made)
        return time.perf_counter() - start

    timers = {name: functools.partial(timer, compute) for name, compute in sides.items()}
    limits = timing.Limits(rounds=3, precision=0.02, seconds=seconds, confidence=CONFIDENCE)
    with predict.inference(runtime):
        return timing.alternated(timers, len(chunks), limits)


def rate(taken: NDArray[np.float64], samples: int) -> float:
    """Return samples/s from seconds (rounds, batches): by the batches' median times."""
    return samples / float(np.median(taken, axis=0).sum())
