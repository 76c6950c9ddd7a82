"""Our side of `train_speed` and the shared parts: the training data, the timed steps, and the clock."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from baton import params
from baton.arrays import text_arrays
from baton.batches import array_splits
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.contracts.batch import Batch
from baton.errors import DataError
from baton.losses import class_losses
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.tasks import metrics
from baton.train import compiling, loop
from benchmarks import _sides

WARM_UP = 4  # steps

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Work:
    """The inputs of all sides."""

    project: Path
    settings: params.Finetune
    runtime: params.Runtime
    # Timed steps, chosen from the first epoch; None: the whole training run, and validation at its end.
    steps: int | None

    def split(self, split: str) -> TextSplit:
        """Return one split."""
        opened = text_arrays.open_arrays(self.project / "data/arrays", split, self.meta().task)
        if opened.documents is not None:
            hint = "run `dvc repro tokenize` with tokenize.truncation {kind: head}"
            raise DataError(
                "the other sides read one window per document", got="arrays of several windows", hint=hint
            )
        return TextSplit(opened, self.meta().input.pad)

    def meta(self) -> array_splits.Meta:
        """Return the description of the arrays."""
        return array_splits.read_meta(self.project / "data/arrays")

    def machine(self) -> resolve.Runtime:
        """Return our runtime; all sides use its number of threads."""
        return resolve.resolve(self.runtime)


@dataclass(frozen=True)
class Measured:
    """One run of one side."""

    rate: float  # samples per second
    padding: float  # as a share of the computed tokens
    memory: int  # bytes, peak so far
    accuracy: float = 0.0  # on validation, after the last step
    best: float = 0.0  # on validation, with the weights that are kept


def ours(work: Work) -> Measured:
    """Run Baton's loop as `finetune` calls it."""
    settings, meta, machine = work.settings, work.meta(), work.machine()
    resolve.seed_everything(settings.seed)
    base, classes = work.project / "data/base", meta.task.width
    model = model_folder.create(base, settings.head, classes, settings, machine.attention, meta.input).to(
        machine.device
    )
    train, val = work.split("train"), work.split("val")
    all_batches = TrainingBatches(train, settings.batch_size, settings.accumulation, settings.seed)
    plan = [all_batches.rows(step) for step in range(all_batches.steps_per_epoch)]
    steps = chosen(plan, train.lengths, work.steps)
    batches = Chosen(all_batches, steps) if work.steps else all_batches
    widths = [
        -(-int(train.lengths[plan[step]].max()) // text_arrays.WIDTH_MULTIPLE) * text_arrays.WIDTH_MULTIPLE
        for step in steps
    ]
    clock = Clock(
        sum(len(plan[step]) for step in steps[WARM_UP:]) if work.steps else settings.epochs * len(train)
    )
    scores: list[dict[str, float]] = []

    def validate() -> dict[str, float]:
        clock.stop()
        if work.steps:
            return {"loss": 0.0, "accuracy": 0.0, "macro_f1": 0.0}
        found = metrics.scores(predict(model, val, machine, 2 * settings.batch_size), val.targets.all)
        scores.append(
            {"loss": found["log_loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}
        )
        clock.go()
        return scores[-1]

    if work.steps:
        settings = settings.model_copy(
            update={"epochs": 1, "evaluations_per_epoch": 1, "early_stopping": None, "log_every": WARM_UP}
        )
    else:
        clock.go()
    loss_fn, count = (
        class_losses.cross_entropy(settings.label_smoothing, None),
        settings.epochs * batches.steps_per_epoch,
    )
    machine = replace(
        machine, compile=compiling.settled(model, batches, loss_fn, machine, count, settings).compile
    )
    for point in loop.train(model, batches, loss_fn, validate, settings, machine):
        if work.steps and isinstance(point, loop.TrainPoint) and point.step == WARM_UP:
            clock.go()
    accuracies = [found["accuracy"] for found in scores] or [0.0]
    padding = share_of_padding(train.lengths, [plan[step] for step in steps], widths)
    return Measured(clock.rate(), padding, _sides.peak_memory(), accuracies[-1], max(accuracies))


# ---- which steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """Some steps of `batches`, presented as an epoch."""

    batches: TrainingBatches
    steps: list[int]

    @property
    def steps_per_epoch(self) -> int:
        """Return their number."""
        return len(self.steps)

    def size(self, step: int) -> int:
        """Return the number of samples in the batch of a step."""
        return self.batches.size(self.steps[step])

    def names(self, step: int) -> list[str]:
        """Return their ids."""
        return self.batches.names(self.steps[step])

    def micro_batches(self, step: int) -> list[tuple[Batch, float]]:
        """Return their parts."""
        return self.batches.micro_batches(self.steps[step])


def chosen(plan: Sequence[Rows], lengths: Rows, steps: int | None) -> list[int]:
    """Choose `WARM_UP` and then `steps` representative steps of an epoch's plan.

    The steps are spread evenly over its batches ordered by width.

    Batches of similar length differ tenfold in cost, so a few random ones would not represent the epoch. A
    batch that is not full is left out.
    """
    if not steps:
        return list(range(len(plan)))
    full = [index for index, rows in enumerate(plan) if len(rows) == len(plan[0])]
    by_width = sorted(full, key=lambda index: int(lengths[plan[index]].max()))

    def spread(count: int) -> list[int]:
        places = {int((place + 0.5) * len(by_width) / count) for place in range(count)}
        return sorted(by_width[place] for place in places)

    return spread(min(WARM_UP, len(full))) + spread(min(steps, len(full)))


def share_of_padding(lengths: Rows, plan: Sequence[Rows], widths: Sequence[int]) -> float:
    """Return the share of padding in the computed tokens."""
    computed = sum(len(rows) * width for rows, width in zip(plan, widths, strict=True))
    return 1 - sum(int(lengths[rows].sum()) for rows in plan) / computed


class Clock:
    """The total seconds between `go` and `stop`."""

    def __init__(self, samples: int) -> None:
        self.samples, self.seconds, self.since = samples, 0.0, 0.0

    def go(self) -> None:
        """Start the clock."""
        self.since = now()

    def stop(self) -> None:
        """Stop the clock."""
        self.seconds += now() - self.since

    def rate(self) -> float:
        """Return samples per second."""
        return self.samples / self.seconds


def now() -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
