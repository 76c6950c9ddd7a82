"""AdamW with decoupled weight decay (Loshchilov & Hutter 2019) and warm-up with linear or cosine decay."""

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from baton import params


def make(model: nn.Module, settings: params.Training, steps: int) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Optimizer and schedule for `steps` optimizer steps; biases and normalisation weights (one-dimensional) are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    warmup = round(settings.warmup * steps)
    return optimizer, LambdaLR(optimizer, lambda step: factor(step, steps, warmup, settings.schedule))


def factor(step: int, steps: int, warmup: int, schedule: str) -> float:
    """Share of the peak learning rate at optimizer step `step` (from 0): up to 1 in `warmup` steps, then down to 0 at `steps`."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    match schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case _:
            return 1 - progress
