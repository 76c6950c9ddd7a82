"""How a student is taught: its loss, what the loss compares, and the rows that it reads.

Inputs: the settings of `distill` and its job, the teacher and its answers for train -> `Lesson`.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton import console, params
from baton.batches import array_splits, subset
from baton.contracts import predictions
from baton.contracts.batch import Batch
from baton.contracts.ragged import Ragged
from baton.contracts.transfer_set import TRANSFER
from baton.contracts.written_texts import Texts
from baton.distill import matched_features, matched_states, soft_targets
from baton.distill.matched_states import States
from baton.errors import DataError, ParamsError
from baton.fitting import features, jobs, teaching
from baton.fitting.seed_choice import ARRAYS, PREDICTIONS
from baton.losses import task_losses
from baton.losses.loss import Loss
from baton.models import model_folder, transformers_backbone
from baton.predict import predict
from baton.runtime import resolve, sharding

TEACHER = Path("models/teacher")


@dataclass(frozen=True)
class Lesson:
    """What a student learns by, and from which rows."""

    job: jobs.Job  # with the rows that the student reads
    loss: Loss
    companions: list[soft_targets.Live]  # a live teacher
    scale: torch.Tensor | None = None  # deviations of the teacher's features, if they are compared
    states: States | None = None  # if hidden states are compared

    def prepare(self, student: model_folder.Classifier) -> None:
        """Give a new student what it needs for training alone."""
        if self.scale is not None:
            matched_features.project(student, len(self.scale))

    @contextlib.contextmanager
    def compared(self, student: model_folder.Classifier) -> Iterator[None]:
        """Let the loss see what it compares while the context lasts; then remove what `prepare` added."""
        with contextlib.ExitStack() as contexts:
            if self.scale is not None:
                contexts.enter_context(matched_features.attached(student))
                contexts.callback(matched_features.without_projection, student)
            if self.states:
                contexts.enter_context(self.states.attached(student, self.companions[0].model))
            yield


def lesson(settings: params.Distill, job: jobs.Job, weights: torch.Tensor | None) -> Lesson:
    """Return what the student learns by; `weights` are those of the outputs, (width,).

    Raises:
        DataError: the teacher's answers are those of other rows or of another task.
    """
    soft_targets.check(settings, job.data.task.width)
    rows, teacher = taught_by(settings, job)
    companions = [teacher] if isinstance(teacher, soft_targets.Live) else []
    scale = None
    if settings.features:
        teacher, scale = with_features(settings, rows.job, teacher)
    states = States(settings.states) if settings.states else None
    factors = soft_targets.Factors(weights, rows.weights, rows.labelled)
    task = task_losses.of(job.data.task)
    loss = soft_targets.distillation(task, teacher, settings, factors, scale, states)
    return Lesson(rows.job, loss, companions, scale, states)


def one_document_a_row(settings: params.Distill, job: jobs.Job) -> jobs.Job:
    """Return the job without packing and compilation, if hidden states are compared.

    Raises:
        ParamsError: params ask for both.
    """
    if not settings.states:
        return job
    for key in ("packing", "compile"):
        if getattr(job.runtime, key) is True:
            raise ParamsError(
                f"distill.states is not possible with runtime.{key}",
                got="true",
                expected="auto or false",
                hint=f"set runtime.{key} to auto, or distill.states to null",
            )
    width = transformers_backbone.read_config(TEACHER).hidden_size  # each family has its own name for it
    matched_states.check(settings.states, job.data.input, width)
    return replace(job, runtime=replace(job.runtime, packing=False, compile=False))


def taught_by(settings: params.Distill, job: jobs.Job) -> tuple[teaching.Rows, soft_targets.Teacher]:
    """Return the rows that the student reads, and the source of its soft targets."""
    data, machine = job.data, job.runtime
    train = teaching.Rows(job, None, jobs.row_weights(data, machine))
    if settings.teacher == "live":
        rows = teaching.rows_alone(job) if TRANSFER in data.splits else train
        return rows, soft_targets.Live(loaded_teacher(machine))
    logits = cached_logits(data)
    if not teaching.needed(settings, data):
        return train, soft_targets.cached(logits.to(machine.device))

    def rest(part: subset.Part) -> NDArray[np.float32]:
        with console.progress("predict rows without labels", len(part), "samples") as advance:
            found = predict(loaded_teacher(machine), part, machine, job.at_once(settings), advance)
        assert isinstance(found, np.ndarray), "tasks with rows without labels have one output per row"
        return found

    rows, soft = teaching.lesson(settings, job, logits.numpy(), rest)
    return rows, soft_targets.cached(soft)


def with_features(
    settings: params.Distill, job: jobs.Job, teacher: soft_targets.Teacher
) -> tuple[soft_targets.Teacher, torch.Tensor]:
    """Return a source of soft targets followed by what the teacher's head reads, and the latter's deviations.

    Those are over the rows that the student reads, (features,).
    """
    whole = jobs.open_data(None, ARRAYS).splits[job.whole]  # by the teacher's tokenizer
    said = f"teacher's features of {job.whole}"
    found = features.of(loaded_teacher(job.runtime), whole, settings, job, said)
    read = torch.from_numpy(found).to(job.runtime.device)
    train = job.data.splits["train"]
    chosen = torch.as_tensor(train.chosen) if isinstance(train, subset.Part) else slice(None)
    scale = matched_features.deviations(read[chosen])
    if isinstance(teacher, soft_targets.Live):
        matched_features.attach(teacher.model)
        return teacher, scale

    def both(batch: Batch, inputs: tuple[Any, ...]) -> torch.Tensor:
        return torch.cat([teacher(batch, inputs), read[batch.units]], dim=1)

    return both, scale


def loaded_teacher(machine: resolve.Runtime) -> model_folder.Classifier:
    """Return the teacher, in eval mode, on the runtime's device."""
    parent, _ = model_folder.load(TEACHER, model_folder.attention(TEACHER, machine))
    made: model_folder.Classifier = sharding.place(parent, machine)
    return made


def cached_logits(data: jobs.Data) -> torch.Tensor:
    """Return the teacher's logits on train, (rows, width) or (units, width), in the arrays' order.

    Raises:
        DataError: the cache was made for other rows or another task.
    """
    units = data.splits["train"].units
    of_units = "" if units is None else f" for each of {len(units.places)} units"
    logits = cached(f"{data.task.width} outputs{of_units}")
    assert not isinstance(logits, Texts), "`cached` refuses others"
    return torch.from_numpy(logits.values if isinstance(logits, Ragged) else logits)


def cached(kind: str) -> predictions.Predicted:
    """Return what the teacher predicted for train; `kind` is what it must be, in words."""
    path = PREDICTIONS / "teacher" / "train.parquet"
    ids, found = predictions.read_predictions(path)
    expected = array_splits.read_ids(ARRAYS, "train")
    got = "texts" if isinstance(found, Texts) else _outputs(found)
    if ids != expected or got != kind:
        got, wanted = f"{len(ids)} rows, {got}", f"the {len(expected)} rows of train in order, {kind}"
        raise DataError(
            f"{path} is a cache for other data",
            got=got,
            expected=wanted,
            hint="run `dvc repro --force finetune`",
        )
    return found


def _outputs(logits: NDArray[np.float32] | Ragged) -> str:
    if isinstance(logits, Ragged):
        return f"{logits.values.shape[1]} outputs for each of {len(logits.values)} units"
    return f"{logits.shape[1]} outputs"
