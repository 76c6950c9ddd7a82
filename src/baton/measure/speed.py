"""Models and samples -> the speed of each model, and the ratio of any two.

Models take turns at every batch (`evaluate.timing`), so that ratios hold on a shared machine too; seconds and
samples/s describe this machine at this time.
"""

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from baton import params, predict
from baton.batches.sampler import Split
from baton.contracts.batch import Batch
from baton.evaluate import timing
from baton.models import model_folder
from baton.runtime.resolve import Runtime

CONFIDENCE = 0.95


def measure(
    folders: Mapping[str, Path], splits: Mapping[str, Split], speed: params.Speed, runtime: Runtime
) -> dict[str, Any]:
    """Measure throughput and latency of each model folder, on the same rows spread over a split.

    `splits` has the same split for each model, as its tokenizer reads it.

    Returns:
        `models` -> model -> attention, parameters, bytes, `samples_per_second` (from the batches' median
            times) and that of each of the `runs`, latency (ms) of single samples; `ratios` ->
            FIRST_vs_SECOND -> how many times as fast the first is, with its interval; `rounds`, `seconds`;
            `precise`: whether all intervals are as narrow as requested.
    """
    begun = time.monotonic()
    attention = {name: model_folder.attention(folder, runtime) for name, folder in folders.items()}
    models = {
        name: model_folder.load(folder, attention[name])[0].to(runtime.device)
        for name, folder in folders.items()
    }
    split = next(iter(splits.values()))  # whose lengths decide which rows share a batch, for all models
    rows = timing.spread(len(split), speed.samples)
    chunks = predict.by_length(split, rows, speed.batch_size)
    singles = [rows[place : place + 1] for place in timing.spread(len(rows), speed.latency_samples)]
    with predict.inference(runtime):  # for all models at once, to keep their converted weights
        limits = timing.Limits(speed.repeats, speed.precision, speed.max_seconds, CONFIDENCE)
        taken = timing.alternated(_timers(models, splits, chunks, runtime), len(chunks), limits)
        least = timing.Limits(speed.repeats, 1.0, 0.0, CONFIDENCE)
        waited = timing.alternated(_timers(models, splits, singles, runtime), len(singles), least)
    ratios = {
        f"{first}_vs_{second}": _ratio(taken[second], taken[first])
        for first, second in itertools.permutations(models, 2)
    }
    return {
        "models": {
            name: {"attention": attention[name]}
            | _figures(model, folders[name], len(rows), taken[name], waited[name])
            for name, model in models.items()
        },
        "ratios": ratios,
        "rounds": len(next(iter(taken.values()))),
        "seconds": time.monotonic() - begun,
        "precise": all(
            timing.precise((own["throughput"], own["throughput_interval"]), speed.precision)
            for own in ratios.values()
        ),
    }


def _timers(
    models: Mapping[str, nn.Module],
    splits: Mapping[str, Split],
    chunks: list[NDArray[np.int64]],
    runtime: Runtime,
) -> dict[str, Callable[[int], float]]:
    different = {id(split): split for split in splits.values()}

    @functools.lru_cache(maxsize=1)
    def batches(item: int) -> dict[int, Batch]:
        """Make a batch once for all models that read the same split, outside the timed section."""
        return {key: split.batch(chunks[item]) for key, split in different.items()}

    def timer(name: str, item: int) -> float:
        """Return the seconds from arrays in memory to logits on the host."""
        model, made = models[name], batches(item)[id(splits[name])]
        start = time.perf_counter()
        predict.forward(model, made, runtime).cpu()
        return time.perf_counter() - start

    return {name: functools.partial(timer, name) for name in models}


def _ratio(second: timing.Seconds, first: timing.Seconds) -> dict[str, Any]:
    value, bounds = timing.ratio(second, first, CONFIDENCE)
    return {"throughput": value, "throughput_interval": bounds}


def _figures(
    model: nn.Module, folder: Path, rows: int, taken: timing.Seconds, waited: timing.Seconds
) -> dict[str, Any]:
    """Summarise `taken` (rounds, batches) and `waited` (rounds, single samples)."""
    milliseconds = 1000 * waited.ravel()
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bytes": (folder / model_folder.WEIGHTS).stat().st_size,
        "samples_per_second": rows / float(np.median(taken, axis=0).sum()),
        "runs": [rows / float(seconds) for seconds in taken.sum(axis=1)],
        "latency_p50_ms": statistics.median(milliseconds.tolist()),
        "latency_p95_ms": float(np.percentile(milliseconds, 95)),
    }
