"""Outputs of the right shape in place of those that training makes, so that later stages can be timed.

Input: a model that was not trained, and the stage's job. Output, in the scratch folder that a rehearsal works
in: its folder, answers that agree with the targets now and then, curves and figures.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from baton import storage
from baton.batches import array_splits
from baton.batches.sampler import Split
from baton.contracts import predictions
from baton.contracts.predictions import Predicted
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Classes
from baton.fitting import jobs, trainings
from baton.fitting.seed_choice import ARRAYS, PREDICTIONS, Answered, Figures, Trained
from baton.models import model_folder
from baton.models.model_folder import Classifier, ModelInfo
from baton.tasks import task_figures

SURE = 2.0  # how much larger a logit of the right class is, in deviations of the others


def answers(split: Split, job: jobs.Job) -> Predicted:
    """Return random logits of a split's rows or units; of classes, the right one has the larger ones."""
    task, units = job.data.task, split.units
    rows = len(split) if units is None else len(units.places)
    made = np.random.default_rng(rows).standard_normal((rows, task.width)).astype(np.float32)
    if units is not None:
        return Ragged(made, units.offsets)
    if isinstance(task, Classes):
        labels = split.targets.all
        known = np.flatnonzero(labels >= 0)
        made[known, labels[known]] += SURE
    return made


def write(
    name: str,
    model: Classifier,
    info: ModelInfo,
    source: Path,
    job: jobs.Job,
    seeds: Sequence[int],
    trained: Trained,
    kept: Sequence[str] = (),
) -> None:
    """Write what a stage writes of one model, and add to `trained` what it writes of all of them.

    Args:
        name: of the model.
        model: on any device.
        info: its description.
        source: the folder with its tokenizer.
        job: of the stage.
        seeds: of the stage.
        trained: of the stage; its `write` is the caller's.
        kept: splits whose answers of each seed are kept.
    """
    data, figures = job.data, task_figures.of(job.data.task)
    made = {key: answers(data.splits[key], job) for key in {"train", "val", "test", *kept}}
    fitted = figures.fitted(made["val"], data.splits["val"].targets.all)
    model_folder.save(model, dataclasses.replace(info, fitted=fitted), source, Path("models", name))
    with storage.atomic_folder(PREDICTIONS / name) as folder:
        for key in ("train", "val", "test") if name == "teacher" else ("val", "test"):
            ids = array_splits.read_ids(ARRAYS, key)
            predictions.write_predictions(folder / f"{key}.parquet", ids, made[key])
    scores = trainings.scores(made["val"], data.splits["val"].targets)
    shown: Figures = {f"val_{key}": value for key, value in scores.items()}
    size = sum(parameter.numel() for parameter in model.parameters())
    for seed in seeds:
        row: dict[str, object] = {"model": name, "seed": seed, "step": 1, "epoch": 1.0}
        step: dict[str, object] = {"loss": 1.0, "learning_rate": 1.0, "gradient_norm": 1.0}
        own: Figures = {"parameters": size, "trained_parameters": size, "steps": 1, "best_step": 1, **shown}
        trained.add(name, seed, [row | step, row | shown], own)
        trained.answered(name, seed, Answered(made["test"], fitted, {key: made[key] for key in kept}))
