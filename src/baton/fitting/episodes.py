"""Episodic training of a backbone, on small tasks drawn from the classes of train.

Input: a classifier, the job. Output: the same classifier with a trained backbone, and the training's curve;
its head is unchanged.
"""

import dataclasses

import torch

from baton import console, params
from baton.batches import array_splits
from baton.batches.episodes import EpisodeBatches, rows_of_classes
from baton.errors import TrainingError
from baton.fitting import jobs, novel_figures, pairs, trainings
from baton.fitting.seed_choice import Figures
from baton.losses import episode_losses
from baton.losses.loss import Loss
from baton.models.classifier import Classifier, headless
from baton.train import reptile


def fit(
    name: str,
    model: Classifier,
    strategy: params.EpisodesStrategy,
    settings: params.Finetune,
    job: jobs.Job,
) -> trainings.Fitted:
    """Train the backbone for `strategy.steps` steps.

    Episodes of the novel classes for validation choose the checkpoint, if there are any and
    `finetune.episodes` says which; otherwise the last weights count.

    Raises:
        TrainingError: train has too few classes or rows for an episode, or Reptile's steps would be in fp16.
    """
    novel = array_splits.open_novel(job.arrays)
    chosen = settings.episodes is not None and novel_figures.VALIDATION in novel
    own = pairs.in_one_epoch(
        settings,
        strategy,
        evaluations=strategy.evaluations if chosen else 1,
        metric="accuracy" if chosen else "loss",
    )
    train, runtime, blocks = job.data.splits["train"], job.runtime, _blocks(strategy)
    classes = rows_of_classes(train.targets, strategy.way, sum(blocks), "train", "finetune.strategy")

    def validate() -> Figures:
        if settings.episodes is None or not chosen:
            return pairs.similarity(model, settings, job)
        found = novel_figures.scored(model, novel_figures.VALIDATION, novel, settings.episodes, settings, job)
        return {"accuracy": float(found.accuracies.mean()), "loss": float(found.losses.mean())}

    def course(packs: bool) -> trainings.Course:
        batches = EpisodeBatches(
            split=train.packed() if packs else train,
            classes=classes,
            way=strategy.way,
            blocks=blocks,
            batch_size=strategy.batch_size,
            seed=own.seed,
            steps=strategy.steps,
            ids=job.names,
            rank=runtime.rank,
            ranks=runtime.processes,
        )
        return trainings.Course(batches, validate, strategy.steps * batches.size(0))

    learner, loss_fn, job = _method(model, strategy, job)
    with headless(model):
        return trainings.fit(name, learner, loss_fn, own, job, course=course)


def _blocks(strategy: params.EpisodesStrategy) -> tuple[int, ...]:
    """Return the rows of each class in each part of an episode that is read at once."""
    match strategy.method:
        case params.PrototypicalEpisodes(queries=queries):
            return (strategy.shots + queries,)
        case params.ReptileEpisodes(steps=steps):
            return (strategy.shots,) * steps


def _method(
    model: Classifier, strategy: params.EpisodesStrategy, job: jobs.Job
) -> tuple[torch.nn.Module, Loss, jobs.Job]:
    """Return what the loop trains, by which loss, and the job, whose runtime may have to change."""
    match strategy.method:
        case params.PrototypicalEpisodes():
            return model, episode_losses.prototypical(strategy.way, strategy.shots), job
        case params.ReptileEpisodes(learning_rate=rate):
            if job.runtime.precision == "fp16":
                raise TrainingError(
                    "Reptile's steps on an episode have no loss scaler",
                    got="precision fp16",
                    expected="bf16, tf32 or fp32",
                    hint="set runtime.precision to fp32",
                )
            if job.runtime.compile:
                console.say("compile: false: Reptile changes weights within a step")
            width = model.head.output.in_features
            runtime = dataclasses.replace(job.runtime, compile=False)
            learner = reptile.Reptile(model, strategy.way, width, rate)
            return learner, reptile.loss, dataclasses.replace(job, runtime=runtime)
