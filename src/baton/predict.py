"""Model and samples -> logits; the one predictor behind the teacher cache, evaluation and speed figures (which `speed` takes)."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baton.batches.sampler import Batch, Split, by_windows
from baton.runtime import distributed, sharding
from baton.runtime.memory import explained_memory
from baton.runtime.resolve import Runtime


def predict(
    model: nn.Module,
    split: Split,
    runtime: Runtime,
    batch_size: int,
    advance: Callable[[int], object] = lambda count: None,
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
    chunks = by_length(split, np.arange(len(split)), batch_size)
    ranks = (
        runtime.processes if len(chunks) >= runtime.processes else 1
    )  # fewer batches than processes: each does all of them
    rank = runtime.rank % ranks
    parts: list[torch.Tensor] = []
    split_model = sharding.is_split(model)
    with inference(runtime):
        for start in range(0, len(chunks), ranks):
            turn = chunks[start : start + ranks]  # a batch for each
            if rank < len(turn):
                parts.append(forward(model, split.batch(turn[rank]), runtime))
            elif split_model:  # a pass of the others needs this process's part of the weights
                forward(model, split.batch(turn[0]), runtime)
            advance(sum(map(len, turn)))
    sharding.rest(model)
    logits = torch.cat(parts).cpu()
    ordered = torch.zeros(len(split), logits.shape[1])
    ordered[torch.from_numpy(np.concatenate(chunks[rank::ranks]))] = logits
    if ranks > 1:  # as integers: the bits of one process plus the zeros of the others are these bits
        ordered = distributed.total(ordered.view(torch.int32)).view(torch.float32)
    return ordered.numpy()


@contextlib.contextmanager
def inference(runtime: Runtime) -> Iterator[None]:
    """Around all batches: autocast converts the weights once for all of them (in inference mode it would, for each batch again)."""
    with torch.no_grad(), runtime.autocast():
        yield


def forward(model: nn.Module, batch: Batch, runtime: Runtime) -> torch.Tensor:
    """Logits, (batch, classes), on the device."""
    moved = batch if runtime.device.type == "cpu" else batch.pin_memory().to(runtime.device)
    with explained_memory("prediction", batch.shape):
        logits: torch.Tensor = model(*moved.inputs)
    return logits.float()


def by_length(split: Split, rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Chunks of rows: longest first (an allocation that is too large fails at once), similar lengths together; at most `size` windows."""
    order = rows[np.argsort(-split.lengths[rows], kind="stable")]
    chunks = (order[start : start + size] for start in range(0, len(order), size))
    return [few for chunk in chunks for few in by_windows(chunk, split.windows, size)]
