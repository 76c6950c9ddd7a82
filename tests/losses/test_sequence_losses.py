"""The loss of target tokens, and steps whose parts have targets of different lengths."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from baton.batches.sampler import TrainingBatches
from baton.distill import soft_targets
from baton.losses import loss, task_losses
from tests import first_gradient, tiny, tiny_sequences


def test_a_row_s_loss_is_the_cross_entropy_of_its_tokens_in_transformers(tmp_path: Path) -> None:
    """Transformers' own loss of the same labels is an independent implementation, shift included."""
    split, model = tiny_sequences.split(tmp_path), tiny_sequences.model(tmp_path)
    batch = split.batch(np.arange(4))
    labels = torch.full(batch.decoder_ids.shape, -100)
    labels.view(-1)[batch.places] = batch.targets
    expected = model.backbone(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels
    ).loss
    found = loss.supervised(task_losses.of(split.targets.spec), 0.0, None)(model, batch)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_parts_of_a_step_add_up_to_the_whole(tmp_path: Path, smoothing: float) -> None:
    split, model = tiny_sequences.split(tmp_path), tiny_sequences.model(tmp_path).double()
    of_rows = torch.linspace(0.5, 1.5, len(split), dtype=torch.float64)
    loss_fn = loss.supervised(InDoubles(task_losses.of(split.targets.spec)), smoothing, None, of_rows)
    losses, gradients = [], []
    for accumulation in (1, 4):
        batches = TrainingBatches(split, 12, accumulation, 0)
        model.zero_grad()
        parts = batches.micro_batches(0)
        assert len(parts) == accumulation
        counts = [len(batch.targets) for batch, _ in parts]
        assert accumulation == 1 or len({*counts}) > 1, "targets differ in length"
        total = sum(share * loss_fn(model, batch) for batch, share in parts)
        total.backward()
        losses.append(total.detach())
        gradients.append(torch.cat([one.grad.flatten() for one in model.parameters()]))
    torch.testing.assert_close(losses[0], losses[1], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("taught", [False, True], ids=["labels", "teacher"])
@pytest.mark.parametrize(("parts", "ranks"), [(4, 1), (2, 3)])
def test_parts_and_ranks_give_the_gradient_of_the_whole_step(
    tmp_path: Path, taught: bool, parts: int, ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weighed by rows (the control) they do not. Losses are in double here."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    split, student = tiny_sequences.split(tmp_path), tiny_sequences.model(tmp_path).double()
    torch.manual_seed(1)
    teacher = tiny_sequences.model(tmp_path).double()
    with torch.no_grad():
        for one in teacher.parameters():
            one.add_(0.1 * torch.randn_like(one))
    task = task_losses.of(split.targets.spec)
    loss_fn = loss.supervised(task, 0.1, None)
    if taught:
        loss_fn = tiny.distilled(task, soft_targets.Live(teacher), 2.0, 0.3, 0.1, None)

    def gradient(parts: int, ranks: int) -> torch.Tensor:
        student.zero_grad()
        return first_gradient.of(student, split, loss_fn, parts, ranks, packs=False)

    whole, found = gradient(1, 1), gradient(parts, ranks)
    assert (whole - found).abs().max() < 1e-12
    monkeypatch.setattr(type(split.targets), "counts", property(lambda own: np.ones(len(own), np.int64)))
    assert (whole - gradient(parts, ranks)).abs().max() > 1e-6


class InDoubles:
    """Cross-entropy without the cast to fp32, whose rounding is larger than 1e-12."""

    def __init__(self, task: loss.TaskLosses) -> None:
        self.task = task

    def supervised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float,
        weights: torch.Tensor | None,
        of_rows: torch.Tensor | None = None,
        bounds: torch.Tensor | None = None,
    ) -> loss.Sum:
        single = self.task.supervised(logits, targets, label_smoothing, weights, of_rows, bounds)
        each = functional.cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="none")
        total = (each * of_rows).sum()
        torch.testing.assert_close(single.total.double(), total, rtol=1e-6, atol=1e-6)
        return loss.Sum(total, single.count)


def test_weights_of_rows_apply_to_all_their_tokens(tmp_path: Path) -> None:
    split, model = tiny_sequences.split(tmp_path), tiny_sequences.model(tmp_path)
    task, batch = task_losses.of(split.targets.spec), split.batch(np.array([2, 0]))
    weights = torch.zeros(len(split))
    weights[2] = 3.0
    found = loss.supervised(task, 0.0, None, weights)(model, batch)
    alone = loss.supervised(task, 0.0, None)(model, split.batch(np.array([2])))
    counts = split.targets.counts
    torch.testing.assert_close(found * float(counts[0] + counts[2]), 3 * alone * float(counts[2]))
