"""Features of a project's base model on its train rows, and what LogME says of them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params
from baton.batches import array_splits
from baton.batches.sampler import Split
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.tasks import transferability

AT_ONCE = 32  # rows per forward pass


def logme(project: Path, raw: dict[str, Any]) -> float:
    """Return the LogME of data/base on the train rows of data/arrays, with params `raw`."""
    split = array_splits.open_splits(project / "data/arrays")["train"]
    targets = split.targets
    found = transferability.logme(targets.spec, features(project, raw, split), targets.all)
    assert found is not None, "the task has one answer per row"
    return found


def features(project: Path, raw: dict[str, Any], split: Split) -> NDArray[np.float32]:
    """Return the pooled features of a split's rows, (rows, width), before any training."""
    base, reads = project / "data/base", array_splits.read_meta(project / "data/arrays").input
    settings = params.checked(raw, project / "params.yaml")
    machine = resolve.resolve(settings.runtime, work=model_folder.work(base, reads))
    head = settings.finetune.head
    model = model_folder.create(base, head, 1, settings.finetune, machine.attention, reads)
    model.head = torch.nn.Identity()  # type: ignore[assignment]
    found = predict(model.eval(), split, machine, AT_ONCE)
    assert isinstance(found, np.ndarray)
    return found
