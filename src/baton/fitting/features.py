"""What a model's head reads, computed once by its frozen backbone and kept on disk.

Inputs: a classifier, a split and the stage's job -> features, memory-mapped from `.baton/features`. A folder
there is named by everything that they depend on, except for the settings of training.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from baton import console, params, storage
from baton.batches import subset
from baton.batches.feature_batches import FeatureSplit
from baton.batches.sampler import Split
from baton.contracts import training_costs, transfer_set
from baton.contracts.input_spec import AudioInput
from baton.contracts.ragged import Ragged, taken
from baton.contracts.written_texts import Texts
from baton.fitting import jobs
from baton.models.classifier import Classifier, headless
from baton.predict import predict
from baton.runtime import distributed, memory
from baton.train import tensors

KEEP = 8  # folders


def why_not(settings: params.Finetune, job: jobs.Job) -> str | None:
    """Return why a head cannot be trained on features that are computed once, or None if it can."""
    if settings.augmentation is not None:
        return "augmentation changes what the backbone reads in each epoch"
    if job.runtime.sharding == "full":
        return "the model is split over processes"
    reads = job.data.input
    if isinstance(reads, AudioInput) and reads.parts > 1 and settings.head.kind != "linear":
        return "clips are read in parts, whose answers are averaged"
    return None


class Features(Mapping[str, Split]):
    """All splits but the transfer set by what the head reads, computed when they are first asked for.

    Features are (samples, width) or (units, width); units that are not read have zeros. Those of a part of
    the training rows are taken from those of all. The model is in eval mode afterwards.
    """

    def __init__(self, model: Classifier, settings: params.Finetune, job: jobs.Job) -> None:
        """Compute nothing yet; meanwhile the backbone must not change."""
        self.model, self.settings, self.job = model, settings, job
        self._known: dict[str, NDArray[np.float32]] = {}

    def __getitem__(self, name: str) -> FeatureSplit:
        split = self.job.data.splits[name]
        return FeatureSplit(split, self._of(name, split))

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.job.data.splits if name != transfer_set.TRANSFER)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _of(self, name: str, split: Split) -> NDArray[np.float32]:
        if isinstance(split, subset.Part):
            whole, units = self._of(self.job.whole, split.whole), split.whole.units
            return whole[split.chosen if units is None else taken(units.offsets, split.chosen)[0]]
        if name not in self._known:
            self._known[name] = self._kept(name, split)
        return self._known[name]

    def _kept(self, name: str, split: Split) -> NDArray[np.float32]:
        """Return the features of a split from the disk, or compute and keep them there."""
        if self._folder is None:
            return of(self.model, split, self.settings, self.job, f"features of {name}")
        path, cost = self._folder / f"{name}.npy", self._folder / f"{name}.json"
        if not distributed.once(path.is_file):
            start = time.monotonic()
            self.job.reused[str(path)] = training_costs.Costs()
            found = of(self.model, split, self.settings, self.job, f"features of {name}")
            if self.job.runtime.is_main:
                spent = training_costs.Costs(time.monotonic() - start, memory.peak_memory())
                storage.write_json(cost, asdict(spent))
                with storage.atomic_file(path) as temporary, temporary.open("wb") as file:
                    np.save(file, found, allow_pickle=False)
                _forget(self._folder)
            distributed.barrier()
        elif str(path) not in self.job.reused:
            self.job.reused[str(path)] = training_costs.Costs(
                **distributed.once(lambda: storage.read_json(cost))
            )
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    @cached_property
    def _folder(self) -> Path | None:
        """The folder of these arrays', these weights', this code's and machine's features.

        None: the job is not a stage's, and nobody knows what they depend on.
        """
        marks, settings = self.job.checkpoints.marks, self.settings
        if marks is None:
            return None
        known = {key: value for key, value in marks.items() if not key.startswith("params finetune.")}
        known |= {"pooling": settings.head.pooling, "batch": str(self.job.at_once(settings))}
        content = json.dumps(known | {"weights": _digest(self.model)}, sort_keys=True)
        return storage.state("features") / hashlib.sha256(content.encode()).hexdigest()[:16]


def of(
    model: Classifier, split: Split, settings: params.Training, job: jobs.Job, said: str
) -> NDArray[np.float32]:
    """Return the features of a split without keeping them; `said` names the work on a progress bar."""
    with headless(model), console.progress(said, len(split), "samples") as advance:
        found = predict(model.eval(), split, job.runtime, job.at_once(settings), advance)
    assert not isinstance(found, Texts), "params refuse heads on models that write texts"
    return found.values if isinstance(found, Ragged) else found


def _digest(model: Classifier) -> str:
    """Return a digest of the backbone's weights and statistics: some are drawn from the seed."""
    found = hashlib.sha256()
    for piece in tensors.encoded(model.backbone.state_dict()):
        found.update(piece)
    return found.hexdigest()


def _forget(newest: Path) -> None:
    """Remove all but the last folders."""
    others = [folder for folder in newest.parent.iterdir() if folder.is_dir() and folder != newest]
    others.sort(key=lambda folder: folder.stat().st_mtime)
    for folder in others[: max(len(others) - KEEP + 1, 0)]:
        shutil.rmtree(folder, ignore_errors=True)
