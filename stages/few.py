"""Few rows: cross-validation chooses between fine-tuning and a linear probe on the base model's frozen features.

Inputs: train and val, the settings of `finetune` -> which of the two the teacher is, with both scores; and the probe itself.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton import console, params, tracking
from baton.data import part
from baton.data.batches import Split
from baton.evaluate import metrics
from baton.models.build import Classifier
from baton.predict import predict
from baton.train import losses, probe
from stages import fitting

Make = Callable[[], Classifier]  # a new classifier on the base model, with the same first weights at each call


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the teacher is, and the cross-validated scores that decided it."""

    method: str  # finetune or probe
    scores: dict[str, dict[str, float]]  # method -> accuracy, macro_f1, loss on the rows that were left out
    folds: int

    def figures(self) -> dict[str, Any]:
        """For metrics/finetune.json."""
        return {"method": self.method, "folds": self.folds} | {name: self.scores[name] for name in sorted(self.scores)}


def choose(make: Make, loss_fn: losses.Loss, settings: params.Finetune, job: fitting.Job) -> Choice | None:
    """Score both on the same folds of train; None where params do not ask for it or rows are many.

    Each fold's fine-tuning picks its checkpoint on val, as the final one does. Of equal scores the probe is taken: it is cheaper and varies
    less.
    """
    wanted, train = settings.probe, job.data.splits["train"]
    if wanted is None or len(train) > wanted.rows:
        return None
    labels = np.asarray(train.labels)
    cuts = part.folds(labels, wanted.folds, settings.seed)
    console.say(f"{len(train):,} rows of train: {wanted.folds}-fold cross-validation chooses between fine-tuning and a linear probe")
    shape = len(labels), len(job.data.labels)
    left_out = {name: np.zeros(shape, np.float32) for name in ("finetune", "probe")}
    features = frozen(make(), train, settings, job)
    for number, (fitted, scored) in enumerate(cuts, 1):
        left_out["probe"][scored] = _probe(features[fitted], labels[fitted], settings, job).logits(features[scored])
        model, own = make(), dataclasses.replace(job.data, splits=job.data.splits | {"train": part.Part(train, fitted)})
        fold = dataclasses.replace(job, data=own, run=tracking.Run())
        fitting.fit(f"fold_{number}", model, loss_fn, settings, fold)
        left_out["finetune"][scored] = predict(model, part.Part(train, scored), job.runtime, 2 * settings.batch_size)
    found = {name: fitting.scores(logits, labels) for name, logits in left_out.items()}
    best = max(("probe", "finetune"), key=lambda name: _rank(found[name], settings.metric))
    shown = ", ".join(f"{name} {100 * own['accuracy']:.1f}%" for name, own in found.items())
    console.say(f"cross-validated accuracy: {shown}; the teacher is {'a linear probe' if best == 'probe' else 'fine-tuned'}")
    return Choice(best, found, wanted.folds)


def fit(model: Classifier, name: str, settings: params.Finetune, job: fitting.Job) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Give `model` the head of a probe on all of train; return its curve (one validation) and figures, as `fitting.fit` does."""
    train, val = job.data.splits["train"], job.data.splits["val"]
    made = _probe(frozen(model, train, settings, job), np.asarray(train.labels), settings, job)
    output = model.head.output
    with torch.no_grad():
        for parameter, values in ((output.weight, made.weight), (output.bias, made.bias)):
            parameter.copy_(torch.from_numpy(values))
    found = fitting.scores(predict(model.eval(), val, job.runtime, 2 * settings.batch_size), np.asarray(val.labels))
    shown = {f"val_{key}": value for key, value in found.items()}
    figures = {"parameters": sum(parameter.numel() for parameter in model.parameters()), "steps": 0, "best_step": 0, **shown}
    return [{"model": name, "step": 0, "epoch": 0.0} | shown], figures


def frozen(model: Classifier, split: Split, settings: params.Finetune, job: fitting.Job) -> NDArray[np.float32]:
    """What the head of `model` reads of each sample before any training, (samples, width)."""
    with _headless(model):
        return predict(model.eval(), split, job.runtime, 2 * settings.batch_size)


def _probe(features: NDArray[np.float32], labels: NDArray[np.int64], settings: params.Finetune, job: fitting.Job) -> probe.Probe:
    inner = part.folds(labels, 3, settings.seed)
    return probe.fit(features, labels, len(job.data.labels), settings.class_weights == "balanced", inner)


def _rank(found: dict[str, float], metric: str) -> float:
    return -found["loss"] if metric == "loss" else found[metric]


@contextlib.contextmanager
def _headless(model: Classifier) -> Iterator[None]:
    head, model.head = model.head, torch.nn.Identity()  # type: ignore[assignment]
    try:
        yield
    finally:
        model.head = head
