"""Model and samples -> logits or texts.

The one predictor for the teacher cache, evaluation and `speed`'s figures.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baton.batches import clip_batches
from baton.batches.sampler import Split, by_windows
from baton.contracts.batch import Batch
from baton.contracts.predictions import Predicted
from baton.contracts.ragged import Ragged
from baton.contracts.written_texts import Texts
from baton.runtime import distributed, sharding
from baton.runtime.memory import explained_memory
from baton.runtime.resolve import Runtime


def predict(
    model: nn.Module,
    split: Split,
    runtime: Runtime,
    batch_size: int,
    advance: Callable[[int], object] = lambda count: None,
) -> Predicted:
    """Return the logits of every sample, (samples, width), or its text, in the split's order.

    If samples have units, they are those of units; those of a unit that is not read are 0.

    Args:
        model: in eval mode, on the runtime's device.
        split: its samples.
        runtime: device, precision and ranks: each rank computes its share of the batches, and all get all
            logits.
        batch_size: samples at a time; samples of similar length share a batch.
        advance: called with the number of samples done on all ranks together.

    Raises:
        TrainingError: out of memory.
    """
    chunks = by_length(split, np.arange(len(split)), batch_size)
    # With fewer batches than processes, each process computes all of them.
    ranks = runtime.processes if len(chunks) >= runtime.processes else 1
    rank = runtime.rank % ranks
    parts: list[torch.Tensor] = []
    split_model = sharding.is_split(model)
    with inference(runtime):
        for start in range(0, len(chunks), ranks):
            turn = chunks[start : start + ranks]  # one batch per rank
            if rank < len(turn):
                parts.append(forward(model, split.batch(turn[rank]), runtime))
            elif split_model:  # the other ranks' pass needs this process's part of the weights
                forward(model, split.batch(turn[0]), runtime)
            advance(sum(map(len, turn)))
    sharding.rest(model)
    logits = torch.cat(parts).cpu()
    units = split.units
    size = len(split) if units is None else len(units.places)
    ordered = torch.zeros(size, logits.shape[1], dtype=logits.dtype)
    rows = np.concatenate(chunks[rank::ranks])
    ordered[torch.from_numpy(rows if units is None else units.read(rows))] = logits
    if ranks > 1:  # summed as integers: one process's bits plus zeros from the others are exact
        ordered = distributed.total(ordered.view(torch.int32)).view(logits.dtype)
    if (decode := getattr(model, "decode", None)) is not None:
        return Texts(tuple(decode(ordered)))
    return ordered.numpy() if units is None else Ragged(ordered.numpy(), units.offsets)


@contextlib.contextmanager
def inference(runtime: Runtime) -> Iterator[None]:
    """Wrap all batches: autocast converts the weights once for all of them.

    In inference mode it would convert them again for each batch.
    """
    with torch.no_grad(), runtime.autocast():
        yield


def forward(model: nn.Module, batch: Batch, runtime: Runtime) -> torch.Tensor:
    """Return logits, (outputs, width), on the device; of a model that writes texts, their tokens."""
    moved = batch if runtime.device.type == "cpu" else batch.pin_memory().to(runtime.device)
    with explained_memory("prediction", batch.shape):
        if (generate := getattr(model, "generate", None)) is not None:
            tokens: torch.Tensor = generate(*moved.inputs)
            return tokens
        logits: torch.Tensor = model(*moved.inputs)
    return clip_batches.per_sample(moved, logits.float())


def by_length(split: Split, rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Return chunks of rows, longest first and similar lengths together, of at most `size` windows.

    Longest first, so that an allocation that is too large fails at once.
    """
    order = rows[np.argsort(-split.lengths[rows], kind="stable")]
    chunks = (order[start : start + size] for start in range(0, len(order), size))
    return [few for chunk in chunks for few in by_windows(chunk, split.windows, size)]
