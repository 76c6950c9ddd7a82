"""What a model's head reads, computed once by its frozen backbone and kept on disk.

Inputs: a classifier, a split and the stage's job -> features, memory-mapped from `.baton/features`. A folder
there is named by everything that they depend on, except for the settings of training.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from baton import console, params, storage
from baton.batches import subset
from baton.batches.feature_batches import FeatureSplit
from baton.batches.sampler import Split
from baton.contracts import transfer_set
from baton.contracts.input_spec import AudioInput
from baton.contracts.ragged import Ragged, taken
from baton.contracts.written_texts import Texts
from baton.fitting import trainings
from baton.models.model_folder import Classifier
from baton.predict import predict
from baton.runtime import distributed

KEEP = 8  # folders


def why_not(settings: params.Finetune, job: trainings.Job) -> str | None:
    """Return why a head cannot be trained on features that are computed once, or None if it can."""
    if settings.augmentation is not None:
        return "augmentation changes what the backbone reads in each epoch"
    if job.runtime.sharding == "full":
        return "the model is split over processes"
    reads = job.data.input
    if isinstance(reads, AudioInput) and reads.parts > 1 and settings.head.kind != "linear":
        return "clips are read in parts, whose answers are averaged"
    return None


def splits(model: Classifier, settings: params.Finetune, job: trainings.Job) -> Mapping[str, Split]:
    """Return all splits but the transfer set by their features, computed when they are first asked for."""
    return Features(model, settings, job)


class Features(Mapping[str, Split]):
    """See `splits`."""

    def __init__(self, model: Classifier, settings: params.Finetune, job: trainings.Job) -> None:
        """Compute nothing yet."""
        self.model, self.settings, self.job = model, settings, job
        self.known: dict[str, Split] = {}

    def __getitem__(self, name: str) -> Split:
        if name not in self.known:
            split = self.job.data.splits[name]
            found = computed(self.model, name, split, self.settings, self.job)
            self.known[name] = FeatureSplit(split, found)
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.job.data.splits if name != transfer_set.TRANSFER)

    def __len__(self) -> int:
        return len(list(iter(self)))


def computed(
    model: Classifier, name: str, split: Split, settings: params.Finetune, job: trainings.Job
) -> NDArray[np.float32]:
    """Return the inputs of the head for the split called `name`, (samples, width) or (units, width).

    Those of a part of the training rows are taken from those of all. Units that are not read have zeros. The
    model is in eval mode afterwards.
    """
    if isinstance(split, subset.Part):
        whole = computed(model, job.whole, split.whole, settings, job)
        units = split.whole.units
        return whole[split.chosen if units is None else taken(units.offsets, split.chosen)[0]]
    folder = _folder(model, settings, job)
    if folder is None:
        return of(model, split, settings, job, f"features of {name}")
    path, cost = folder / f"{name}.npy", folder / f"{name}.json"
    if not distributed.once(path.is_file):
        start = time.monotonic()
        found = of(model, split, settings, job, f"features of {name}")
        if job.runtime.is_main:
            storage.write_json(cost, {"seconds": time.monotonic() - start})
            with storage.atomic_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, found, allow_pickle=False)
            _forget(folder)
        distributed.barrier()
    else:  # what is compared with other ways to train costs what it would cost alone
        job.reused.append(distributed.once(lambda: float(storage.read_json(cost)["seconds"])))
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def of(
    model: Classifier, split: Split, settings: params.Finetune, job: trainings.Job, said: str
) -> NDArray[np.float32]:
    """Return the same without keeping it; `said` names the work on a progress bar."""
    head, model.head = model.head, torch.nn.Identity()  # type: ignore[assignment]
    try:
        with console.progress(said, len(split), "samples") as advance:
            found = predict(model.eval(), split, job.runtime, job.at_once(settings), advance)
    finally:
        model.head = head
    assert not isinstance(found, Texts), "params refuse heads on models that write texts"
    return found.values if isinstance(found, Ragged) else found


def _folder(model: Classifier, settings: params.Finetune, job: trainings.Job) -> Path | None:
    """Return the folder of these arrays', these weights', this code's and machine's features.

    None: the job is not a stage's, and nobody knows what they depend on.
    """
    if job.checkpoints.marks is None:
        return None
    marks = {
        key: value for key, value in job.checkpoints.marks.items() if not key.startswith("params finetune.")
    }
    own = {"pooling": settings.head.pooling, "batch": str(job.at_once(settings)), "weights": _digest(model)}
    content = json.dumps(marks | own, sort_keys=True)
    return storage.state("features") / hashlib.sha256(content.encode()).hexdigest()[:16]


def _digest(model: Classifier) -> str:
    """Return a digest of the backbone's weights and statistics: some are drawn from the seed."""
    found = hashlib.sha256()
    for name, tensor in model.backbone.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _forget(newest: Path) -> None:
    """Remove all but the last folders."""
    others = [folder for folder in newest.parent.iterdir() if folder.is_dir() and folder != newest]
    others.sort(key=lambda folder: folder.stat().st_mtime)
    for folder in others[: max(len(others) - KEEP + 1, 0)]:
        shutil.rmtree(folder, ignore_errors=True)
