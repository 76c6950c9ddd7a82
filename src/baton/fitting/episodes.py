"""Episodic training of a backbone, on small tasks drawn from the classes of train.

Input: a classifier, the job. Output: the same classifier with a trained backbone, and the training's curve;
its head is unchanged.
"""

import dataclasses

import torch

from baton import console, params
from baton.batches import array_splits, subset
from baton.batches.episodes import EpisodeBatches, rows_of_classes
from baton.errors import TrainingError
from baton.fitting import novel_figures, pairs, trainings
from baton.fitting.seed_choice import Figures
from baton.losses import episode_losses
from baton.losses.loss import Loss
from baton.models.model_folder import Classifier
from baton.train import reptile


def fit(
    name: str,
    model: Classifier,
    strategy: params.EpisodesStrategy,
    settings: params.Finetune,
    job: trainings.Job,
) -> trainings.Fitted:
    """Train the backbone for `strategy.steps` steps.

    Episodes of the novel classes for validation choose the checkpoint, if there are any and
    `finetune.episodes` says which; otherwise the last weights count.

    Raises:
        TrainingError: train has too few classes or rows for an episode, or Reptile's steps would be in fp16.
    """
    novel = array_splits.open_novel(job.arrays)
    chosen = settings.episodes is not None and novel_figures.VALIDATION in novel
    own = settings.model_copy(
        update={
            "strategy": params.FullStrategy(kind="full"),
            "learning_rate": strategy.learning_rate,
            "epochs": 1,
            "min_steps": 0,
            "evaluations_per_epoch": strategy.evaluations if chosen else 1,
            "early_stopping": None,
            "metric": "accuracy" if chosen else "loss",
        }
    )
    train, runtime, blocks = job.data.splits["train"], job.runtime, _blocks(strategy)
    classes = rows_of_classes(train.targets, strategy.way, sum(blocks), "train", "finetune.strategy")

    def ids() -> list[str]:
        found = array_splits.read_ids(job.arrays, "train")
        return train.names(found) if isinstance(train, subset.Part) else found

    def validate() -> Figures:
        if settings.episodes is None or not chosen:
            return pairs.similarity(model, settings, job)
        found = novel_figures.scored(model, novel_figures.VALIDATION, novel, settings.episodes, settings, job)
        return {"accuracy": float(found.accuracies.mean()), "loss": float(found.losses.mean())}

    def course(packs: bool) -> trainings.Course:
        read = train.packed() if packs else train
        sizes = strategy.way, blocks, strategy.batch_size, own.seed, strategy.steps
        batches = EpisodeBatches(read, classes, *sizes, ids, runtime.rank, runtime.processes)
        return trainings.Course(batches, validate, strategy.steps * batches.size(0))

    learner, loss_fn, job = _method(model, strategy, job)
    head, model.head = model.head, torch.nn.Identity()  # type: ignore[assignment]
    try:
        return trainings.fit(name, learner, loss_fn, own, job, course=course)
    finally:
        model.head = head


def _blocks(strategy: params.EpisodesStrategy) -> tuple[int, ...]:
    """Return the rows of each class in each part of an episode that is read at once."""
    match strategy.method:
        case params.PrototypicalEpisodes(queries=queries):
            return (strategy.shots + queries,)
        case params.ReptileEpisodes(steps=steps):
            return (strategy.shots,) * steps


def _method(
    model: Classifier, strategy: params.EpisodesStrategy, job: trainings.Job
) -> tuple[torch.nn.Module, Loss, trainings.Job]:
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
