"""Rehearse one stage for `baton estimate`: a few of its steps, timed, and outputs of the right shape.

Not a stage of dvc.yaml, but run as one, `sh stages/run estimate STAGE FILE`, in a scratch folder with links
to the project's data: there it finds the same environment, and whatever it writes is thrown away. The result
is written to FILE as JSON.
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from baton import console, params, storage
from baton.batches import array_splits
from baton.batches.sampler import Split
from baton.contracts import predictions, row_attributes, transfer_set
from baton.estimate import limits, parts, speed_rounds, stand_ins, timing
from baton.estimate.timing import Timed
from baton.fitting import jobs, lessons, seed_choice, several_tasks, strategies, teaching, trainings
from baton.losses import loss, task_losses
from baton.models import model_folder
from baton.runtime import memory, resolve, sharding
from baton.tasks import task_figures
from stages import distill as distilling
from stages import finetune as finetuning


def main() -> None:
    """Rehearse the stage that the command line names, and write what was found."""
    stage, target = sys.argv[1:]
    rehearse = {"finetune": finetune, "distill": distill, "evaluate": evaluate}[stage]
    found = rehearse() | {"device": memory.device()}
    Path(target).write_text(json.dumps(found), encoding="utf-8")


def finetune() -> dict[str, Any]:
    """Time the teacher's training."""
    loaded = params.load("finetune", "runtime", "tasks")
    if reason := limits.of_machine(loaded.runtime):
        return {"blocked": reason}
    with jobs.started(
        "finetune", loaded.finetune, loaded.runtime, finetuning.BASE, tasks=loaded.tasks
    ) as job:
        if reason := limits.of_task(job.data.task):
            return {"blocked": reason}
        train = job.data.splits["train"]
        settings = limits.settled(loaded.finetune, row_attributes.units(seed_choice.ARRAYS, len(train)))
        start, first = age(), settings.of(settings.seeds[0])
        whole = transfer_set.TRANSFER if transfer_set.TRANSFER in job.data.splits else "train"
        kept = (whole, "val") if settings.keep == "all" else ()
        begun = time.perf_counter()
        write_teacher(first, settings, job, kept)
        writing = time.perf_counter() - begun
        if reason := limits.of_finetune(settings, loaded.tasks):
            return {"reason": reason}
        weights = jobs.class_weights(settings, job.data, job.runtime)
        of_rows = jobs.row_weights(job.data, job.runtime)
        loss_fn = loss.supervised(task_losses.of(job.data.task), settings.label_smoothing, weights, of_rows)

        def fit(short: Any, own: jobs.Job) -> seed_choice.Figures:
            return strategies.train(partial(finetuning.new, first, own), loss_fn, short, own).figures

        timed = {"teacher": timing.time_training(fit, first, job)}
        best = {"train", "val", "test", *kept}
        others = {"test", *kept} | ({"val"} if task_figures.decides(job.data.task) else set())
        predicted = parts.answered(tokens(job, best), tokens(job, others), len(settings.seeds))
        return parts.stage(timed, settings, {"teacher": predicted}, start, writing, job)


def write_teacher(
    first: params.Finetune, settings: params.Finetune, job: jobs.Job, kept: tuple[str, ...]
) -> None:
    """Write a teacher that was not trained, and answers in place of its own."""
    model = several_tasks.main_alone(finetuning.new(first, job))
    info = model_folder.ModelInfo(job.data.task, settings.head, job.data.input)
    trained = seed_choice.Trained("teacher", settings.metric, task_figures.of(job.data.task))
    stand_ins.write("teacher", model, info, finetuning.tokenizer(), job, settings.seeds, trained, kept)
    trained.write("finetune")
    if settings.strategy.kind == "auto":  # what cross-validation left out
        answers = stand_ins.answers(job.data.splits["train"], job)
        place = seed_choice.PREDICTIONS / "teacher" / f"{predictions.LEFT_OUT}.parquet"
        predictions.write_predictions(place, job.names(), answers)


def distill() -> dict[str, Any]:
    """Time the training of student and control."""
    loaded = params.load("distill", "runtime")
    settings = loaded.distill
    if reason := limits.of_machine(loaded.runtime):
        return {"blocked": reason}
    source, arrays = distilling.sources(settings.student)
    with jobs.started("distill", settings, loaded.runtime, source, arrays) as begun:
        if reason := limits.of_task(begun.data.task):
            return {"blocked": reason}
        job = lessons.one_document_a_row(settings, begun)
        start = age()
        writing = write_students(settings, job, source)
        if reason := limits.of_distill(settings, job.data):
            return {"reason": reason}
        weights, since = jobs.class_weights(settings, job.data, job.runtime), time.perf_counter()
        taught = lessons.lesson(settings, job, weights)
        start += time.perf_counter() - since
        labels_only = loss.supervised(
            task_losses.of(job.data.task),
            settings.label_smoothing,
            weights,
            jobs.row_weights(job.data, job.runtime),
        )
        learnt = {"student": taught, "control": lessons.Lesson(job, labels_only, taught.companions)}
        timed = {name: time_student(name, own, settings) for name, own in learnt.items()}
        others = {"test"} | ({"val"} if task_figures.decides(job.data.task) else set())
        seeds = len(settings.seeds)
        predicted = parts.answered(tokens(job, {"val", "test"}), tokens(job, others), seeds)
        return parts.stage(timed, settings, dict.fromkeys(timed, predicted), start, writing, job)


def time_student(name: str, lesson: lessons.Lesson, settings: params.Distill) -> Timed:
    """Time the training of student or control, as `distill` trains them."""
    first = settings.of(settings.seeds[0])

    def fit(short: params.Training, own: jobs.Job) -> seed_choice.Figures:
        resolve.seed_everything(first.seed)
        made, _ = distilling.new(settings, own)
        lesson.prepare(made)
        model = sharding.place(made, own.runtime)
        with lesson.compared(model):
            return trainings.fit(name, model, lesson.loss, short, own, lesson.companions).figures

    return timing.time_training(fit, first, lesson.job)


def write_students(settings: params.Distill, job: jobs.Job, source: Path) -> float:
    """Write student and control without training, and answers in place of theirs; return the seconds."""
    since = time.perf_counter()
    trained = seed_choice.Trained("student", settings.metric, task_figures.of(job.data.task))
    for name in ("student", "control"):
        model, info = distilling.new(settings, job)
        stand_ins.write(name, model, info, source, job, settings.seeds, trained)
    teaching.write_nothing()
    trained.write("distill")
    return time.perf_counter() - since


def evaluate() -> dict[str, Any]:
    """Run all of `evaluate` on what is there, with few rounds of its measurement of speed."""
    from stages import evaluate as evaluating

    if reason := limits.of_evaluate(params.read()):
        return {"reason": reason}
    wanted = params.Speed.model_validate_json(os.environ["BATON_SPEED"])
    evaluating.main()
    whole, timings = age(), storage.read_json(Path("reports/timings.json"))
    rounds = measured = 0.0
    if timings["models"]:
        rows = len(array_splits.read_ids(seed_choice.ARRAYS, "test"))
        rounds, measured = speed_rounds.seconds(timings, wanted, rows), timings["seconds"]
    return {
        "seconds": whole - measured + rounds,
        "parts": {"speed": rounds, "all else": whole - measured},
        "memory_bytes": memory.peak_memory(),
    }


def tokens(job: jobs.Job, names: set[str]) -> int:
    """Return the tokens of these splits; for images, patches."""
    splits: list[Split] = [job.data.splits[name] for name in names]
    return sum(int(split.lengths.sum()) for split in splits)


def age() -> float:
    """Return the seconds since this process began."""
    return time.time() - psutil.Process().create_time()


if __name__ == "__main__":
    console.run(main)
