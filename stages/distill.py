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

from baton import console, params, storage
from baton.arrays import sequence_targets
from baton.batches import array_splits
from baton.batches.sequence_batches import SequenceSplit
from baton.contracts.task_spec import Sequence
from baton.contracts.written_texts import Texts
from baton.distill import student, taught_texts
from baton.fitting import costs, jobs, lessons, seed_choice, teaching, trainings
from baton.losses import loss, task_losses
from baton.models import model_folder
from baton.runtime import resolve, sharding
from baton.tasks import task_figures

BASE = Path("data/base") / storage.STUDENT


def main() -> None:
    """Train student and control and write their logits of val and test."""
    loaded = params.load("distill", "runtime")
    settings = loaded.distill
    source, arrays = sources(settings.student)
    with jobs.started("distill", settings, loaded.runtime, source, arrays) as begun:
        job = lessons.one_document_a_row(settings, begun)
        data, machine, run = job.data, job.runtime, job.run
        weights = jobs.class_weights(settings, data, machine)
        of_rows = jobs.row_weights(data, machine)
        steps = 0  # of the student
        task = task_losses.of(data.task)
        labels_only = loss.supervised(task, settings.label_smoothing, weights, of_rows)
        if machine.is_main:
            teaching.write_nothing()
        written = by_texts(settings, data)
        spent = costs.Costs(job.checkpoints.begun(settings.seeds), job.reused)
        with spent.counted():
            taught = (
                lessons.Lesson(job, labels_only, []) if written else lessons.lesson(settings, job, weights)
            )
        alone = lessons.Lesson(job, labels_only, taught.companions)
        trained = seed_choice.Trained("student", settings.metric, task_figures.of(data.task))
        for seed, (name, own) in itertools.product(settings.seeds, (("student", taught), ("control", alone))):
            resolve.seed_everything(seed)
            made_student, info = new(settings, job)
            own.prepare(made_student)
            model = sharding.place(made_student, machine)
            one = settings.of(seed)
            learnt = from_texts(job, one) if written and name == "student" else own.job
            if name == "control" and taught.job.whole != job.whole:  # as many steps as the student
                one = one.model_copy(update={"min_steps": max(one.min_steps, steps)})
            counted = spent.counted() if name == "student" else contextlib.nullcontext()
            with own.compared(model), counted:
                made = trainings.fit(name, model, own.loss, one, learnt, own.companions)
            steps = int(made.figures["steps"])
            best = trained.add(name, seed, made.curve, made.figures)
            trained.answered(
                name,
                seed,
                trainings.write(name, model, info, source, job, job.at_once(settings), best, made.packs),
            )
        if machine.is_main:
            trained.write("distill")
            run.metrics(spent.write(trained.final()["student"]), 0)
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
    return lessons.TEACHER, seed_choice.ARRAYS


def new(settings: params.Distill, job: jobs.Job) -> tuple[model_folder.Classifier, model_folder.ModelInfo]:
    """Return a student before training, and its description."""
    attention, reads = job.runtime.attention, job.data.input
    if isinstance(settings.student, params.BaseStudent):
        info = model_folder.read_info(lessons.TEACHER)  # the teacher may need another kind of attention
        made = student.on_base(BASE, info, reads, settings.student, settings, attention)
        jobs.start_from_prior(made, job.data)
        return made, replace(info, input=reads)
    parent, info = model_folder.load(lessons.TEACHER, attention)
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
    encoded = sequence_targets.Encoder(spec, lessons.TEACHER).encode(written.values)
    kept = taught_texts.references(len(own), settings.alpha, settings.seed)
    train = own.with_targets(taught_texts.mixed(own.targets, encoded.targets, kept))
    console.say(
        f"student, seed {settings.seed}: {len(own) - int(kept.sum()):,} targets of train are its teacher's "
        f"texts, {int(kept.sum()):,} are references; they have {int(train.targets.counts.sum()):,} tokens, "
        f"the control's {int(own.targets.counts.sum()):,}"
    )
    return replace(job, data=replace(job.data, splits={**job.data.splits, "train": train}))


def cached_texts() -> Texts:
    """Return the teacher's texts for train, in the arrays' order.

    Raises:
        DataError: the cache was made for other rows or another task.
    """
    texts = lessons.cached("texts")
    assert isinstance(texts, Texts), "`cached` refuses others"
    return texts


if __name__ == "__main__":
    console.run_stage(main)
