"""Losses of numbers against their definitions."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from baton.contracts.task_spec import Numbers
from baton.distill import soft_targets
from baton.losses.number_losses import NumberLosses, _standard
from tests import tiny

SPEC = Numbers(("a", "b"), (10.0, -2.0), (4.0, 0.5), "smooth_l1", 0.9)
TASK = NumberLosses(SPEC)
TRUE = torch.tensor([[10.0, -2.0], [14.0, -2.5], [22.0, 0.0], [9.0, -3.0], [2.0, -1.0]], dtype=torch.float64)
STANDARD = torch.tensor([[0.0, 0.0], [1.0, -1.0], [3.0, 4.0], [-0.25, -2.0], [-2.0, 2.0]])  # by hand


def logits(seed: int, rows: int = 5) -> torch.Tensor:
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed)) * 2


@pytest.mark.parametrize("kind", ["smooth_l1", "mse"])
def test_the_loss_is_that_of_standardised_numbers(kind: Any) -> None:
    task = NumberLosses(replace(SPEC, loss=kind))
    fit = functional.smooth_l1_loss if kind == "smooth_l1" else functional.mse_loss
    found = task.supervised(logits(0), TRUE, 0.0, None)
    assert found.count == 5
    torch.testing.assert_close(found.mean, fit(logits(0), STANDARD))
    torch.testing.assert_close(task.divergence(logits(0), logits(1), 1.0).mean, fit(logits(0), logits(1)))


def test_smooth_l1_is_hubers_with_a_threshold_of_one_deviation() -> None:
    off = (logits(0) - STANDARD).abs()
    by_hand = torch.where(off < 1, off**2 / 2, off - 0.5).mean()
    torch.testing.assert_close(TASK.supervised(logits(0), TRUE, 0.0, None).mean, by_hand)


def test_parts_add_up_and_a_row_of_weight_two_counts_as_two_rows() -> None:
    whole = TASK.supervised(logits(0), TRUE, 0.0, None)
    parts = [TASK.supervised(logits(0)[own], TRUE[own], 0.0, None) for own in (slice(2), slice(2, 5))]
    torch.testing.assert_close(whole.total, parts[0].total + parts[1].total)
    assert whole.count == sum(part.count for part in parts)
    places, of_rows = torch.tensor([0, 0, 1, 3, 3, 3]), torch.tensor([2.0, 1.0, 0.0, 3.0, 0.0])
    twice = TASK.supervised(logits(0)[places], TRUE[places], 0.0, None)
    torch.testing.assert_close(TASK.supervised(logits(0), TRUE, 0.0, None, of_rows).total, twice.total)
    twice = TASK.divergence(logits(0)[places], logits(1)[places], 1.0)
    torch.testing.assert_close(TASK.divergence(logits(0), logits(1), 1.0, of_rows).total, twice.total)


def test_distillation_adds_both_losses() -> None:
    loss = tiny.distilled(TASK, soft_targets.cached(logits(1)), 1.0, 0.3, 0.0, None)

    class Rows:
        inputs, targets = (torch.zeros(1),), TRUE
        rows = units = torch.arange(5)
        bounds = None

        def __len__(self) -> int:
            return 5

    found = loss(lambda _: logits(0), Rows())  # type: ignore[arg-type]
    hard = functional.smooth_l1_loss(logits(0), STANDARD)
    soft = functional.smooth_l1_loss(logits(0), logits(1))
    torch.testing.assert_close(found, 0.3 * hard + 0.7 * soft)


def test_accumulated_parts_give_the_gradient_of_the_whole_step() -> None:
    """Uneven parts of a step weigh by their share of its targets, as in `TrainingBatches.micro_batches`."""
    features, of_rows = logits(3, 5).double(), torch.tensor([0.5, 1.0, 2.0, 1.0, 0.5])
    gradients = []
    for parts in ([slice(5)], [slice(2), slice(2, 5)], [slice(1), slice(1, 2), slice(2, 5)]):
        weight = torch.full((2, 2), 0.3, dtype=torch.float64, requires_grad=True)
        for part in parts:
            found = TASK.supervised(features[part] @ weight, TRUE[part], 0.0, None, of_rows[part])
            (found.mean * (found.count / 5)).backward()
        assert weight.grad is not None
        gradients.append(weight.grad)
    for one in gradients[1:]:
        torch.testing.assert_close(one, gradients[0])


def test_the_constants_of_a_task_stay_on_the_device() -> None:
    first, second = (_standard(SPEC, torch.device("cpu")) for _ in range(2))
    assert first[0] is second[0] and first[0].dtype == torch.float64
