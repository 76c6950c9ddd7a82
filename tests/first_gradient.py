"""The gradient of a first step that is divided into parts, on one process or several."""

import torch

from baton.batches.sampler import TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.losses.loss import Loss
from baton.models.classifier import Classifier
from baton.train import optimizer
from baton.train.gradients import Gradients
from tests import tiny


def of(
    classifier: Classifier, split: TextSplit, loss_fn: Loss, parts: int, ranks: int, packs: bool
) -> torch.Tensor:
    """Return the gradient of a step of 12 rows, summed over ranks, all parameters in one vector."""
    machine, settings = tiny.machine(), tiny.training(batch_size=12)
    update = optimizer.Update(optimizer.make(classifier, settings), None, False, machine.device)
    own = split.packed() if packs else split
    for rank in range(ranks):
        batches = TrainingBatches(own, 12, parts, 0, rank=rank, ranks=ranks)
        Gradients(classifier, batches, loss_fn, update, machine, 0).backward(batches.micro_batches(0))
    return torch.cat([p.grad.flatten() for p in classifier.parameters() if p.grad is not None])
