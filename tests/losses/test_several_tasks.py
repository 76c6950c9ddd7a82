"""Test that a batch has the loss of its own task, times that task's weight."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from baton.contracts.task_batch import TaskBatch
from baton.losses import loss, several_tasks, task_losses
from tests import tiny, tiny_tasks

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]])
TARGETS = {"main": torch.tensor([0, 2]), "words": torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])}


def model(*inputs: Any) -> torch.Tensor:
    return LOGITS


def batch(task: str) -> TaskBatch:
    own: Any = SimpleNamespace(
        inputs=(LOGITS,), targets=TARGETS[task], rows=torch.arange(2), units=torch.arange(2), bounds=None
    )
    return TaskBatch(task, own)


def test_each_task_has_its_own_loss_times_its_weight() -> None:
    own = {
        "main": loss.supervised(task_losses.of(tiny.TASK), 0.1, None),
        "words": loss.supervised(task_losses.of(tiny_tasks.SPECS["words"]), 0.0, None),
    }
    weighted = several_tasks.of(
        {
            "main": several_tasks.Weighted(own["main"], 1.0),
            "words": several_tasks.Weighted(own["words"], 0.25),
        }
    )
    main, words = (weighted(model, batch(task)) for task in own)
    assert torch.equal(main, own["main"](model, batch("main").own)), "weight 1 changes no bit"
    assert float(words) == pytest.approx(0.25 * float(own["words"](model, batch("words").own)), rel=1e-6)
    assert float(main) != pytest.approx(float(words))
