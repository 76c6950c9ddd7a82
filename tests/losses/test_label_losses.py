"""Losses of several labels per row against their definitions."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional

from baton.contracts.targets import Targets
from baton.contracts.task_spec import Labels
from baton.distill import soft_targets
from baton.losses.label_losses import LabelLosses
from tests import tiny

TASK = LabelLosses(Labels(("a", "b", "c")))


def logits(seed: int, rows: int = 5) -> torch.Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed)) * 3


TRUE = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]])


def test_the_loss_is_binary_cross_entropy_of_rows_and_labels() -> None:
    found = TASK.supervised(logits(0), TRUE, 0.0, None)
    assert found.count == 5
    torch.testing.assert_close(found.mean, functional.binary_cross_entropy_with_logits(logits(0), TRUE))
    p = torch.sigmoid(logits(0))
    smoothed = 0.8 * TRUE + 0.1
    by_hand = -(smoothed * p.log() + (1 - smoothed) * (1 - p).log()).mean()
    torch.testing.assert_close(TASK.supervised(logits(0), TRUE, 0.2, None).mean, by_hand)


def test_parts_add_up_and_a_row_of_weight_two_counts_as_two_rows() -> None:
    weights = torch.tensor([0.5, 1.0, 2.0])
    whole = TASK.supervised(logits(0), TRUE, 0.1, weights)
    first, second = (
        TASK.supervised(logits(0)[part], TRUE[part], 0.1, weights) for part in (slice(2), slice(2, 5))
    )
    torch.testing.assert_close(whole.total, first.total + second.total)
    assert whole.count == first.count + second.count
    places = torch.tensor([0, 0, 1, 3, 3, 3])
    of_rows = torch.tensor([2.0, 1.0, 0.0, 3.0, 0.0])
    twice = TASK.supervised(logits(0)[places], TRUE[places], 0.1, weights)
    torch.testing.assert_close(TASK.supervised(logits(0), TRUE, 0.1, weights, of_rows).total, twice.total)
    twice = TASK.divergence(logits(0)[places], logits(1)[places], 2.0)
    torch.testing.assert_close(TASK.divergence(logits(0), logits(1), 2.0, of_rows).total, twice.total)


def test_the_divergence_is_that_of_two_coins_per_label() -> None:
    expected = kl_divergence(Bernoulli(logits=logits(1) / 2), Bernoulli(logits=logits(0) / 2)).mean()
    torch.testing.assert_close(TASK.divergence(logits(0), logits(1), 2.0).mean, expected)
    assert TASK.divergence(logits(0), logits(0), 3.0).total.abs() < 1e-6
    loss = tiny.distilled(TASK, soft_targets.cached(logits(1)), 2.0, 0.3, 0.0, None)

    class Rows:
        inputs, targets, units, bounds = (torch.zeros(1),), TRUE, torch.arange(5), None

    hard = functional.binary_cross_entropy_with_logits(logits(0), TRUE)
    torch.testing.assert_close(loss(lambda _: logits(0), Rows()), 0.3 * hard + 0.7 * 4 * expected)


def test_extreme_logits_have_finite_losses_and_gradients() -> None:
    student = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-200.0, 200.0, 90.0]])
    total = TASK.divergence(student, teacher, 1.0).total + TASK.supervised(student, TRUE[:1], 0.0, None).total
    total.backward()
    assert torch.isfinite(total) and torch.isfinite(student.grad).all()


def test_balanced_weights_make_both_sides_of_a_label_equal() -> None:
    rows = [[0, 2], [], [0, 1, 2], [1], [2]]
    offsets = np.cumsum([0, *map(len, rows)])
    found = TASK.weights(
        Targets(TASK.spec, np.array([label for row in rows for label in row], np.int64), offsets)
    )
    assert found.tolist() == pytest.approx([3 / 2, 3 / 2, 2 / 3])
    none = TASK.weights(Targets(TASK.spec, np.array([0], np.int64), np.array([0, 1, 1])))
    assert none.tolist() == [1.0, 1.0, 1.0]  # a label that no row has changes nothing


def test_a_new_head_starts_at_the_share_of_rows_with_each_label() -> None:
    found = TASK.prior(Targets(TASK.spec, np.array([0, 1, 0], np.int64), np.array([0, 2, 3, 3])))
    # (2 + 1/2) / 4, (1 + 1/2) / 4 and (0 + 1/2) / 4 of three rows
    torch.testing.assert_close(found.sigmoid(), torch.tensor([0.625, 0.375, 0.125]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_do_not_teach_a_label_to_rows_without_it(smoothing: float) -> None:
    """The best answer for a row is its smoothed target, whatever the label weighs."""
    answers = torch.linspace(0.001, 0.999, 999)
    for target in (0.0, 1.0):
        costs = [
            TASK.supervised(
                answer.logit().expand(1, 3), torch.full((1, 3), target), smoothing, torch.full((3,), 99.0)
            ).total
            for answer in answers
        ]
        best = float(answers[torch.stack(costs).argmin()])
        assert best == pytest.approx(target * (1 - smoothing) + smoothing / 2, abs=0.0011)


def test_weights_are_those_of_torch_at_log_odds_of_balanced_labels() -> None:
    weights = torch.tensor([0.5, 1.0, 7.0])
    expected = functional.binary_cross_entropy_with_logits(
        logits(0) + weights.log(), TRUE, pos_weight=weights
    )
    torch.testing.assert_close(TASK.supervised(logits(0), TRUE, 0.0, weights).mean, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_balanced_weights_leave_probabilities_as_they_are(smoothing: float, alpha: float) -> None:
    """A model with one logit per label and group of rows is trained to convergence.

    Its probabilities are the smoothed shares of each group, in closed form, though one label has 1% of the
    rows and another 90%; with a teacher who knows them, too.
    """
    shares = torch.tensor([[0.01, 0.3, 0.9], [0.05, 0.5, 0.8]], dtype=torch.float64)
    rows = 1000
    true = torch.stack([torch.arange(rows)[:, None] < (share * rows).round() for share in shares]).flatten(
        0, 1
    )
    group, marked = torch.arange(2 * rows) // rows, true.double()
    targets = Targets(
        TASK.spec, true.nonzero()[:, 1].numpy(), np.concatenate([[0], true.sum(1).cumsum(0).numpy()])
    )
    weights = TASK.weights(targets)
    assert weights[0] > 30 and weights[2] < 0.2
    expected = shares * (1 - smoothing) + smoothing / 2

    @dataclass(frozen=True)
    class Rows:
        inputs: tuple[torch.Tensor, ...]
        targets: torch.Tensor
        units: torch.Tensor
        bounds: None = None

    batch = Rows((group,), marked.float(), torch.arange(len(group)))

    fitted = torch.zeros(2, 3, requires_grad=True)
    teacher = soft_targets.cached(expected.logit().float()[group])
    loss = tiny.distilled(TASK, teacher, 2.0, alpha, smoothing, weights)
    optimizer = torch.optim.LBFGS([fitted], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(lambda places: fitted[places], batch)
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(fitted.sigmoid().double(), expected, rtol=2e-3, atol=0)


def test_a_label_that_every_row_has_is_learned() -> None:
    """Rows without it over rows with it is 0: as a weight, it would hide the label from the loss."""
    always = TASK.weights(Targets(TASK.spec, np.zeros(4, np.int64), np.arange(5)))
    assert always.tolist() == [1.0, 1.0, 1.0]
    own = torch.zeros(4, 3, requires_grad=True)
    marked = torch.tensor([[1.0, 0, 0]]).expand(4, 3)
    TASK.supervised(own, marked, 0.0, always).total.backward()
    assert (own.grad[:, 0] < -0.1).all()
