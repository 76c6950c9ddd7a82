"""AdamW with decoupled weight decay (Loshchilov & Hutter 2019), and warm-up with linear or cosine decay.

Clipping, mixed-precision scaling and the check for non-finite numbers share one pass: their factor and their
verdict go into the fused optimizer kernel. Gradients are thus read once for their norm and once for the
update, and the host never waits for the device.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from baton import params
from baton.runtime import sharding
from baton.train import strategy
from baton.train.strategy import Group

# Dynamic loss scale for fp16 (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2); the constants are
# those of torch.amp.GradScaler.
FIRST_SCALE, GROWTH_STEPS = 2.0**16, 2000


def make(
    model: nn.Module, settings: params.Training, groups: Sequence[Group] | None = None
) -> torch.optim.AdamW:
    """Return the optimizer of the groups that are trained at some time, each with its share of the rate.

    Biases, normalisation weights (one-dimensional) and the model's own exceptions are not decayed. AdamW
    skips parameters without a gradient, and holds no state for them. `groups` are by default those of
    `settings`.
    """
    found = strategy.groups(model, settings) if groups is None else groups
    parameters = dict(model.named_parameters())
    excepted: set[str] = getattr(model, "no_weight_decay", set)()
    made = []
    for group in reversed([own for own in found if own.rate]):
        for decays in (True, False):
            part = [
                parameters[name]
                for name in group.names
                if (parameters[name].ndim > 1 and name not in excepted) is decays
            ]
            if part:
                weight_decay = settings.weight_decay if decays else 0.0
                made.append({"params": part, "weight_decay": weight_decay, "scale": group.rate})
    return torch.optim.AdamW(made, lr=settings.learning_rate, fused=True)


def learning_rate(settings: params.Training, step: int, steps: int) -> float:
    """Return the learning rate of optimizer step `step` (from 0) of `steps`."""
    return settings.learning_rate * factor(step, steps, round(settings.warmup * steps), settings.schedule)


def factor(step: int, steps: int, warmup: int, schedule: str) -> float:
    """Return the share of the peak learning rate at optimizer step `step` (from 0).

    It rises to 1 in `warmup` steps, then falls to 0 at `steps`.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    match schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case _:
            return 1 - progress


class Update:
    """Optimizer steps on scaled gradients; all decisions stay on the device."""

    def __init__(
        self, optimizer: torch.optim.AdamW, clip_norm: float | None, scaled: bool, device: torch.device
    ) -> None:
        """`scaled`: losses are multiplied by a dynamic `scale` (fp16); otherwise the scale is 1."""
        self.optimizer = optimizer
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.clip_norm, self.scaled = clip_norm or math.inf, scaled
        self.scale = torch.full((), FIRST_SCALE if scaled else 1.0, device=device)
        self.grown = torch.zeros((), device=device)  # steps since the scale changed
        # The first step whose numbers were not finite; from then on nothing is updated.
        self.failed = torch.full((), -1.0, device=device)

    def step(self, step: int, loss: torch.Tensor, rate: float) -> torch.Tensor:
        """Clip, update, and drop the gradients; return the gradient norm (), before clipping.

        Args:
            step: its number, for `failed`.
            loss: of the step, (), not scaled.
            rate: learning rate.
        """
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = sharding.whole(nn.utils.get_total_norm(gradients)) / self.scale
        overflow = ~torch.isfinite(norm)
        bad = ~torch.isfinite(loss) | (overflow & (self.scale <= 1))
        self.failed = torch.where(bad & (self.failed < 0), float(step), self.failed)
        clipped = torch.clamp(self.clip_norm / (norm + 1e-6), max=1.0)
        # torch's own scaler passes these to a fused optimizer by these names: it divides gradients by the
        # first, and skips the update if the second is set.
        self.optimizer.grad_scale = self.scale / clipped  # type: ignore[attr-defined]
        self.optimizer.found_inf = (overflow | (self.failed >= 0)).float()  # type: ignore[attr-defined]
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scaled:
            self._adapt(overflow)
        return torch.where(overflow & (self.failed < 0), 0.0, norm)

    def _adapt(self, overflow: torch.Tensor) -> None:
        self.grown = torch.where(overflow, 0.0, self.grown + 1)
        full = self.grown >= GROWTH_STEPS
        self.scale = torch.where(overflow, self.scale / 2, torch.where(full, self.scale * 2, self.scale))
        self.grown = torch.where(full, 0.0, self.grown)
