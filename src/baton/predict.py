"""Model and arrays -> logits; the one predictor behind the teacher cache, evaluation and speed figures."""

import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baton import params
from baton.data import batches
from baton.data.text import TextArrays
from baton.models import build
from baton.runtime import Runtime


def predict(
    model: nn.Module, arrays: TextArrays, pad: int, runtime: Runtime, batch_size: int, advance: Callable[[int], object] = lambda count: None
) -> NDArray[np.float32]:
    """Logits of every document, (documents, classes), in the arrays' order.

    Args:
        model: in eval mode, on the runtime's device.
        arrays: one split.
        pad: the padding token's id.
        runtime: autocast and device.
        batch_size: documents at a time; similar lengths share a batch.
        advance: called with the number of documents done.
    """
    parts: list[torch.Tensor] = []
    rows: list[torch.Tensor] = []
    with torch.inference_mode():
        for batch in batches.prediction_batches(arrays, batch_size, pad):
            parts.append(_forward(model, batch, runtime))
            rows.append(batch.rows)
            advance(len(batch))
    logits = torch.cat(parts).cpu().numpy()
    ordered = np.empty_like(logits)
    ordered[torch.cat(rows).numpy()] = logits
    return ordered


def measure_speed(folders: dict[str, Path], arrays: TextArrays, speed: params.Speed, runtime: Runtime) -> dict[str, dict[str, object]]:
    """Parameters, bytes, throughput (samples/s) and latency (ms) of each model folder, on the same rows.

    The models take turns, run by run, so a machine that slows down slows all of them; medians are reported beside every run.
    """
    models = {name: build.load(folder, runtime.attention) for name, folder in folders.items()}
    for model, _ in models.values():
        model.to(runtime.device)
    rows = np.arange(min(speed.samples, len(arrays)))
    rates: dict[str, list[float]] = {name: [] for name in models}
    latencies: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(speed.repeats + 1):
        for name, (model, info) in models.items():
            chunks = [batches.collate(arrays, chunk, info.pad) for chunk in _by_length(arrays, rows, speed.batch_size)]
            single = [batches.collate(arrays, rows[i : i + 1], info.pad) for i in range(min(speed.latency_samples, len(rows)))]
            elapsed, each = sum(_timed(model, chunks, runtime)), _timed(model, single, runtime)
            if repeat:  # the first turn warms up
                rates[name].append(len(rows) / elapsed)
                latencies[name] += [seconds * 1000 for seconds in each]
    return {name: _figures(models[name][0], folders[name], rates[name], latencies[name]) for name in models}


def _forward(model: nn.Module, batch: batches.Batch, runtime: Runtime) -> torch.Tensor:
    moved = batch.to(runtime.device)
    with runtime.autocast():
        logits: torch.Tensor = model(moved.input_ids, moved.attention_mask)
    return logits.float()


def _by_length(arrays: TextArrays, rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    order = rows[np.argsort(-arrays.lengths[rows], kind="stable")]
    return [order[start : start + size] for start in range(0, len(order), size)]


def _timed(model: nn.Module, chunks: Iterable[batches.Batch], runtime: Runtime) -> list[float]:
    """Seconds of each chunk, from arrays in memory to logits on the host."""
    seconds = []
    with torch.inference_mode():
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
