"""Word-level distillation of texts: a live teacher's probabilities of each reference token."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from baton.distill import soft_targets
from baton.losses import task_losses
from baton.models.sequence_model import student
from tests import tiny, tiny_sequences


def test_the_loss_is_cross_entropy_and_divergence_of_the_target_tokens(tmp_path: Path) -> None:
    split, teacher = tiny_sequences.split(tmp_path), tiny_sequences.model(tmp_path)
    small = student(teacher, (0, 1), (0,), tiny.training(), "sdpa").eval()
    batch = split.batch(np.array([3, 0, 7]))
    live = soft_targets.Live(teacher)
    loss_fn = tiny.distilled(task_losses.of(split.targets.spec), live, 2.0, 0.3, 0.0, None)
    # The closed form, token by token, from both models' whole logits.
    whole = [
        model.backbone(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            decoder_input_ids=batch.decoder_ids,
        ).logits.flatten(0, 1)
        for model in (small, teacher)
    ]
    own, taught = (one[batch.places].double() for one in whole)
    hard = functional.cross_entropy(own, batch.targets)
    first, second = (functional.log_softmax(one / 2, dim=-1) for one in (taught, own))
    soft = (first.exp() * (first - second)).sum(dim=-1).mean()
    expected = 0.3 * hard + 0.7 * 4 * soft
    torch.testing.assert_close(loss_fn(small, batch).double(), expected, rtol=1e-5, atol=1e-6)
    assert len(batch.targets) == int(split.targets.counts[[3, 0, 7]].sum())
