"""Few rows: cross-validation chooses fine-tuning or a linear probe on the base model's frozen features.

Inputs: train and val, the settings of `finetune` for one seed -> the trained teacher, its curve and figures,
as `trainings.fit` returns them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton import console, params, tracking
from baton.batches import subset
from baton.batches.sampler import Split
from baton.contracts import row_attributes
from baton.contracts.task_spec import Labels
from baton.fitting import trainings
from baton.fitting.seed_choice import ARRAYS, Figures
from baton.losses.loss import Loss
from baton.models.model_folder import Classifier
from baton.predict import predict
from baton.runtime import distributed, sharding
from baton.tasks import figure_scale, task_figures
from baton.train import label_probe, probe
from baton.train.state import merit

METHODS = ("probe", "finetune")  # the first wins a tie: it is cheaper, and varies less
INNER = 3  # folds that choose the probe's regularisation

Make = Callable[[], Classifier]  # a new classifier on the base model, with the same initial weights each time
Logits = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Trained:
    """The teacher of one seed, the results of `trainings.fit`, and the logits of left-out rows."""

    model: Classifier
    curve: list[dict[str, object]]
    figures: Figures
    packs: bool
    # The chosen method's logits of train (rows, width), each from a model that did not see the row.
    left_out: Logits | None = None


def train(make: Make, loss_fn: Loss, settings: params.Finetune, job: trainings.Job) -> Trained:
    """Train the teacher of one seed: fine-tuned, or a probe if rows are few and cross-validation prefers it.

    If rows are few, its figures also hold `cross_validated_METHOD`, the main figure of each method on
    left-out rows, and `probe`, 1 if the probe was chosen.
    """
    split, task = job.data.splits["train"], task_figures.of(job.data.task)
    if (
        settings.probe is None
        or not task.probes
        or len(split) > settings.probe.rows
        or len(np.unique(row_attributes.units(ARRAYS, len(split)))) == 1
    ):
        model = make()
        return Trained(model, *trainings.fit("teacher", model, loss_fn, settings, job))
    console.say(
        f"{len(split):,} rows of train: {settings.probe.folds}-fold cross-validation chooses between "
        "fine-tuning and a linear probe"
    )
    logits = {"probe": _probed(make, settings, job), "finetune": _finetuned(make, loss_fn, settings, job)}
    found = {name: trainings.scores(own, split.targets) for name, own in logits.items()}
    # All ranks must choose the same method.
    best = distributed.share(
        max(METHODS, key=lambda name: merit(found[name], settings.metric, task.directions))
    )
    main = figure_scale.of(task)
    shown = ", ".join(f"{name} {main.value(own[main.name])}" for name, own in found.items())
    console.say(
        f"cross-validated {task.main}: {shown}; "
        f"the teacher is {'a linear probe' if best == 'probe' else 'fine-tuned'}"
    )
    model = make()
    made = (
        _fit(model, settings, job)
        if best == "probe"
        else trainings.fit("teacher", model, loss_fn, settings, job)
    )
    figures = (
        made.figures
        | {f"cross_validated_{name}": figures[task.main] for name, figures in found.items()}
        | {"probe": float(best == "probe")}
    )
    return Trained(model, made.curve, figures, made.packs, logits[best])


def _probed(make: Make, settings: params.Finetune, job: trainings.Job) -> Logits:
    """Return a probe's logits of the rows that each fold leaves out, (rows, width)."""
    split = job.data.splits["train"]
    features, labels = _frozen(make(), split, settings, job), split.targets.all
    logits = np.zeros((len(labels), job.data.task.width), np.float32)
    for fitted, scored in _folds(split, settings):
        made = _probe(features, labels, fitted, settings, job)
        logits[scored] = made.logits(features[scored])
    return logits


def _finetuned(make: Make, loss_fn: Loss, settings: params.Finetune, job: trainings.Job) -> Logits:
    """Return the same for fine-tuning; each fold picks its checkpoint on val, as the final run does."""
    split = job.data.splits["train"]
    logits = np.zeros((len(split), job.data.task.width), np.float32)
    for number, (fitted, scored) in enumerate(_folds(split, settings), 1):
        own = dataclasses.replace(job.data, splits=job.data.splits | {"train": subset.Part(split, fitted)})
        model = make()
        made = trainings.fit(
            f"fold_{number}", model, loss_fn, settings, dataclasses.replace(job, data=own, run=tracking.Run())
        )
        rest = subset.Part(split, scored)
        logits[scored] = _predicted(model, rest.packed() if made.packs else rest, settings, job)
    return logits


def _fit(model: Classifier, settings: params.Finetune, job: trainings.Job) -> trainings.Fitted:
    """Give `model` the head of a probe on all of train; its curve is one validation."""
    split, val = job.data.splits["train"], job.data.splits["val"]
    made = _probe(
        _frozen(model, split, settings, job), split.targets.all, np.arange(len(split)), settings, job
    )
    output = model.head.output
    with torch.no_grad():
        sharding.fill(output.weight, torch.from_numpy(made.weight))
        sharding.fill(output.bias, torch.from_numpy(made.bias))
    shown = {
        f"val_{key}": value
        for key, value in trainings.scores(_predicted(model, val, settings, job), val.targets).items()
    }
    figures = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": 0,
        **shown,
        "best_step": 0,
    }
    curve: list[dict[str, object]] = [
        {"model": "teacher", "seed": settings.seed, "step": 0, "epoch": 0.0, **shown}
    ]
    return trainings.Fitted(curve, figures, packs=False)


def _frozen(
    model: Classifier, split: Split, settings: params.Finetune, job: trainings.Job
) -> NDArray[np.float32]:
    """Return the inputs of an untrained `model`'s head, (samples, width); leave the model in eval mode."""
    head = model.head
    model.head = torch.nn.Identity()  # type: ignore[assignment]
    try:
        return _predicted(model.eval(), split, settings, job)
    finally:
        model.head = head


def _predicted(
    model: Classifier, split: Split, settings: params.Finetune, job: trainings.Job
) -> NDArray[np.float32]:
    found = predict(model, split, job.runtime, job.at_once(settings))
    assert isinstance(found, np.ndarray), "tasks with a probe have one output per row"
    return found


def _probe(
    features: NDArray[np.float32],
    labels: NDArray[Any],
    rows: NDArray[np.int64],
    settings: params.Finetune,
    job: trainings.Job,
) -> probe.Probe:
    """Fit a probe on some `rows` of train."""
    weight, units = (
        row_attributes.weights(ARRAYS, "train", len(labels)),
        row_attributes.units(ARRAYS, len(labels)),
    )
    inner = subset.folds(labels[rows], units[rows], INNER, settings.seed)
    own = None if weight is None else weight[rows]
    balanced = settings.class_weights == "balanced"
    task, some = job.data.task, (features[rows], labels[rows])
    if isinstance(task, Labels):
        return distributed.once(lambda: label_probe.fit(*some, balanced, inner, own))
    return distributed.once(lambda: probe.fit(*some, task.width, balanced, inner, own))


def _folds(split: Split, settings: params.Finetune) -> list[subset.Fold]:
    assert settings.probe is not None, "called for few rows"
    return subset.folds(
        split.targets.all,
        row_attributes.units(ARRAYS, len(split)),
        settings.probe.folds,
        settings.seed,
    )
