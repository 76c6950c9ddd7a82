"""Train the teacher of one seed by the strategy that params ask for.

Inputs: a function that makes a classifier on the base model, the loss, the settings of one seed, the job ->
the trained classifier, its curve and figures, and how it is read.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from baton import console, params
from baton.batches import subset
from baton.batches.feature_batches import FeatureSplit
from baton.batches.sampler import Split
from baton.contracts import row_attributes
from baton.contracts.task_spec import Labels
from baton.fitting import episodes, features, jobs, pairs, trainings
from baton.fitting.seed_choice import ARRAYS, Figures
from baton.losses.loss import Loss
from baton.models.classifier import HeadAlone
from baton.models.model_folder import Classifier
from baton.predict import predict
from baton.runtime import distributed, sharding
from baton.tasks import transferability
from baton.train import label_probe, probe, prototypes, resume

INNER = 3  # folds that choose a probe's regularisation

Make = Callable[[], Classifier]  # a new classifier on the base model, with the same initial weights each time
Logits = NDArray[np.float32]


class Trained(NamedTuple):
    """The teacher of one seed, the results of `trainings.fit`, and how the model is read."""

    model: Classifier
    curve: list[dict[str, object]]
    figures: Figures
    packs: bool
    reading: trainings.Reading
    # The chosen strategy's logits of train (rows, width), each from a model that did not see the row.
    left_out: Logits | None = None


def train(
    make: Make, loss_fn: Loss, settings: params.Finetune, job: jobs.Job, name: str = "teacher"
) -> Trained:
    """Train by `settings.strategy`, whose kind is not `auto`, under the name `name`."""
    match settings.strategy:
        case params.ProbeStrategy() | params.PrototypesStrategy():
            return fitted(make(), settings, job)
        case params.HeadStrategy():
            if (why := features.why_not(settings, job)) is None:
                return _head(make(), loss_fn, settings, job, name)
            console.say(f"features are not kept on disk: {why}")
        case params.LoraStrategy():
            return _adapted(make(), settings.strategy, loss_fn, settings, job, name)
        case params.PairsStrategy() as strategy:
            model = make()
            made = pairs.fit(f"{name}_pairs", model, strategy, settings, job)
            return _then_headed(model, made, settings, job)
        case params.EpisodesStrategy() as strategy:
            model = make()
            made = episodes.fit(f"{name}_episodes", model, strategy, settings, job)
            return _then_headed(model, made, settings, job)
        case _:
            pass
    model = make()
    made = trainings.fit(name, model, loss_fn, settings, job)
    return Trained(model, *made, trainings.Reading(model, job.data.splits))


def _head(model: Classifier, loss_fn: Loss, settings: params.Finetune, job: jobs.Job, name: str) -> Trained:
    """Train the head on features that the frozen backbone computes once."""
    reading = _on_features(model, settings, job)
    named = {name: reading.splits[name] for name in ("train", "val")}
    own = dataclasses.replace(job, data=dataclasses.replace(job.data, splits=job.data.splits | named))
    made = trainings.fit(name, reading.model, loss_fn, settings, own)
    figures = made.figures | _counted(model) | _suited(reading, job)
    return Trained(model.eval(), made.curve, figures, made.packs, reading)


def _adapted(
    model: Classifier,
    strategy: params.LoraStrategy,
    loss_fn: Loss,
    settings: params.Finetune,
    job: jobs.Job,
    name: str,
) -> Trained:
    """Train low-rank adapters and the head, and merge the adapters into the weights."""
    from baton.models import lora

    frozen = lora.frozen(model)
    adapted = lora.adapted(model, strategy).to(job.runtime.device)
    made = trainings.fit(name, adapted, loss_fn, settings, job)
    model = lora.merged(adapted, frozen).eval()
    figures = made.figures | _counted(model)
    return Trained(model, made.curve, figures, made.packs, trainings.Reading(model, job.data.splits))


def _then_headed(
    model: Classifier, made: trainings.Fitted, settings: params.Finetune, job: jobs.Job
) -> Trained:
    """Fit a head to the features of a backbone that was trained without one.

    After pairs, which train directions, it is SetFit's; else a probe.
    """
    unkept = resume.StageCheckpoints(job.checkpoints.folder, job.checkpoints.seconds)  # the backbone changed
    probed = fitted(model, settings, dataclasses.replace(job, checkpoints=unkept))
    steps, best = int(made.figures["steps"]), int(made.figures["best_step"])
    figures = probed.figures | {"steps": steps, "best_step": best}
    figures |= {"trained_parameters": figures["parameters"]}
    # Of pairs or episodes; their figures on validation are others than a head's.
    curve = [row | {"model": "teacher"} for row in made.curve if "loss" in row]
    curve += [row | {"step": best, "epoch": round(best / steps, 4)} for row in probed.curve]
    return probed._replace(curve=curve, figures=figures)


def fitted(model: Classifier, settings: params.Finetune, job: jobs.Job) -> Trained:
    """Give `model` the head that `settings.strategy` computes; its curve is one validation."""
    reading = _on_features(model, settings, job)
    split, own = job.data.splits["train"], reading.splits["train"]
    if isinstance(own, FeatureSplit):
        read = np.asarray(own.features)
    else:
        read = features.of(model, split, settings, job, "features of train")
    made = _linear(read, split, settings, job)
    output = model.head.output
    with torch.no_grad():
        sharding.fill(output.weight, torch.from_numpy(made.weight))
        sharding.fill(output.bias, torch.from_numpy(made.bias))
    val = reading.splits["val"]
    logits = predict(reading.model.eval(), val, job.runtime, job.at_once(settings))
    shown = {f"val_{key}": value for key, value in trainings.scores(logits, val.targets).items()}
    trained = {"trained_parameters": made.weight.size + made.bias.size}
    figures = _counted(model) | trained | {"steps": 0, **shown, "best_step": 0} | _suited(reading, job)
    curve: list[dict[str, object]] = [
        {"model": "teacher", "seed": settings.seed, "step": 0, "epoch": 0.0, **shown}
    ]
    return Trained(model, curve, figures, False, reading)


def _on_features(model: Classifier, settings: params.Finetune, job: jobs.Job) -> trainings.Reading:
    """Return the head alone and its features; of a model that is split over processes, all of it."""
    if job.runtime.sharding == "full":
        return trainings.Reading(model, job.data.splits)
    return trainings.Reading(HeadAlone(model.head), features.Features(model, settings, job))


def _linear(read: NDArray[np.float32], split: Split, settings: params.Finetune, job: jobs.Job) -> probe.Probe:
    """Fit the head on the features of `split`, which is train or a part of it."""
    whole = split.whole if isinstance(split, subset.Part) else split
    rows = split.chosen if isinstance(split, subset.Part) else np.arange(len(split))
    weights = row_attributes.weights(ARRAYS, "train", len(whole))
    own = None if weights is None else weights[rows]
    labels, task = split.targets.all, job.data.task
    balanced = settings.class_weights == "balanced"
    if isinstance(settings.strategy, params.PairsStrategy):
        return _once(lambda: probe.of_directions(read, labels, task.width, balanced, own))
    units = row_attributes.units(ARRAYS, len(whole))[rows]
    inner = subset.folds(labels, units, INNER, settings.seed)
    if isinstance(settings.strategy, params.PrototypesStrategy):
        return _once(lambda: prototypes.fit(read, labels, task.width, inner, own))
    if isinstance(task, Labels):
        return _once(lambda: label_probe.fit(read, labels, balanced, inner, own))
    return _once(lambda: probe.fit(read, labels, task.width, balanced, inner, own))


def _once(fit: Callable[[], probe.Probe]) -> probe.Probe:
    """Fit on rank 0 only, and return its head on every rank."""

    def arrays() -> Mapping[str, NDArray[Any]]:
        made = fit()
        return {"weight": made.weight, "bias": made.bias, "strength": np.array([made.strength])}

    shared = distributed.once_arrays(arrays)
    return probe.Probe(shared["weight"], shared["bias"], float(shared["strength"][0]))


def _suited(reading: trainings.Reading, job: jobs.Job) -> Figures:
    """Return how well the frozen features suit train's targets, `logme`, if the task defines that."""
    own = reading.splits["train"]
    if (
        not isinstance(own, FeatureSplit)
        or own.units is not None
        or not np.ptp(own.targets.all, axis=0).any()
    ):
        return {}
    found = transferability.logme(job.data.task, own.features, own.targets.all)
    return {} if found is None else {"logme": found}


def _counted(model: Classifier) -> Figures:
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}
