"""Mixup of texts inside the encoder: mixed embeddings are read as those of tokens would be, per family."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baton import params
from baton.arrays.text_arrays import TextArrays
from baton.batches.augmentation import mixing
from baton.batches.augmentation.text_variation import TextVariation
from baton.batches.text_batch import TextBatch
from baton.batches.text_batches import TextSplit
from baton.distill import soft_targets
from baton.losses.class_losses import cross_entropy
from baton.models import text_model
from baton.texts.document_windows import Frame
from tests import first_gradient, tiny
from tests.models.test_packed import make, split

FAMILIES = [*text_model.PACKABLE, "mpnet"]


def mixed(documents: TextSplit, **changes: float) -> TextSplit:
    """Return the documents of `test_packed`, which have no special tokens, mixed in training."""
    settings = {"delete": 0.0, "swap": 0.0, "mask": 0.0, "mixup": 0.5} | changes
    own = TextVariation(params.TextAugmentation.model_validate(settings), Frame([], [], 64), None)
    return replace(documents, variation=own, ids=lambda: list(map(str, range(len(documents)))))


def batch_of(documents: TextSplit, rows: list[int]) -> TextBatch:
    batch = documents.training_batch(np.array(rows), np.array(rows), 0, 0)
    assert isinstance(batch, TextBatch)
    return batch


def as_tokens(model: text_model.TextClassifier, batch: TextBatch) -> tuple[Any, tuple[Any, ...]]:
    """Return a model with a token for each mixed embedding, and the batch with these tokens.

    The embeddings are computed here, place by place.
    """
    assert batch.partners is not None and batch.shares is not None
    own = copy.deepcopy(model)
    table = own.backbone.get_input_embeddings()
    made, ids = [], torch.full_like(batch.input_ids, 1)  # 1 is the padding token
    for window, length in enumerate(batch.attention_mask.sum(1).tolist()):
        for place in range(length):
            first, second = batch.shares[window, place].tolist()
            vector = first * table.weight[batch.input_ids[window, place]]
            made.append(vector + second * table.weight[batch.partners[window, place]])
            ids[window, place] = len(table.weight) + len(made) - 1
    weights = torch.cat([table.weight, torch.stack(made)])
    own.backbone.set_input_embeddings(nn.Embedding.from_pretrained(weights.detach(), padding_idx=1))
    return own, (ids, batch.attention_mask, batch.owners, None, batch.types)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_reads_mixed_embeddings_as_those_of_tokens(family: str) -> None:
    model = make(family).eval()
    for documents in (split(), split([[5], [16], [9], [1]])):
        batch = batch_of(mixed(documents), [2, 0, 3, 1])
        other, inputs = as_tokens(model, batch)
        found = model(*batch.inputs)
        torch.testing.assert_close(found, other(*inputs), atol=1e-5, rtol=1e-4)
        plain = model(*documents.batch(np.array([2, 0, 3, 1])).inputs)
        assert not torch.allclose(found, plain, atol=1e-3), "negative control"


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_so_does_each_pooling(pooling: str) -> None:
    model = make("bert", pooling).eval()
    batch = batch_of(mixed(split()), [2, 0, 3, 1])
    other, inputs = as_tokens(model, batch)
    torch.testing.assert_close(model(*batch.inputs), other(*inputs), atol=1e-5, rtol=1e-4)


def test_types_reach_the_encoder() -> None:
    model, documents = make("bert").eval(), split()
    types = (np.arange(len(documents.arrays.tokens)) % 2).astype(np.int8)
    typed = mixed(replace(documents, arrays=replace(documents.arrays, types=types)))
    batch = batch_of(typed, [2, 0, 3, 1])
    other, inputs = as_tokens(model, batch)
    found = model(*batch.inputs)
    torch.testing.assert_close(found, other(*inputs), atol=1e-5, rtol=1e-4)
    untyped = batch_of(mixed(documents), [2, 0, 3, 1])
    assert not torch.allclose(found, model(*untyped.inputs), atol=1e-4), "negative control"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_document_mixed_with_itself_has_its_loss_and_gradients(family: str) -> None:
    model, documents = make(family), split()
    outcomes = []
    for batch in (documents.batch(np.array([2])), batch_of(mixed(documents), [2])):
        model.zero_grad()
        logits = model(*batch.inputs)
        logits.logsumexp(-1).sum().backward()
        gradients = {name: own.grad for name, own in model.named_parameters() if own.grad is not None}
        outcomes.append((logits.detach(), gradients))
    (expected, gradients), (found, own) = outcomes
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert own.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, atol=2e-5, rtol=1e-3)


def many(rows: int = 24) -> TextSplit:
    """Return documents of one to three windows."""
    random = np.random.default_rng(0)
    return split([random.integers(1, 17, count).tolist() for count in random.integers(1, 4, rows)])


@pytest.mark.parametrize("taught", [False, True])
def test_the_gradient_of_a_step_is_that_of_its_parts_on_all_ranks(taught: bool) -> None:
    model, documents = make("bert"), mixed(many(), delete=0.2, swap=0.2)
    loss_fn = cross_entropy(0.1, torch.tensor([0.5, 2.0, 1.0]))
    if taught:
        teacher = soft_targets.Live(make("electra"))
        loss_fn = tiny.distilled(tiny.LOSSES, teacher, 2.0, 0.3, 0.1, None)
    found = []
    for parts, ranks in [(1, 1), (4, 1), (2, 2), (1, 3)]:
        model.zero_grad()
        found.append(first_gradient.of(model, documents, loss_fn, parts, ranks, packs=False))
    for gradient in found[1:]:
        torch.testing.assert_close(gradient, found[0], atol=1e-5, rtol=1e-3)
    model.zero_grad()
    plain = replace(documents, variation=None)
    assert not torch.allclose(
        first_gradient.of(model, plain, loss_fn, 1, 1, packs=False), found[0], atol=1e-3
    )


def test_partners_of_a_part_alone_would_give_another_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    model, documents, loss_fn = make("bert"), mixed(many()), cross_entropy(0.0, None)
    whole = first_gradient.of(model, documents, loss_fn, 1, 1, packs=False)
    of_step = mixing.with_partners
    monkeypatch.setattr(mixing, "with_partners", lambda rows, step_rows: of_step(rows, rows))
    model.zero_grad()
    parts = first_gradient.of(model, documents, loss_fn, 4, 1, packs=False)
    assert not torch.allclose(parts, whole, atol=1e-3)


def test_a_live_teacher_mixes_its_own_embeddings_of_the_same_tokens() -> None:
    teacher = make("electra").eval()
    batch = batch_of(mixed(split()), [2, 0, 3, 1])
    other, inputs = as_tokens(teacher, batch)
    found = soft_targets.Live(teacher)(batch, batch.inputs)
    torch.testing.assert_close(found, other(*inputs), atol=1e-5, rtol=1e-4)


def test_a_text_of_one_token_is_mixed() -> None:
    arrays = TextArrays(np.array([5, 6], np.int32), np.array([0, 1, 2]), tiny.targets([0, 1]))
    batch = batch_of(mixed(TextSplit(arrays, 1)), [0, 1])
    assert batch.attention_mask[:, 0].tolist() == [1, 1] and not batch.attention_mask[:, 1:].any()
    assert make("bert").eval()(*batch.inputs).isfinite().all()
