"""Losses over the units of each row agree with torch's, row by row, and so do their gradients."""

import pytest
import torch
from torch.nn import functional

from baton.losses import span_losses

COUNTS = [4, 1, 7]
OWNERS = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
STARTS, ENDS = [2, 0, 0], [3, 0, 5]  # units within their rows


def draw(seed: int, scale: float = 1.0) -> torch.Tensor:
    return (
        torch.randn(len(OWNERS), 2, generator=torch.Generator().manual_seed(seed)) * scale
    ).requires_grad_()


def marks() -> torch.Tensor:
    found = torch.zeros(len(OWNERS), 2, dtype=torch.bool)
    begin = 0
    for count, start, end in zip(COUNTS, STARTS, ENDS, strict=True):
        found[begin + start, 0] = found[begin + end, 1] = True
        begin += count
    return found


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_loss_is_the_cross_entropy_of_each_row(scale: float) -> None:
    weights, mine, theirs = torch.tensor([1.0, 2.0, 0.5]), draw(0, scale), draw(0, scale)
    found = span_losses.supervised(mine, marks(), OWNERS, 3, weights)
    expected = torch.zeros(())
    for row, part in enumerate(theirs.split(COUNTS)):
        both = [
            functional.cross_entropy(part[None, :, side], torch.tensor([(STARTS, ENDS)[side][row]]))
            for side in (0, 1)
        ]
        expected = expected + weights[row] * (both[0] + both[1]) / 2
    torch.testing.assert_close(found.total, expected)
    assert found.count == 3
    found.total.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_any_of_several_answers_is_right() -> None:
    logits, both = draw(1), marks()
    both[3, 0] = True  # the first row's answer may also start at unit 3
    found = span_losses.supervised(logits, both, OWNERS, 3).total
    own = logits[:4, 0].softmax(0)
    rest = span_losses.supervised(logits, marks(), OWNERS, 3).total + own[2].log() / 2
    torch.testing.assert_close(found, rest - (own[2] + own[3]).log() / 2)


def test_an_answer_that_is_not_read_teaches_nothing() -> None:
    logits, few = draw(2), marks()
    few[:4] = False
    found = span_losses.supervised(logits, few, OWNERS, 3)
    found.total.backward()
    assert found.total.isfinite() and found.count == 3 and (logits.grad[:4] == 0).all()
    assert (logits.grad[5:] != 0).any()


def test_the_divergence_is_that_of_torch() -> None:
    student, teacher = draw(3), draw(4).detach()
    found = span_losses.divergence(student, teacher, OWNERS, 3, 2.0, torch.tensor([1.0, 1.0, 3.0]))
    expected = torch.zeros(())
    for row, (own, taught) in enumerate(zip(student.split(COUNTS), teacher.split(COUNTS), strict=True)):
        kl = (
            functional.kl_div((own / 2).log_softmax(0), (taught / 2).softmax(0), reduction="none")
            .sum(0)
            .mean()
        )
        expected = expected + (3 if row == 2 else 1) * kl
    torch.testing.assert_close(found.total, expected)
    assert span_losses.divergence(teacher, teacher, OWNERS, 3, 2.0).total.abs() < 1e-6
