"""Several tasks on one encoder: the heads, the loss, and the results of those beside the main task.

Input: a job, whose `others` are those tasks; without any, nothing here changes anything.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, cast

from torch import nn

from baton import console, params, storage
from baton.batches import array_splits
from baton.batches.alternating_batches import AlternatingBatches
from baton.contracts import fitted_values, predictions
from baton.contracts.predictions import Predicted
from baton.contracts.task_batch import MAIN
from baton.contracts.task_spec import Numbers
from baton.fitting import jobs, trainings
from baton.fitting.seed_choice import PREDICTIONS, Figures
from baton.losses import loss, several_tasks, task_losses
from baton.losses.loss import Loss
from baton.models.classifier import HeadAlone
from baton.models.model_folder import Classifier
from baton.predict import predict
from baton.tasks import task_figures

if TYPE_CHECKING:
    from baton.models.several_heads import SeveralHeads


class Answers(NamedTuple):
    """What the model says on val and test of one of the other tasks."""

    task: str
    val: Predicted
    test: Predicted


def with_heads(model: Classifier, job: jobs.Job) -> nn.Module:
    """Add the heads of the other tasks, initialised from torch's global seed; without any, return `model`."""
    if not job.others:
        return model
    from baton.models import several_heads  # imports transformers, which other inputs do not need
    from baton.models.text_model import TextClassifier

    assert isinstance(model, TextClassifier), "params refuse other models with several tasks"
    heads = {name: (own.settings.head, own.data.task.width) for name, own in job.others.items()}
    made = several_heads.with_heads(model, heads)
    for name, own in job.others.items():
        jobs.start_from_prior(HeadAlone(made.of(name)), own.data)
    return made


def main_alone(model: nn.Module) -> Classifier:
    """Return the classifier of the main task."""
    return cast("Classifier", getattr(model, "classifier", model))


def loss_of(main: Loss, settings: params.Finetune, job: jobs.Job) -> Loss:
    """Return the loss of the batches of a job; that of the main task alone is `main`.

    Label smoothing and class weights of params are those of every task that has classes or labels.
    """
    if not job.others:
        return main
    tasks = {MAIN: several_tasks.Weighted(main, 1.0)}
    for name, own in job.others.items():
        task, names = task_losses.of(own.data.task), not isinstance(own.data.task, Numbers)
        weights = jobs.class_weights(settings, own.data, job.runtime) if names else None
        of_rows = jobs.row_weights(own.data, job.runtime, own.arrays)
        smoothing = settings.label_smoothing if names else 0.0
        tasks[name] = several_tasks.Weighted(
            loss.supervised(task, smoothing, weights, of_rows), own.settings.weight
        )
    return several_tasks.of(tasks)


def answers(model: nn.Module, settings: params.Finetune, job: jobs.Job, packs: bool) -> list[Answers]:
    """Return what a trained model says on val and test of the other tasks; all ranks predict."""
    return [*_answers(model, settings, job, packs)]


def _answers(model: nn.Module, settings: params.Finetune, job: jobs.Job, packs: bool) -> Iterator[Answers]:
    for name, own in job.others.items():
        from baton.models.several_heads import OneTask

        one = OneTask(cast("SeveralHeads", model), name).eval()
        splits = {key: own.data.splits[key] for key in ("val", "test")}
        with console.progress(f"predict {name}", sum(map(len, splits.values())), "samples") as advance:
            found = {
                key: predict(
                    one, split.packed() if packs else split, job.runtime, job.at_once(settings), advance
                )
                for key, split in splits.items()
            }
        yield Answers(name, **found)


def figures(given: list[Answers], settings: params.Finetune, job: jobs.Job, steps: int) -> Figures:
    """Return `tasks/NAME/val_FIGURE` of the other tasks, and of all the steps that each had, `.../steps`."""
    if not job.others:
        return {}
    batches = job.batches(settings, 1)
    assert isinstance(batches, AlternatingBatches)
    found = {f"tasks/{name}/steps": float(count) for name, count in batches.counts(steps).items()}
    for own in given:
        targets = job.others[own.task].data.splits["val"].targets
        scores = trainings.scores(own.val, targets)
        found |= {f"tasks/{own.task}/val_{key}": value for key, value in scores.items()}
        shown = ", ".join(f"{key} {value:.4f}" for key, value in scores.items())
        console.say(f"task {own.task}, validation: {shown}")
    return found


def write(given: list[Answers], job: jobs.Job) -> None:
    """Write data/predictions/teacher/tasks/NAME: val, test, and the values that were fitted on val."""
    for own in given:
        other = job.others[own.task]
        fitted = task_figures.of(other.data.task).fitted(own.val, other.data.splits["val"].targets.all)
        with storage.atomic_folder(storage.of_task(PREDICTIONS / "teacher", own.task)) as folder:
            for key, values in (("val", own.val), ("test", own.test)):
                ids = array_splits.read_ids(other.arrays, key)
                predictions.write_predictions(folder / f"{key}.parquet", ids, values)
            storage.write_json(folder / predictions.FITTED, {fitted_values.KEY: fitted})
