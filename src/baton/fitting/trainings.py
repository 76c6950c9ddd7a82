"""A training run, shared by `finetune` and `distill`: where batches, model, loss and tracking meet."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rich.markup import escape
from torch import nn

from baton import console, params, storage
from baton.batches import array_splits
from baton.batches.alternating_batches import AlternatingBatches
from baton.batches.sampler import Split
from baton.contracts import predictions
from baton.contracts.predictions import Predicted
from baton.contracts.targets import Targets
from baton.fitting import sequence_validation
from baton.fitting.jobs import Job
from baton.fitting.seed_choice import ARRAYS, PREDICTIONS, TERM, Answered, Figures
from baton.losses.loss import Loss
from baton.models import model_folder, packing
from baton.models.classifier import PROJECTION
from baton.predict import predict
from baton.runtime import memory, sharding
from baton.runtime.resolve import MEASURED
from baton.tasks import task_figures
from baton.train import compiling, loop, strategy
from baton.train.loader import Batches
from baton.train.state import Point, TrainPoint, ValidationPoint


class Companion(compiling.Companion, packing.Reader, Protocol):
    """A computation in the loss, alongside the model, that reads the model's batches: a live teacher."""


class Reading(NamedTuple):
    """A model, and all splits as it reads them: the head alone may read features that are kept on disk."""

    model: nn.Module
    splits: Mapping[str, Split]


class Course(NamedTuple):
    """What a training run reads, and how it is validated, if not by the task's batches and figures."""

    batches: Batches
    validate: Callable[[], Figures]
    samples: int  # of an epoch


class Fitted(NamedTuple):
    """The result of a training run."""

    curve: list[dict[str, object]]  # rows of `CURVE`
    figures: Figures  # of the best validation
    packs: bool  # whether its documents were packed, as they then are for its predictions


def fit(
    name: str,
    model: Any,
    loss_fn: Loss,
    settings: params.Training,
    job: Job,
    companions: Sequence[Companion] = (),
    course: Callable[[bool], Course] | None = None,
) -> Fitted:
    """Train `model`, a classifier or its head alone, in place under the name `name`.

    `settings` are those of one seed; `companions` are other computations in the loss; `course` is called with
    whether documents are packed.
    """
    data, runtime, run, seed = job.data, job.runtime, job.run, settings.seed
    saved = job.checkpoints.training(f"{name}-{seed}")
    prefix, said = (f"seed_{seed}/{name}", f"{name}, seed {seed}") if job.several else (name, name)
    varied = settings.augmentation
    mixes = isinstance(varied, params.TextAugmentation) and varied.mixup > 0
    packs, reason = packing.settled(runtime, model, settings.attention_dropout, companions, mixes)
    if packs or runtime.device.type != "cpu":
        console.say(f"{said}: packing {str(packs).lower()}: {reason}")
    own = course(packs) if course else _usual(model, settings, job, packs)
    batches = own.batches
    settings = long_enough(settings, batches.steps_per_epoch)
    if runtime.gradient_checkpointing:
        model.checkpoint_activations()

    steps = settings.epochs * batches.steps_per_epoch
    with strategy.begun(model, settings, steps):
        choice = compiling.settled(model, batches, loss_fn, runtime, steps, settings, companions)
    if runtime.compile == MEASURED:
        console.say(escape(f"{said}: compile: {str(choice.compile).lower()}: {choice.reason}"))
        run.metrics(_prefixed(prefix, choice.figures()), 0)
    runtime = dataclasses.replace(runtime, compile=choice.compile)

    curve: list[dict[str, object]] = []
    figures = _sizes(model, settings)
    total = settings.epochs * own.samples
    memory.reset_peak()
    points, begun = (
        loop.train(
            model,
            batches,
            loss_fn,
            own.validate,
            settings,
            runtime,
            saved,
            companions,
            task_figures.of(data.task).directions,
        ),
        1000 * time.time(),
    )
    with (
        console.sparing() as show,
        console.progress(f"train {said}", total, "samples") as advance,
        contextlib.closing(points),
    ):
        for point in points:
            shown = _shown(point)
            curve.append(
                {"model": name, "seed": seed, "step": point.step, "epoch": round(point.epoch, 4)} | shown
            )
            figures["steps"] = point.step
            if isinstance(point, TrainPoint):
                advance(point.samples, worked=point.time >= begun)
                shown |= {"samples_per_second": point.samples_per_second}
            else:
                reached = ", ".join(f"{key} {value:.4f}" for key, value in shown.items())
                mark = " (best so far)" if point.best else ""
                show(f"{said}: epoch {point.epoch:.2f}, {reached}{mark}", point.best)
                if point.best:
                    figures |= shown | {"best_step": point.step}
            run.metrics(_prefixed(prefix, shown), point.step, point.time)
    if point.time >= begun:  # otherwise an earlier attempt had finished it
        spent = {"seconds": (point.time - begun) / 1000, "peak_memory_bytes": float(memory.peak_memory())}
        run.metrics(_prefixed(prefix, spent | {"packed": packs}), point.step)
    return Fitted(curve, figures, packs)


def _usual(model: Any, settings: params.Training, job: Job, packs: bool) -> Course:
    """Return the batches of train, and the task's figures on val."""
    val = job.data.splits["val"].packed() if packs else job.data.splits["val"]

    def validate() -> Figures:
        if job.data.task.outputs == "text":
            return sequence_validation.scores(model, val, job.runtime, job.at_once(settings), job.arrays)
        return scores(predict(model, val, job.runtime, job.at_once(settings)), val.targets)

    batches = job.batches(settings, model.smallest_part, packs)
    samples = batches.samples if isinstance(batches, AlternatingBatches) else len(job.data.splits["train"])
    return Course(batches, validate, samples)


def _sizes(model: nn.Module, settings: params.Training) -> Figures:
    """Return the number of parameters, and of those that are trained at some time.

    A projection to the teacher's width is no part of the model that training makes.
    """
    frozen = strategy.untrained(model, strategy.groups(model, settings))
    sizes = {
        name: parameter.numel()
        for name, parameter in model.named_parameters()
        if not name.startswith(f"{PROJECTION}.")
    }
    trained = sum(size for name, size in sizes.items() if name not in frozen)
    return {"parameters": sum(sizes.values()), "trained_parameters": trained}


def long_enough(settings: params.Training, steps_per_epoch: int) -> params.Training:
    """Return the settings with enough epochs for `min_steps`."""
    epochs = max(settings.epochs, -(-settings.min_steps // steps_per_epoch))
    if epochs > settings.epochs:
        console.say(
            f"{epochs} epochs instead of {settings.epochs}: {steps_per_epoch} steps each, "
            f"and min_steps is {settings.min_steps}"
        )
    return settings.model_copy(update={"epochs": epochs})


def scores(logits: Predicted, targets: Targets) -> Figures:
    """Return the validation figures of logits."""
    return task_figures.of(targets.spec).scores(logits, targets.all)


def _shown(point: Point) -> dict[str, float]:
    """Return the figures of a point that a curve records: the same on a rerun."""
    if isinstance(point, ValidationPoint):
        return {f"val_{key}": value for key, value in point.scores.items()}
    terms = {f"{TERM}{name}": term for name, term in point.terms.items()}
    step = {"learning_rate": point.learning_rate, "gradient_norm": point.gradient_norm}
    return {"loss": point.loss} | terms | step


def write(
    name: str,
    model: model_folder.Classifier,
    info: model_folder.ModelInfo,
    source: Path,
    job: Job,
    batch_size: int,
    best: bool,
    packs: bool,
    reading: Reading | None = None,
    kept: Sequence[str] = (),
) -> Answered:
    """Write the model, with the other files of `source`, and its logits to models/ and data/predictions/.

    Both folders are called `name`. All ranks predict, one writes. What the task fits on val, such as
    a temperature, is saved with the model; the logits are as trained. On train only the teacher predicts, for
    `distill`. `packs`: documents are packed, as they were for validation. If the model's seed is not the
    `best` so far, only its answers on test are computed. Return those. `reading` predicts in place of the
    model and its splits. Answers for the splits `kept` are among those returned.
    """
    data, runtime = job.data, job.runtime
    read = {"test"} | ({"val"} if best or task_figures.decides(data.task) else set())
    read |= {"train"} if best and name == "teacher" else set()
    read |= set(kept)
    reads = reading or Reading(model, data.splits)
    wanted = {key: (reads.model, reads.splits[key]) for key in reads.splits if key in read}
    # Features of the rows without labels are not kept on disk.
    wanted |= {key: (model, split) for key, split in data.splits.items() if key in read - set(wanted)}
    splits = {key: (by, split.packed() if packs else split) for key, (by, split) in wanted.items()}
    total = sum(len(split) for _, split in splits.values())
    with console.progress(f"predict {name}", total, "samples") as advance:
        logits = {
            key: predict(by.eval(), split, runtime, batch_size, advance)
            for key, (by, split) in splits.items()
        }
    others = {key: logits[key] for key in kept}
    state = sharding.gather(model) if best else None  # gathered from all ranks
    if not (runtime.is_main and read > {"test"}):
        return Answered(logits["test"], {}, others)
    fitted = task_figures.of(data.task).fitted(logits["val"], data.splits["val"].targets.all)
    if not best:
        return Answered(logits["test"], fitted, others)
    model_folder.save(model, dataclasses.replace(info, fitted=fitted), source, Path("models", name), state)
    with storage.atomic_folder(PREDICTIONS / name) as folder:
        for key in sorted(logits.keys() & {"train", "val", "test"}):
            values = logits[key]
            predictions.write_predictions(
                folder / f"{key}.parquet", array_splits.read_ids(ARRAYS, key), values
            )
    return Answered(logits["test"], fitted, others)


def _prefixed(name: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{name}/{key}": value for key, value in values.items()}
