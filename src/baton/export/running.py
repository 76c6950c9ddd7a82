"""An exported model on samples: its logits, and the seconds it takes beside others."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
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
ROUNDS, PRECISION = 3, 0.02  # the least rounds, and the half-width of a ratio's interval at which to stop
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
        with torch.autocast(runtime.device.type, enabled=False) if not mixed else contextlib.nullcontext():
            return predict.forward(model, batch, runtime)

    return compute


def timed(
    sides: Mapping[str, Side], split: Split, batch_size: int, seconds: float, runtime: Runtime
) -> dict[str, timing.Seconds]:
    """Return the seconds of each side for each batch, (rounds, batches); they take turns at every batch.

    The first round is a warm-up. Each turn has an order of its own, drawn by a fixed seed: with many sides
    `timing.alternated` would begin with the same one for a long time. It ends as that does, after `seconds`
    but not before three rounds.
    """
    chunks = predict.by_length(split, np.arange(len(split)), batch_size)
    taken: list[timing.Seconds] = []
    names, begun = list(sides), time.monotonic()
    with predict.inference(runtime):
        while not _enough(taken, time.monotonic() - begun, seconds):
            round_ = np.zeros((len(names), len(chunks)))
            for item, chunk in enumerate(chunks):
                batch = split.batch(chunk)
                for place in np.random.default_rng((len(taken), item)).permutation(len(names)):
                    start = time.perf_counter()
                    sides[names[place]](batch)
                    round_[place, item] = time.perf_counter() - start
            taken.append(round_)
    return {name: np.stack([own[place] for own in taken[1:]]) for place, name in enumerate(names)}


def _enough(taken: list[timing.Seconds], elapsed: float, seconds: float) -> bool:
    """Return whether rounds (sides, batches), of which the first is a warm-up, are enough for ratios."""
    rounds = np.array(taken[1:])  # (rounds, sides, batches)
    if len(rounds) < ROUNDS or rounds[:, 0].size < timing.FEWEST:
        return False
    ratios = (timing.ratio(rounds[:, 0], rounds[:, place], CONFIDENCE) for place in range(1, rounds.shape[1]))
    return elapsed >= seconds or all(timing.precise(own, PRECISION) for own in ratios)


def rate(taken: NDArray[np.float64], samples: int) -> float:
    """Return samples/s from seconds (rounds, batches): by the batches' median times."""
    return samples / float(np.median(taken, axis=0).sum())
