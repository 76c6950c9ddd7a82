"""Distil the teacher into a student, and train the control: the same student, budget and order, no teacher.

Both start from the same weights. Each seed is a pair of training runs. Student and control are those of the
seed whose student is the best on val.

Read data/arrays, models/teacher and the cached logits data/predictions/teacher/train.parquet (a student with
its own base model: data/base/student, data/arrays/student); write
models/{student,control}, data/predictions/{student,control} (val, test) and seeds/{student,control} (all
seeds, on test), metrics/distill.json and curves/distill.csv. DVC runs it as `sh stages/run distill`; after an
interruption it resumes where it stopped.
"""

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton import console, params, storage
from baton.arrays import sequence_targets
from baton.batches import array_splits, subset
from baton.batches.sequence_batches import SequenceSplit
from baton.contracts import predictions
from baton.contracts.batch import Batch
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Sequence
from baton.contracts.transfer_set import TRANSFER
from baton.contracts.written_texts import Texts
from baton.distill import matched_features, soft_targets, student, taught_texts
from baton.errors import DataError
from baton.fitting import features as head_features
from baton.fitting import jobs, seed_choice, teaching, trainings
from baton.losses import loss, task_losses
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve, sharding
from baton.tasks import task_figures

TEACHER, BASE = Path("models/teacher"), Path("data/base") / storage.STUDENT


def main() -> None:
    """Train student and control and write their logits of val and test."""
    loaded = params.load("distill", "runtime")
    settings = loaded.distill
    source, arrays = sources(settings.student)
    with jobs.started("distill", settings, loaded.runtime, source, arrays) as job:
        data, machine, run = job.data, job.runtime, job.run
        soft_targets.check(settings, data.task.width)
        weights = jobs.class_weights(settings, data, machine)
        of_rows = jobs.row_weights(data, machine)
        steps = 0  # of the student
        task = task_losses.of(data.task)
        labels_only = taught = loss.supervised(task, settings.label_smoothing, weights, of_rows)
        companions: list[soft_targets.Live] = []
        students_job, scale = job, None
        if machine.is_main:
            teaching.write_nothing()
        if not (written := by_texts(settings, data)):
            rows, teacher = taught_by(settings, job)
            students_job = rows.job
            companions = [teacher] if isinstance(teacher, soft_targets.Live) else []
            if settings.features:
                teacher, scale = with_features(settings, students_job, teacher)
            factors = soft_targets.Factors(weights, rows.weights, rows.labelled)
            taught = soft_targets.distillation(task, teacher, settings, factors, scale)
        trained = seed_choice.Trained("student", settings.metric, task_figures.of(data.task))
        for seed, (name, loss_fn) in itertools.product(
            settings.seeds, (("student", taught), ("control", labels_only))
        ):
            resolve.seed_everything(seed)
            made_student, info = new(settings, job)
            matched: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
            if scale is not None and name == "student":
                matched_features.project(made_student, len(scale))
                matched = matched_features.attached(made_student)
            model = sharding.place(made_student, machine)
            own = settings.of(seed)
            if name == "student":
                learnt = from_texts(job, own) if written else students_job
            else:
                learnt = job
                if students_job.whole != job.whole:  # as many steps as the student, which reads more rows
                    own = own.model_copy(update={"min_steps": max(own.min_steps, steps)})
            with matched:
                made = trainings.fit(name, model, loss_fn, own, learnt, companions)
            matched_features.without_projection(model)
            steps = int(made.figures["steps"])
            best = trained.add(name, seed, made.curve, made.figures)
            trained.answered(
                name,
                seed,
                trainings.write(name, model, info, source, job, job.at_once(settings), best, made.packs),
            )
        if machine.is_main:
            trained.write("distill")
            run.model(
                "student",
                Path("models/student"),
                array_splits.examples(data.splits["val"], source, data.input),
            )
            run.final(
                {
                    f"{name}/{key}": value
                    for name, values in trained.final().items()
                    for key, value in values.items()
                }
            )


def sources(wanted: params.Student) -> tuple[Path, Path]:
    """Return the folder of the model from which the student is made, and the arrays for its tokenizer."""
    if isinstance(wanted, params.BaseStudent):
        return BASE, seed_choice.ARRAYS / storage.STUDENT
    return TEACHER, seed_choice.ARRAYS


def new(settings: params.Distill, job: jobs.Job) -> tuple[model_folder.Classifier, model_folder.ModelInfo]:
    """Return a student before training, and its description."""
    attention, reads = job.runtime.attention, job.data.input
    if isinstance(settings.student, params.BaseStudent):
        info = model_folder.read_info(TEACHER)  # the teacher may need another kind of attention
        made = student.on_base(BASE, info, reads, settings.student, settings, attention)
        jobs.start_from_prior(made, job.data)
        return made, replace(info, input=reads)
    parent, info = model_folder.load(TEACHER, attention)
    made = student.make(parent, info, settings.student, settings, attention)
    if student.has_new_head(made, parent, settings.student):
        jobs.start_from_prior(made, job.data)
    return made, info


def by_texts(settings: params.Distill, data: jobs.Data) -> bool:
    """Return whether the student learns the texts that its teacher wrote, see `distill.taught_texts`."""
    return data.task.outputs == "text" and settings.teacher == "cached"


def from_texts(job: jobs.Job, settings: params.Distill) -> jobs.Job:
    """Return the job of one seed with the teacher's texts as targets of train, but for a share `alpha`."""
    written, own = cached_texts(), job.data.splits["train"]
    spec = own.targets.spec
    assert isinstance(own, SequenceSplit)
    assert isinstance(spec, Sequence)
    encoded = sequence_targets.Encoder(spec, TEACHER).encode(written.values)
    kept = taught_texts.references(len(own), settings.alpha, settings.seed)
    train = own.with_targets(taught_texts.mixed(own.targets, encoded.targets, kept))
    console.say(
        f"student, seed {settings.seed}: {len(own) - int(kept.sum()):,} targets of train are its teacher's "
        f"texts, {int(kept.sum()):,} are references; they have {int(train.targets.counts.sum()):,} tokens, "
        f"the control's {int(own.targets.counts.sum()):,}"
    )
    return replace(job, data=replace(job.data, splits={**job.data.splits, "train": train}))


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
    whole = jobs.open_data(None, seed_choice.ARRAYS).splits[job.whole]  # by the teacher's tokenizer
    said = f"teacher's features of {job.whole}"
    found = head_features.of(loaded_teacher(job.runtime), whole, settings, job, said)
    read = torch.from_numpy(found).to(job.runtime.device)
    scale = matched_features.deviations(read)
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


def cached_texts() -> Texts:
    """Return the teacher's texts for train, in the arrays' order.

    Raises:
        DataError: the cache was made for other rows or another task.
    """
    texts = cached("texts")
    assert isinstance(texts, Texts), "`cached` refuses others"
    return texts


def cached(kind: str) -> predictions.Predicted:
    """Return what the teacher predicted for train; `kind` is what it must be, in words."""
    path = seed_choice.PREDICTIONS / "teacher" / "train.parquet"
    ids, found = predictions.read_predictions(path)
    expected = array_splits.read_ids(seed_choice.ARRAYS, "train")
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


if __name__ == "__main__":
    console.run_stage(main)
