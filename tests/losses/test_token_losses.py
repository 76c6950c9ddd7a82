"""Losses of words: what a teacher did not read teaches nothing."""

import torch
from torch.nn import functional

from baton.contracts.task_spec import Tokens
from baton.losses.token_losses import TokenLosses

LOSSES = TokenLosses(Tokens(("LOC",), "space"))
STUDENT = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.1, -1.0], [2.0, 0.0, 1.0]])
TEACHER = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.5, 1.5, 0.0]])


def divergences(temperature: float) -> torch.Tensor:
    """Return KL(teacher || student) of each word, (words,), by its definition."""
    own, other = (functional.softmax(logits / temperature, dim=1) for logits in (STUDENT, TEACHER))
    return (other * (other / own).log()).sum(dim=1)


def test_a_word_that_the_teacher_did_not_read_teaches_nothing() -> None:
    each = divergences(2.0)
    assert each[1] > 0.01, "it would teach that all tags are equally probable"
    found = LOSSES.divergence(STUDENT, TEACHER, 2.0)
    torch.testing.assert_close(found.total, each[0] + each[2])
    assert found.count == 3, "parts of a step weigh by the words that the student reads"


def test_weights_of_rows_apply_to_the_others() -> None:
    each, weights = divergences(1.0), torch.tensor([0.5, 3.0, 2.0])
    found = LOSSES.divergence(STUDENT, TEACHER, 1.0, weights)
    torch.testing.assert_close(found.total, 0.5 * each[0] + 2.0 * each[2])


def test_without_such_words_it_is_that_of_classes() -> None:
    read = TEACHER[[0, 2]], STUDENT[[0, 2]]
    found = LOSSES.divergence(read[1], read[0], 1.0)
    torch.testing.assert_close(found.total, divergences(1.0)[[0, 2]].sum())
