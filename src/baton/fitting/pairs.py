"""Contrastive training of a backbone: samples of one class get similar features, those of others do not.

Input: a classifier, the job. Output: the same classifier with a trained backbone, and the training's curve;
its head is unchanged.
"""

from functools import partial

import numpy as np
import torch

from baton import params
from baton.batches import subset
from baton.batches.class_batches import ClassBatches
from baton.fitting import jobs, trainings
from baton.fitting.seed_choice import Figures
from baton.losses import pair_losses
from baton.models.classifier import Classifier, headless
from baton.predict import predict

MOST = 2000  # rows of val whose pairs are compared: two million


def fit(
    name: str,
    model: Classifier,
    strategy: params.PairsStrategy,
    settings: params.Finetune,
    job: jobs.Job,
) -> trainings.Fitted:
    """Train the backbone for `strategy.steps` steps; the last weights count, as in SetFit."""
    size, own = settings.batch_size, in_one_epoch(settings, strategy)
    assert size is not None, "params refuse a token budget"
    train, runtime = job.data.splits["train"], job.runtime

    def course(packs: bool) -> trainings.Course:
        batches = ClassBatches(
            split=train.packed() if packs else train,
            batch_size=size,
            accumulation=own.accumulation,
            seed=own.seed,
            steps=strategy.steps,
            ids=job.names,
            rank=runtime.rank,
            ranks=runtime.processes,
        )
        validate = partial(similarity, model, settings, job, packs)
        return trainings.Course(batches, validate, strategy.steps * size)

    with headless(model):
        return trainings.fit(name, model, pair_losses.cosine, own, job, course=course)


def in_one_epoch(
    settings: params.Finetune,
    strategy: params.PairsStrategy | params.EpisodesStrategy,
    evaluations: int = 1,
    metric: str = "loss",
) -> params.Finetune:
    """Return the settings of training all of a backbone for the strategy's steps, as one epoch."""
    return settings.model_copy(
        update={
            "strategy": params.FullStrategy(kind="full"),
            "learning_rate": strategy.learning_rate,
            "epochs": 1,
            "min_steps": 0,
            "evaluations_per_epoch": evaluations,
            "early_stopping": None,
            "metric": metric,
        }
    )


def similarity(model: Classifier, settings: params.Finetune, job: jobs.Job, packs: bool = False) -> Figures:
    """Return the loss of all pairs of at most `MOST` rows of val, for a model whose head is the identity."""
    val = job.data.splits["val"]
    if len(val) > MOST:
        val = subset.Part(val, np.linspace(0, len(val) - 1, MOST).astype(np.int64))
    found = predict(model, val.packed() if packs else val, job.runtime, job.at_once(settings))
    features, labels = torch.as_tensor(found), torch.as_tensor(val.targets.all)
    return {"loss": float(pair_losses.of_features(features, labels))}
