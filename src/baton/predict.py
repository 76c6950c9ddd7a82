"""Model and samples -> logits; the one predictor behind the teacher cache, evaluation and speed figures."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baton import parallel, params
from baton.data.batches import Batch, Split, by_windows
from baton.memory import explained_memory
from baton.models import build
from baton.runtime import Runtime


def predict(
    model: nn.Module, split: Split, runtime: Runtime, batch_size: int, advance: Callable[[int], object] = lambda count: None
) -> NDArray[np.float32]:
    """Logits of every sample, (samples, classes), in the split's order.

    Args:
        model: in eval mode, on the runtime's device.
        split: its samples.
        runtime: device, precision, ranks: each computes its share of the batches, and all get all logits.
        batch_size: samples at a time; similar lengths share a batch.
        advance: called with the number of samples done, on all ranks together.

    Raises:
        TrainingError: memory ran out.
    """
    chunks = _by_length(split, np.arange(len(split)), batch_size)
    ranks = runtime.processes if len(chunks) >= runtime.processes else 1  # fewer batches than processes: each does all of them
    rank = runtime.rank % ranks
    parts: list[torch.Tensor] = []
    with _inference(runtime):
        for start in range(0, len(chunks), ranks):
            turn = chunks[start : start + ranks]  # a batch for each
            if rank < len(turn):
                parts.append(_forward(model, split.batch(turn[rank]), runtime))
            advance(sum(map(len, turn)))
    logits = torch.cat(parts).cpu()
    ordered = torch.zeros(len(split), logits.shape[1])
    ordered[torch.from_numpy(np.concatenate(chunks[rank::ranks]))] = logits
    if ranks > 1:  # as integers: the bits of one process plus the zeros of the others are these bits
        ordered = parallel.total(ordered.view(torch.int32)).view(torch.float32)
    return ordered.numpy()


def measure_speed(folders: dict[str, Path], split: Split, speed: params.Speed, runtime: Runtime) -> dict[str, dict[str, object]]:
    """Parameters, bytes, throughput (samples/s) and latency (ms) of each model folder, on the same rows.

    The models take turns, run by run, so a machine that slows down slows all of them; medians are reported beside every run.
    """
    models = {name: build.load(folder, runtime.attention)[0].to(runtime.device) for name, folder in folders.items()}
    rows = np.arange(min(speed.samples, len(split)))
    rates: dict[str, list[float]] = {name: [] for name in models}
    latencies: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(speed.repeats + 1):
        for name, model in models.items():
            chunks = [split.batch(chunk) for chunk in _by_length(split, rows, speed.batch_size)]
            single = [split.batch(rows[i : i + 1]) for i in range(min(speed.latency_samples, len(rows)))]
            elapsed, each = sum(_timed(model, chunks, runtime)), _timed(model, single, runtime)
            if repeat:  # the first turn warms up
                rates[name].append(len(rows) / elapsed)
                latencies[name] += [seconds * 1000 for seconds in each]
    return {name: _figures(models[name], folders[name], rates[name], latencies[name]) for name in models}


@contextlib.contextmanager
def _inference(runtime: Runtime) -> Iterator[None]:
    """Around all batches: autocast converts the weights once for all of them (in inference mode it would, for each batch again)."""
    with torch.no_grad(), runtime.autocast():
        yield


def _forward(model: nn.Module, batch: Batch, runtime: Runtime) -> torch.Tensor:
    """Logits, (batch, classes), on the device."""
    moved = batch if runtime.device.type == "cpu" else batch.pin_memory().to(runtime.device)
    with explained_memory("prediction", batch.shape):
        logits: torch.Tensor = model(*moved.inputs)
    return logits.float()


def _by_length(split: Split, rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Chunks of rows: longest first (an allocation that is too large fails at once), similar lengths together; at most `size` windows."""
    order = rows[np.argsort(-split.lengths[rows], kind="stable")]
    chunks = (order[start : start + size] for start in range(0, len(order), size))
    return [few for chunk in chunks for few in by_windows(chunk, split.windows, size)]


def _timed(model: nn.Module, chunks: Iterable[Batch], runtime: Runtime) -> list[float]:
    """Seconds of each chunk, from arrays in memory to logits on the host."""
    seconds = []
    with _inference(runtime):
        for chunk in chunks:
            start = time.perf_counter()
            _forward(model, chunk, runtime).cpu()
            seconds.append(time.perf_counter() - start)
    return seconds


def _figures(model: nn.Module, folder: Path, rates: list[float], latencies: list[float]) -> dict[str, object]:
    figures: dict[str, object] = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bytes": (folder / build.WEIGHTS).stat().st_size,
    }
    if rates:
        figures |= {"samples_per_second": statistics.median(rates), "runs": rates}
    if latencies:
        figures |= {"latency_p50_ms": float(np.percentile(latencies, 50)), "latency_p95_ms": float(np.percentile(latencies, 95))}
    return figures
