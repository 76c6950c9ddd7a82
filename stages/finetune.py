"""Fine-tune the teacher.

Read data/arrays and data/base; write models/teacher, its logits on all splits (data/predictions/teacher),
metrics/finetune.json and curves/finetune.csv. Each seed is a training run; the teacher is that of the best
seed on val, and data/predictions/seeds/teacher holds the test logits of all seeds. With few rows it may be a
linear probe (`finetune.strategy`). If classes are held out, its backbone is tested on few-shot episodes of
them. Further `tasks` share its encoder: their logits are in data/predictions/teacher/tasks/NAME. DVC runs it
as `sh stages/run finetune`; after an interruption it resumes where it stopped.
"""

from functools import partial
from pathlib import Path

from baton import console, params
from baton.arrays import tokenizer_training
from baton.batches import array_splits
from baton.contracts import predictions, transfer_set
from baton.contracts.task_spec import Sequence
from baton.fitting import costs, jobs, novel_figures, seed_choice, several_tasks, small_data, trainings
from baton.losses import loss, task_losses
from baton.models import model_folder
from baton.runtime import resolve, sharding
from baton.tasks import task_figures

BASE, TEACHER = Path("data/base"), Path("models/teacher")


def main() -> None:
    """Train on train, choose weights and seed on val, write logits of all splits."""
    loaded = params.load("finetune", "runtime", "tasks")
    settings = loaded.finetune
    with jobs.started("finetune", settings, loaded.runtime, BASE, tasks=loaded.tasks) as job:
        data, machine, run = job.data, job.runtime, job.run
        weights = jobs.class_weights(settings, data, machine)
        loss_fn = loss.supervised(
            task_losses.of(data.task), settings.label_smoothing, weights, jobs.row_weights(data, machine)
        )
        loss_fn = several_tasks.loss_of(loss_fn, settings, job)
        info, trained = (
            model_folder.ModelInfo(data.task, settings.head, data.input),
            seed_choice.Trained("teacher", settings.metric, task_figures.of(data.task)),
        )
        spent = costs.Costs(job.checkpoints.begun(settings.seeds), job.reused)
        whole = transfer_set.TRANSFER if transfer_set.TRANSFER in data.splits else "train"
        kept = (whole, "val") if settings.keep == "all" else ()
        for seed in settings.seeds:
            own = settings.of(seed)
            with spent.counted():
                made = small_data.train(partial(new, own, job), loss_fn, own, job)
            others = several_tasks.answers(made.model, own, job, made.packs)
            figures = made.figures | novel_figures.figures(made.model, own, job)
            figures |= several_tasks.figures(others, own, job, int(made.figures["steps"]))
            best = trained.add("teacher", seed, made.curve, figures)
            trained.answered(
                "teacher",
                seed,
                trainings.write(
                    "teacher",
                    several_tasks.main_alone(made.model),
                    info,
                    tokenizer(),
                    job,
                    job.at_once(settings),
                    best,
                    made.packs,
                    made.reading,
                    kept,
                ),
            )
            if machine.is_main and best:
                several_tasks.write(others, job)
            if machine.is_main and best and made.left_out is not None:
                ids = array_splits.read_ids(seed_choice.ARRAYS, "train")
                predictions.write_predictions(
                    seed_choice.PREDICTIONS / "teacher" / f"{predictions.LEFT_OUT}.parquet",
                    ids,
                    made.left_out,
                )
        if machine.is_main:
            trained.write("finetune")
            run.metrics(spent.write(trained.final()["teacher"]), 0)
            run.model("teacher", TEACHER, array_splits.examples(data.splits["val"], TEACHER, data.input))
            run.final({f"teacher/{key}": value for key, value in trained.final()["teacher"].items()})


def new(settings: params.Finetune, job: jobs.Job) -> model_folder.Classifier:
    """Return a classifier on the base model; its head, and those of other tasks, are drawn from the seed."""
    resolve.seed_everything(settings.seed)
    data, attention = job.data, job.runtime.attention
    made = (
        model_folder.create_sequence(BASE, tokenizer(), data.task, settings, attention, data.input)
        if isinstance(data.task, Sequence)
        else model_folder.create(BASE, settings.head, data.task.width, settings, attention, data.input)
    )
    jobs.start_from_prior(made, data)
    model: model_folder.Classifier = sharding.place(several_tasks.with_heads(made, job), job.runtime)
    return model


def tokenizer() -> Path:
    """Return the folder of the base model's tokenizer, or of the arrays if it was trained for them."""
    return tokenizer_training.folder(BASE, seed_choice.ARRAYS)


if __name__ == "__main__":
    console.run_stage(main)
