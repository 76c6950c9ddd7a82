"""Losses over the units of each row agree with torch's, row by row, and so do their gradients."""

import pytest
import torch
from torch.nn import functional

from baton.contracts.task_spec import Spans
from baton.losses.span_losses import SpanLosses

TASK = SpanLosses(Spans(30))
COUNTS = [4, 1, 7]
BOUNDS = torch.tensor([0, 4, 5, 12])
OWNERS = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
STARTS, ENDS = [2, 0, 0], [3, 0, 5]  # units within their rows


def draw(seed: int, scale: float = 1.0) -> torch.Tensor:
    return (
        torch.randn(len(OWNERS), 2, generator=torch.Generator().manual_seed(seed)) * scale
    ).requires_grad_()


def marks() -> torch.Tensor:
    found = torch.zeros(len(OWNERS), dtype=torch.int64)
    for begin, start, end in zip(BOUNDS.tolist(), STARTS, ENDS, strict=False):
        found[begin + start] += Spans.STARTS
        found[begin + end] += Spans.ENDS
    return found


def hard(logits: torch.Tensor, own: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    of_units = None if weights is None else weights[OWNERS]
    found = TASK.supervised(logits, own, 0.0, None, of_units, BOUNDS)
    assert found.count == 3
    return found.total


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_loss_is_the_cross_entropy_of_each_row(scale: float) -> None:
    weights, mine, theirs = torch.tensor([1.0, 2.0, 0.5]), draw(0, scale), draw(0, scale)
    found = hard(mine, marks(), weights)
    expected = torch.zeros(())
    for row, part in enumerate(theirs.split(COUNTS)):
        both = [
            functional.cross_entropy(part[None, :, side], torch.tensor([(STARTS, ENDS)[side][row]]))
            for side in (0, 1)
        ]
        expected = expected + weights[row] * (both[0] + both[1]) / 2
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_any_of_several_answers_is_right() -> None:
    logits, both = draw(1), marks()
    both[3] += Spans.STARTS  # the first row's answer may also start at unit 3
    own = logits[:4, 0].softmax(0)
    rest = hard(logits, marks()) + own[2].log() / 2
    torch.testing.assert_close(hard(logits, both), rest - (own[2] + own[3]).log() / 2)


def test_an_answer_that_is_not_read_teaches_nothing() -> None:
    logits, few = draw(2), marks()
    few[:4] = 0
    found = hard(logits, few)
    found.backward()
    assert found.isfinite() and (logits.grad[:4] == 0).all()
    assert (logits.grad[5:] != 0).any()


def test_the_divergence_is_that_of_torch() -> None:
    student, teacher, weights = draw(3), draw(4).detach(), torch.tensor([1.0, 1.0, 3.0])
    found = TASK.divergence(student, teacher, 2.0, weights[OWNERS], BOUNDS)
    expected = torch.zeros(())
    for row, (own, taught) in enumerate(zip(student.split(COUNTS), teacher.split(COUNTS), strict=True)):
        kl = (
            functional.kl_div((own / 2).log_softmax(0), (taught / 2).softmax(0), reduction="none")
            .sum(0)
            .mean()
        )
        expected = expected + weights[row] * kl
    torch.testing.assert_close(found.total, expected)
    assert TASK.divergence(teacher, teacher, 2.0, None, BOUNDS).total.abs() < 1e-6


def test_a_unit_that_the_teacher_did_not_read_has_no_chance() -> None:
    """Negative control: with its logits of 0, such a unit would get a share of the teacher's probability."""
    student, teacher = draw(5), draw(6).detach() - 200  # 0 would be by far the highest
    teacher[[2, 9]] = 0
    found = TASK.divergence(student, teacher, 1.0, None, BOUNDS).total
    expected = torch.zeros(())
    for own, taught in zip(student.split(COUNTS), teacher.split(COUNTS), strict=True):
        read = taught.any(1)
        p = taught[read].softmax(0)
        expected = expected + (p * (p.log() - own.log_softmax(0)[read])).sum(0).mean()
    torch.testing.assert_close(found, expected)
    found.backward()
    assert student.grad.isfinite().all()


@pytest.mark.gpu
def test_cuda_gives_the_losses_of_the_processor_without_waiting() -> None:
    """The same bits each time, too."""
    found: list[list[torch.Tensor]] = []
    for device in ("cpu", "cuda", "cuda"):
        student, teacher, own, bounds = (
            part.detach().to(device) for part in (draw(7), draw(8), marks(), BOUNDS)
        )
        student.requires_grad_()
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
        hard = TASK.supervised(student, own, 0.0, None, None, bounds).total
        soft = TASK.divergence(student, teacher, 2.0, None, bounds).total
        (hard + soft).backward()
        torch.cuda.set_sync_debug_mode("default")
        assert student.grad is not None
        found.append([part.detach().cpu() for part in (hard, soft, student.grad)])
    for cpu, once, again in zip(*found, strict=True):
        torch.testing.assert_close(once, cpu)
        assert torch.equal(once, again)
