"""What a student's head reads, beside what its teacher's reads, so that a loss can compare the two.

While a model is `attached`, its outputs are (outputs, logits + features): one tensor, so that replicas,
compiled and split models work as they do without.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from baton.models.classifier import PROJECTION, Classifier


def project(student: Classifier, width: int) -> None:
    """Give the student a learned projection to the teacher's width, if its features have another one.

    It is initialised from torch's global seed (Romero et al. 2015, FitNets, arXiv:1412.6550, equation 3).
    """
    if (own := width_of(student)) != width:
        student.add_module(PROJECTION, nn.Linear(own, width))


def without_projection(student: Classifier) -> None:
    """Remove the projection, if there is one."""
    if hasattr(student, PROJECTION):
        delattr(student, PROJECTION)


def width_of(model: Classifier) -> int:
    """Return the width of what the head reads."""
    first = model.head.output if model.head.hidden is None else model.head.hidden
    return int(first.in_features)


def deviations(features: torch.Tensor) -> torch.Tensor:
    """Return the deviation of each of a teacher's features, (width,), of (rows, width); never 0."""
    return features.std(0, correction=0).clamp_min(1e-6)


@contextlib.contextmanager
def attached(model: Classifier) -> Iterator[None]:
    """Let a student return its features, projected to the teacher's width, after its logits.

    Only in training: in eval mode, as for validation, it returns logits.
    """

    def append(head: nn.Module, read: tuple[Any, ...], logits: torch.Tensor) -> torch.Tensor:
        if not head.training:
            return logits
        features: torch.Tensor = read[0]
        projection = getattr(model, PROJECTION, None)
        return torch.cat([logits, features if projection is None else projection(features)], dim=1)

    handle = model.head.register_forward_hook(append)
    try:
        yield
    finally:
        handle.remove()


def attach(teacher: Any) -> None:
    """Let a live teacher, a classifier, return its features after its logits from now on."""
    teacher.head.register_forward_hook(lambda _head, read, logits: torch.cat([logits, read[0]], dim=1))
