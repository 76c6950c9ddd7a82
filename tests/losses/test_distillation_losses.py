"""The distillation losses against their definitions, written out without vectors."""

import math

import pytest
import torch

from baton.contracts.task_spec import Classes
from baton.losses import distillation_losses as losses
from baton.losses.class_losses import ClassLosses

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0, 3.0, 1.0, -2.0], [1.0, 1.0, 1.0, 1.0]])
TAUGHT = torch.tensor([[4.0, -2.0, 0.0, 1.0], [1.0, 2.0, 0.0, -3.0], [0.0, 0.5, 2.0, 1.0]])
CLASSES = torch.tensor([0, 1, 3])


def kl(first: list[float], second: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(first, second, strict=True))


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_decoupled_is_both_divergences_with_their_weights(temperature: float) -> None:
    found = losses.decoupled(LOGITS, TAUGHT, CLASSES, temperature, 0.5, 8.0)
    for row, own in enumerate(CLASSES.tolist()):
        student, teacher = (softmax((each[row] / temperature).tolist()) for each in (LOGITS, TAUGHT))
        of_class = kl([teacher[own], 1 - teacher[own]], [student[own], 1 - student[own]])
        rest = [
            [value / (1 - all_[own]) for place, value in enumerate(all_) if place != own]
            for all_ in (teacher, student)
        ]
        assert found[row].item() == pytest.approx(0.5 * of_class + 8 * kl(*rest), rel=1e-5)


def test_with_the_teachers_own_weight_decoupled_is_the_plain_divergence() -> None:
    """The paper's equation 5: KL = of the class + (1 - p) * among the others."""
    for row in range(3):
        student, teacher, own = (each[row : row + 1] for each in (LOGITS, TAUGHT, CLASSES))
        others = 1 - teacher.softmax(-1)[0, own].item()
        plain = ClassLosses(Classes(())).divergence(student, teacher, 1.0).total
        assert losses.decoupled(student, teacher, own, 1.0, 1.0, others).sum() == pytest.approx(plain.item())


def test_decoupled_has_finite_gradients_where_both_are_sure() -> None:
    student = torch.tensor([[90.0, -90.0, 0.0]], requires_grad=True)
    losses.decoupled(
        student, torch.tensor([[-90.0, 90.0, 0.0]]), torch.tensor([0]), 1.0, 1.0, 8.0
    ).sum().backward()
    assert student.grad is not None and student.grad.isfinite().all()


def test_a_wrong_answer_and_that_of_the_label_change_places() -> None:
    found = losses.corrected(TAUGHT, CLASSES)
    assert found[:2].tolist() == TAUGHT[:2].tolist(), "right answers stay"
    assert found[2].tolist() == [0.0, 0.5, 1.0, 2.0]
    assert (found.argmax(1) == CLASSES).all()


def test_standardised_logits_have_no_scale() -> None:
    found = losses.standardised(LOGITS[:2])
    assert torch.allclose(found, losses.standardised(7 * LOGITS[:2] + 3), atol=1e-6)
    assert torch.allclose(found.mean(-1), torch.zeros(2), atol=1e-6)
    assert torch.allclose(found.std(-1, correction=0), torch.ones(2))
    assert losses.standardised(LOGITS[2:]).eq(0).all(), "equal logits have no deviation to divide by"


def vectors(width: int, seed: int) -> torch.Tensor:
    return torch.randn(2, 5, width, generator=torch.Generator().manual_seed(seed))


MASK = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])


def test_hidden_states_are_compared_over_tokens_alone() -> None:
    student, teacher = vectors(6, 0), vectors(6, 1)
    found = losses.hidden(student, teacher, MASK)
    assert found[0].item() == pytest.approx((student[0, :3] - teacher[0, :3]).square().mean().item())
    student[0, 3:] += 100
    assert torch.equal(losses.hidden(student, teacher, MASK), found)


def test_relations_by_their_definition_for_other_widths() -> None:
    student, teacher = vectors(6, 0), vectors(12, 1)
    found = losses.relations(student, teacher, 3, MASK)
    for row, tokens in enumerate((3, 5)):
        total = 0.0
        for head in range(3):
            own, taught = (
                student[row, :tokens, 2 * head : 2 * head + 2],
                teacher[row, :tokens, 4 * head : 4 * head + 4],
            )
            for token in range(tokens):
                first = softmax([float(taught[token] @ other) / 2 for other in taught])
                second = softmax([float(own[token] @ other) / math.sqrt(2) for other in own])
                total += kl(first, second)
        assert found[row].item() == pytest.approx(total / 3 / tokens, rel=1e-5)
    assert losses.relations(teacher, teacher, 3, MASK).abs().max() < 1e-6


def test_padding_has_no_gradient() -> None:
    student = vectors(6, 0).requires_grad_()
    losses.relations(student, vectors(6, 1), 2, MASK).sum().backward()
    assert student.grad is not None and student.grad.isfinite().all()
    assert student.grad[0, 3:].eq(0).all() and student.grad[0, :3].ne(0).any()
