"""Contrastive training of a backbone: samples of one class get similar features, those of others do not.

Input: a classifier, the job. Output: the same classifier with a trained backbone, and the training's curve;
its head is unchanged.
"""

from functools import partial

import numpy as np
import torch

from baton import params
from baton.batches import array_splits, subset
from baton.batches.class_batches import ClassBatches
from baton.fitting import trainings
from baton.fitting.seed_choice import Figures
from baton.losses import pair_losses
from baton.models.model_folder import Classifier
from baton.predict import predict

MOST = 2000  # rows of val whose pairs are compared: two million


def fit(
    name: str,
    model: Classifier,
    strategy: params.PairsStrategy,
    settings: params.Finetune,
    job: trainings.Job,
) -> trainings.Fitted:
    """Train the backbone for `strategy.steps` steps; the last weights count, as in SetFit."""
    assert settings.batch_size is not None, "params refuse a token budget"
    own = settings.model_copy(
        update={
            "strategy": params.FullStrategy(kind="full"),
            "learning_rate": strategy.learning_rate,
            "epochs": 1,
            "min_steps": 0,
            "evaluations_per_epoch": 1,
            "early_stopping": None,
            "metric": "loss",
        }
    )
    train, runtime = job.data.splits["train"], job.runtime

    def course(packs: bool) -> trainings.Course:
        read = train.packed() if packs else train
        sizes = own.batch_size or 0, own.accumulation, own.seed, strategy.steps

        def ids() -> list[str]:
            found = array_splits.read_ids(job.arrays, "train")
            return train.names(found) if isinstance(train, subset.Part) else found

        batches = ClassBatches(read, *sizes, ids, runtime.rank, runtime.processes)
        validate = partial(similarity, model, settings, job, packs)
        return trainings.Course(batches, validate, strategy.steps * (own.batch_size or 0))

    head, model.head = model.head, torch.nn.Identity()  # type: ignore[assignment]
    try:
        return trainings.fit(name, model, pair_losses.cosine, own, job, course=course)
    finally:
        model.head = head


def similarity(
    model: Classifier, settings: params.Finetune, job: trainings.Job, packs: bool = False
) -> Figures:
    """Return the loss of all pairs of at most `MOST` rows of val, for a model whose head is the identity."""
    val = job.data.splits["val"]
    if len(val) > MOST:
        val = subset.Part(val, np.linspace(0, len(val) - 1, MOST).astype(np.int64))
    found = predict(model, val.packed() if packs else val, job.runtime, job.at_once(settings))
    features, labels = torch.as_tensor(found), torch.as_tensor(val.targets.all)
    return {"loss": float(pair_losses.of_features(features, labels))}
