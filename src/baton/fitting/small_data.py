"""Few rows: cross-validation on train chooses the strategy by which the teacher is trained.

Inputs and output are those of `strategies.train`.
"""

import dataclasses

import numpy as np

from baton import console, params, tracking
from baton.batches import subset
from baton.batches.sampler import Split
from baton.contracts import row_attributes
from baton.fitting import jobs, strategies, trainings
from baton.fitting.seed_choice import ARRAYS
from baton.fitting.strategies import Logits, Make, Trained
from baton.losses.loss import Loss
from baton.predict import predict
from baton.runtime import distributed
from baton.tasks import figure_scale, task_figures
from baton.train.state import merit

REST = "rest"  # the split of the rows that a fold leaves out


def train(make: Make, loss_fn: Loss, settings: params.Finetune, job: jobs.Job) -> Trained:
    """Train the teacher of one seed; with few rows, `auto` first chooses among its strategies.

    The figures then also hold `cross_validated_KIND`, the main figure of each strategy on left-out rows, and
    `chosen_KIND`, 1 for the one that was chosen.
    """
    asked, split = settings.strategy, job.data.splits["train"]
    if not isinstance(asked, params.AutoStrategy):
        return strategies.train(make, loss_fn, settings, job)
    own = {one.kind: settings.model_copy(update={"strategy": one}) for one in asked.among}
    units = np.unique(row_attributes.units(ARRAYS, len(split)))
    last = asked.among[-1].kind
    if len(split) > asked.rows or len(units) == 1:
        console.say(f"strategy: {last}, since train has {_why(len(split), asked.rows)}")
        return strategies.train(make, loss_fn, own[last], job)
    console.say(
        f"{len(split):,} rows of train: {asked.folds}-fold cross-validation chooses the strategy: "
        f"{' or '.join(own)}"
    )
    logits = {kind: _left_out(make, loss_fn, each, job, asked.folds) for kind, each in own.items()}
    task = task_figures.of(job.data.task)
    found = {kind: trainings.scores(each, split.targets) for kind, each in logits.items()}
    # All ranks must choose the same strategy; of equals the first.
    best = distributed.share(
        max(found, key=lambda kind: merit(found[kind], settings.metric, task.directions))
    )
    main = figure_scale.of(task)
    shown = ", ".join(f"{kind} {main.value(figures[main.name])}" for kind, figures in found.items())
    console.say(f"cross-validated {task.main}: {shown}; the strategy is {best}")
    made = strategies.train(make, loss_fn, own[best], job)
    chosen = {f"cross_validated_{kind}": figures[task.main] for kind, figures in found.items()}
    chosen |= {f"chosen_{kind}": float(kind == best) for kind in found}
    return made._replace(figures=made.figures | chosen, left_out=logits[best])


def _why(rows: int, most: int) -> str:
    return f"{rows:,} rows, more than {most:,}" if rows > most else "one unit, which cannot be divided"


def _left_out(make: Make, loss_fn: Loss, settings: params.Finetune, job: jobs.Job, folds: int) -> Logits:
    """Return the logits of all rows of train, (rows, width), each by a model of a fold that left it out.

    Each fold picks its checkpoint on val, as the final run does.
    """
    split = job.data.splits["train"]
    logits = np.zeros((len(split), job.data.task.width), np.float32)
    units = row_attributes.units(ARRAYS, len(split))
    for number, (fitted, scored) in enumerate(
        subset.folds(split.targets.all, units, folds, settings.seed), 1
    ):
        parts: dict[str, Split] = {"train": subset.Part(split, fitted), REST: subset.Part(split, scored)}
        data = dataclasses.replace(job.data, splits=job.data.splits | parts)
        own = dataclasses.replace(job, data=data, run=tracking.Run())
        made = strategies.train(make, loss_fn, settings, own, f"{settings.strategy.kind}_fold_{number}")
        rest = made.reading.splits[REST]
        rest = rest.packed() if made.packs else rest
        found = predict(made.reading.model.eval(), rest, job.runtime, job.at_once(settings))
        assert isinstance(found, np.ndarray), "tasks that are cross-validated have one output per row"
        logits[scored] = found
    return logits
