"""Shared by `finetune` and `distill`: the place where arrays, model, loss and tracking meet."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from rich.markup import escape

from baton import console, params, storage, tracking
from baton.batches import array_splits, subset
from baton.batches.sampler import Split, TrainingBatches
from baton.contracts import predictions, row_attributes
from baton.contracts.input_spec import AudioInput, ImageInput, ImageTextInput, InputSpec, TextInput
from baton.contracts.predictions import Predicted
from baton.contracts.targets import Targets
from baton.contracts.task_spec import TaskSpec
from baton.fitting import sequence_validation
from baton.fitting.seed_choice import ARRAYS, PREDICTIONS, Answered, Figures
from baton.losses import task_losses
from baton.losses.loss import Loss
from baton.models import model_folder, packing
from baton.predict import predict
from baton.runtime import distributed, memory, sharding
from baton.runtime.resolve import MEASURED, Runtime
from baton.tasks import task_figures
from baton.tracking import Run
from baton.train import compiling, loop, resume
from baton.train.state import Point, TrainPoint, ValidationPoint


@dataclass(frozen=True)
class Data:
    """The arrays of all splits and their metadata."""

    splits: dict[str, Split]
    task: TaskSpec
    input: InputSpec


@dataclass(frozen=True)
class Job:
    """The inputs common to all training runs of a stage."""

    data: Data
    runtime: Runtime
    run: Run
    checkpoints: resume.StageCheckpoints
    several: bool = False  # seeds
    arrays: Path = ARRAYS  # the folder of `data`

    def batches(self, settings: params.Training, smallest: int, packs: bool = False) -> TrainingBatches:
        """Return this rank's batches of train, for a model that needs at least `smallest` samples per batch.

        With `packs`, documents are packed without padding.
        """
        split, sizes = self.data.splits["train"], (settings.batch_size, settings.accumulation, settings.seed)
        ranks = self.runtime.rank, self.runtime.processes

        def ids() -> list[str]:
            read = array_splits.read_ids(self.arrays, "train")
            return split.names(read) if isinstance(split, subset.Part) else read

        if self.runtime.compile and self.runtime.fixed_shapes and smallest == 1 and settings.batch_size:
            # Batch statistics (`smallest` is 2) would include the samples that fill up a batch.
            from baton.batches import placement

            split = placement.of_one_size(
                split, -(-settings.batch_size // (settings.accumulation * self.runtime.processes))
            )
        return TrainingBatches(
            split.packed() if packs else split, *sizes, ids, *ranks, smallest, settings.tokens
        )

    def at_once(self, settings: params.Training) -> int:
        """Return the samples per prediction batch: twice a training batch, since no activations are kept."""
        if settings.batch_size is not None:
            return 2 * settings.batch_size
        assert settings.tokens is not None
        assert isinstance(self.data.input, TextInput), "params refuse tokens for images"
        longest = self.data.input.max_length + getattr(self.data.task, "target_length", 0)
        return max(2 * settings.tokens // longest, 1)


@contextlib.contextmanager
def started(
    stage: tracking.Stage,
    settings: params.Training,
    wanted: params.Runtime,
    source: Path,
    arrays: Path = ARRAYS,
) -> Iterator[Job]:
    """Set up a stage's training runs: processes, checkpoints of an interrupted attempt, tracking.

    `settings` are those of all seeds; `source` is the folder of the model to train, or whose layers are
    copied; `arrays` are made for it. Success removes the checkpoints.
    """
    with distributed.started(
        wanted, model_folder.work(source, array_splits.read_meta(arrays).input)
    ) as runtime:
        data = placed(open_data(settings.augmentation, arrays), runtime)
        for choice, reason in runtime.reasons.items():
            console.say(f"{choice}: {reason}")
        sections = {
            stage: settings.model_dump(mode="json", exclude={"seeds"}),
            "runtime": wanted.model_dump(mode="json"),
        }
        with resume.opened(stage, sections, runtime, settings.seeds) as checkpoints:
            seeds = str(list(settings.seeds))
            earlier = checkpoints.note("run") if checkpoints.note("seeds") == seeds else None
            with tracking.stage(stage, runtime.reasons, earlier, runtime.is_main) as run:
                checkpoints.notes |= {"run": run.id, "seeds": seeds}
                run.dataset("train", Path("data/clean/train.parquet"), "training")
                run.dataset("val", Path("data/clean/val.parquet"), "validation")
                yield Job(data, runtime, run, checkpoints, len(settings.seeds) > 1, arrays)
            distributed.barrier()  # a failure of any rank before this point fails all
            if runtime.is_main:
                checkpoints.succeeded(settings.seeds)


def open_data(augmentation: params.Augmentation | None, arrays: Path = ARRAYS) -> Data:
    """Memory-map data/arrays."""
    meta = array_splits.read_meta(arrays)
    return Data(array_splits.open_splits(arrays, augmentation), meta.task, meta.input)


def placed(data: Data, runtime: Runtime) -> Data:
    """Move images or spectrograms to the runtime's device if they fit, and report the decision."""
    match data.input:
        case TextInput():
            return data
        case ImageInput() | AudioInput() | ImageTextInput():
            from baton.batches import placement  # imports torchvision, which text does not need

            splits, reason = placement.placed(data.splits, runtime.device, runtime.data_on_device)
            if runtime.device.type != "cpu":
                console.say(f"data_on_device: {reason}")
            return dataclasses.replace(data, splits=splits)


def class_weights(settings: params.Training, data: Data, runtime: Runtime) -> torch.Tensor | None:
    """Return the weight of each of the model's outputs, (width,), if params ask for weights."""
    if settings.class_weights == "none":
        return None
    return task_losses.of(data.task).weights(data.splits["train"].targets).to(runtime.device)


def start_from_prior(model: model_folder.Classifier, data: Data) -> None:
    """Set the biases of a new head to what train's targets alone say, if the task defines that."""
    found = task_losses.of(data.task).prior(data.splits["train"].targets)
    if found is not None:
        with torch.no_grad():
            model.head.output.bias.copy_(found)


def row_weights(data: Data, runtime: Runtime) -> torch.Tensor | None:
    """Return the weights of train's rows, (rows,), of mean 1, if params `preprocess` name a weight column.

    If rows have units, return those of units: each has its row's weight.
    """
    split = data.splits["train"]
    found = row_attributes.weights(ARRAYS, "train", len(split))
    if found is not None and split.units is not None:
        found = np.repeat(found, split.units.counts)
    return None if found is None else torch.from_numpy(found).to(runtime.device)


class Companion(compiling.Companion, packing.Reader, Protocol):
    """A computation in the loss, alongside the model, that reads the model's batches: a live teacher."""


class Fitted(NamedTuple):
    """The result of a training run."""

    curve: list[dict[str, object]]  # rows of `CURVE`
    figures: Figures  # of the best validation
    packs: bool  # whether its documents were packed, as they then are for its predictions


def fit(
    name: str,
    model: model_folder.Classifier,
    loss_fn: Loss,
    settings: params.Training,
    job: Job,
    companions: Sequence[Companion] = (),
) -> Fitted:
    """Train `model` in place under the name `name`.

    `settings` are those of one seed; `companions` are other computations in the loss.
    """
    data, runtime, run, seed = job.data, job.runtime, job.run, settings.seed
    saved = job.checkpoints.training(f"{name}-{seed}")
    prefix, said = (f"seed_{seed}/{name}", f"{name}, seed {seed}") if job.several else (name, name)
    packs, reason = packing.settled(runtime, model, settings.attention_dropout, companions)
    console.say(f"{said}: packing {str(packs).lower()}: {reason}")
    batches, validation = (
        job.batches(settings, model.smallest_part, packs),
        data.splits["val"].packed() if packs else data.splits["val"],
    )
    settings = long_enough(settings, batches.steps_per_epoch)
    if runtime.gradient_checkpointing:
        model.checkpoint_activations()

    steps = settings.epochs * batches.steps_per_epoch
    choice = compiling.settled(model, batches, loss_fn, runtime, steps, settings, companions)
    if runtime.compile == MEASURED:
        console.say(escape(f"{said}: compile: {str(choice.compile).lower()}: {choice.reason}"))
        run.metrics(_prefixed(prefix, choice.figures()), 0)
    runtime = dataclasses.replace(runtime, compile=choice.compile)

    def validate() -> Figures:
        if data.task.outputs == "text":
            return sequence_validation.scores(model, validation, runtime, job.at_once(settings), job.arrays)
        return scores(predict(model, validation, runtime, job.at_once(settings)), validation.targets)

    curve: list[dict[str, object]] = []
    figures: Figures = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    total = settings.epochs * len(data.splits["train"])
    memory.reset_peak()
    points, begun = (
        loop.train(
            model,
            batches,
            loss_fn,
            validate,
            settings,
            runtime,
            saved,
            companions,
            task_figures.of(data.task).directions,
        ),
        1000 * time.time(),
    )
    with console.progress(f"train {said}", total, "samples") as advance, contextlib.closing(points):
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
                mark = " (best so far)" if point.best else ""
                console.say(
                    f"{said}: epoch {point.epoch:.2f}, "
                    + ", ".join(f"{key} {value:.4f}" for key, value in shown.items())
                    + mark
                )
                if point.best:
                    figures |= shown | {"best_step": point.step}
            run.metrics(_prefixed(prefix, shown), point.step, point.time)
    if point.time >= begun:  # otherwise an earlier attempt had finished it
        run.metrics(
            {f"{prefix}/peak_memory_bytes": memory.peak_memory(), f"{prefix}/packed": packs}, point.step
        )
    return Fitted(curve, figures, packs)


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
    return {"loss": point.loss, "learning_rate": point.learning_rate, "gradient_norm": point.gradient_norm}


def write(
    name: str,
    model: model_folder.Classifier,
    info: model_folder.ModelInfo,
    source: Path,
    job: Job,
    batch_size: int,
    best: bool,
    packs: bool,
) -> Answered:
    """Write the model, with the other files of `source`, and its logits to models/ and data/predictions/.

    Both folders are called `name`. All ranks predict, one writes. What the task fits on val, such as
    a temperature, is saved with the model; the logits are as trained. On train only the teacher predicts, for
    `distill`. `packs`: documents are packed, as they were for validation. If the model's seed is not the
    `best` so far, only its answers on test are computed. Return those.
    """
    data, runtime = job.data, job.runtime
    read = {"test"} | ({"val"} if best or task_figures.decides(data.task) else set())
    read |= {"train"} if best and name == "teacher" else set()
    wanted = {key: split for key, split in data.splits.items() if key in read}
    splits = {key: split.packed() if packs else split for key, split in wanted.items()}
    with console.progress(f"predict {name}", sum(map(len, splits.values())), "samples") as advance:
        logits = {key: predict(model, split, runtime, batch_size, advance) for key, split in splits.items()}
    state = sharding.gather(model) if best else None  # gathered from all ranks
    if not (runtime.is_main and read > {"test"}):
        return Answered(logits["test"], {})
    fitted = task_figures.of(data.task).fitted(logits["val"], data.splits["val"].targets.all)
    if not best:
        return Answered(logits["test"], fitted)
    model_folder.save(model, dataclasses.replace(info, fitted=fitted), source, Path("models", name), state)
    with storage.atomic_folder(PREDICTIONS / name) as folder:
        for key, values in logits.items():
            predictions.write_predictions(
                folder / f"{key}.parquet", array_splits.read_ids(ARRAYS, key), values
            )
    return Answered(logits["test"], fitted)


def _prefixed(name: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{name}/{key}": value for key, value in values.items()}
