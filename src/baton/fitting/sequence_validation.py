"""The validation figures of a model that writes texts.

The loss is that of all rows under teacher forcing. Texts are generated for a part of the rows, spread over
the split, since generating takes a pass per token: `Sequence.validation_rows` of the task.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from baton.arrays import sequence_targets
from baton.batches.sampler import Split
from baton.batches.subset import Part
from baton.contracts.task_spec import Sequence
from baton.contracts.written_texts import Texts
from baton.losses import task_losses
from baton.predict import by_length, inference, predict
from baton.runtime import distributed
from baton.runtime.resolve import Runtime
from baton.tasks import task_figures


def scores(
    model: nn.Module, split: Split, runtime: Runtime, batch_size: int, arrays: Path
) -> dict[str, float]:
    """Return `loss` (nats per token) and `chrf`, the same on every rank.

    Args:
        model: in eval mode, on the runtime's device.
        split: validation.
        runtime: device, precision and ranks, each of which computes its share.
        batch_size: rows at a time.
        arrays: the folder with the texts of the targets.
    """
    spec = split.targets.spec
    assert isinstance(spec, Sequence), "other tasks have logits"
    rows = chosen(len(split), spec.validation_rows)
    texts = predict(model, Part(split, rows), runtime, batch_size)
    assert isinstance(texts, Texts), "the model writes texts"
    references = sequence_targets.read_texts(arrays, "val", spec.column)
    written = task_figures.of(spec).scores(texts.values, [references[row] for row in rows])
    return {"loss": loss(model, split, runtime, batch_size), **written}


def chosen(rows: int, most: int) -> Any:
    """Return at most `most` of `rows` rows, evenly spread, (chosen,) int64."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).round().astype(np.int64))


def loss(model: nn.Module, split: Split, runtime: Runtime, batch_size: int) -> float:
    """Return the mean cross-entropy of the target tokens of all rows, in nats."""
    task, total = task_losses.of(split.targets.spec), torch.zeros(2, dtype=torch.float64)
    with inference(runtime):
        for rows in by_length(split, np.arange(len(split)), batch_size)[runtime.rank :: runtime.processes]:
            batch = split.batch(rows)
            moved = batch if runtime.device.type == "cpu" else batch.pin_memory().to(runtime.device)
            found = task.supervised(model(*moved.inputs), moved.targets, 0.0, None)
            total += torch.tensor([float(found.total), float(found.count)], dtype=torch.float64)
    summed, count = distributed.total(total).tolist()
    return float(summed / count)
