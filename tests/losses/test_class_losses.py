"""Losses against their definitions."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from baton.distill import soft_targets
from baton.losses import class_losses
from tests import tiny

TASK = class_losses.ClassLosses(tiny.task("a", "b", "c", "d"))


class Rows:
    """Logits by row in place of a model, with the fields that a loss reads."""

    def __init__(self, labels: list[int]) -> None:
        self.inputs = (torch.zeros(1), torch.zeros(1))
        self.targets, self.units = torch.tensor(labels), torch.arange(len(labels))
        self.bounds = None


def logits(seed: int, count: int = 6) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)) * 3


def test_distillation_is_the_formula_of_the_paper() -> None:
    student, teacher, batch = logits(0), logits(1), Rows([0, 1, 2, 3, 0, 1])
    loss = tiny.distilled(TASK, soft_targets.cached(teacher), 2.0, 0.3, 0.0, None)(
        lambda ids, mask: student, batch
    )
    p, q = torch.softmax(teacher / 2, -1), torch.softmax(student / 2, -1)
    divergence = (p * (p / q).log()).sum(-1).mean()
    expected = 0.3 * functional.cross_entropy(student, batch.targets) + 0.7 * 4 * divergence
    torch.testing.assert_close(loss, expected)


def test_a_student_equal_to_its_teacher_has_no_divergence() -> None:
    assert TASK.divergence(logits(0), logits(0), 3.0).mean.abs() < 1e-6
    assert TASK.divergence(logits(0), logits(1), 3.0).mean > 0.1


def test_soft_gradients_keep_their_size_when_the_temperature_changes() -> None:
    teacher, norms = logits(1), []
    for temperature in (10.0, 20.0):
        student = logits(0).requires_grad_()
        (temperature**2 * TASK.divergence(student, teacher, temperature).mean).backward()
        norms.append(student.grad.norm())
    assert norms[1] / norms[0] == pytest.approx(1, abs=0.1)


def test_rows_choose_the_cached_logits() -> None:
    cache, batch = logits(1, 10), Rows([0, 1])
    batch.units = torch.tensor([7, 3])
    loss = tiny.distilled(TASK, soft_targets.cached(cache), 1.0, 0.0, 0.0, None)(
        lambda ids, mask: cache[[7, 3]], batch
    )
    assert loss.abs() < 1e-6


def test_a_live_teacher_sees_what_the_student_sees_and_is_not_trained() -> None:
    torch.manual_seed(0)
    teacher, student = (
        torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Dropout(0.5)),
        torch.nn.Linear(5, 4),
    )
    batch = Rows([0, 1, 2])
    batch.inputs = (torch.randn(3, 5),)
    tiny.distilled(TASK, soft_targets.Live(teacher), 2.0, 0.0, 0.0, None)(student, batch).backward()
    assert student.weight.grad is not None and teacher[0].weight.grad is None
    # The student is the teacher without its dropout.
    same = tiny.distilled(TASK, soft_targets.Live(teacher), 2.0, 0.0, 0.0, None)(teacher[0], batch)
    assert float(same) == pytest.approx(0, abs=1e-6)


def test_shares_of_classes_are_labels_too() -> None:
    values, labels = logits(0), torch.tensor([0, 1, 2, 3, 0, 1])
    hard = functional.one_hot(labels, 4).float()
    for smoothing, weights in ((0.0, None), (0.1, torch.tensor([0.5, 1.0, 2.0, 3.0]))):
        expected = TASK.supervised(values, labels, smoothing, weights).mean
        torch.testing.assert_close(TASK.supervised(values, hard, smoothing, weights).mean, expected)
    mixed = TASK.supervised(values, 0.3 * hard + 0.7 * hard.roll(1, 0), 0.0, None).mean
    parts = [TASK.supervised(values, some, 0.0, None).mean for some in (labels, labels.roll(1, 0))]
    torch.testing.assert_close(mixed, 0.3 * parts[0] + 0.7 * parts[1])


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 2.0, 3.0])], ids=["plain", "weighted"])
def test_micro_batches_weighted_by_size_add_up(weights: torch.Tensor | None) -> None:
    values, batch = logits(0, 7), Rows([0, 1, 2, 3, 0, 1, 3])
    whole = TASK.supervised(values, batch.targets, 0.1, weights).mean
    first, second = (
        TASK.supervised(values[part], batch.targets[part], 0.1, weights).mean
        for part in (slice(0, 4), slice(4, 7))
    )
    torch.testing.assert_close(whole, (4 * first + 3 * second) / 7)


@pytest.mark.parametrize(
    "classes", [None, torch.tensor([0.5, 1.0, 2.0, 3.0])], ids=["plain", "class weights"]
)
def test_a_row_of_weight_two_counts_as_two_rows(classes: torch.Tensor | None) -> None:
    labels, repeated, of_rows = [0, 1, 3], [0, 0, 1, 3, 3, 3], torch.tensor([2.0, 1.0, 3.0])
    values, taught = logits(0, 3), logits(1, 3)
    places = torch.tensor([0, 0, 1, 2, 2, 2])
    for smoothing in (0.0, 0.1):
        ones = class_losses.cross_entropy(smoothing, classes)(lambda *_: values[places], Rows(repeated))
        weighted = class_losses.cross_entropy(smoothing, classes, of_rows)(lambda *_: values, Rows(labels))
        torch.testing.assert_close(3 * weighted, 6 * ones)
        ones = tiny.distilled(TASK, soft_targets.cached(taught[places]), 2.0, 0.3, smoothing, classes)(
            lambda *_: values[places], Rows(repeated)
        )
        asked = soft_targets.cached(taught)
        weighted = tiny.distilled(TASK, asked, 2.0, 0.3, smoothing, classes, of_rows)(
            lambda *_: values, Rows(labels)
        )
        torch.testing.assert_close(3 * weighted, 6 * ones)


def test_balanced_weights_have_mean_one_over_the_samples() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_losses.ClassLosses(tiny.TASK).weights(tiny.targets(labels))
    assert weights[labels].mean() == pytest.approx(1)
    assert weights[2] == pytest.approx(6 * float(weights[0]))
