"""The types of a pair's tokens reach the encoder: padded, packed, with and without windows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baton.batches.text_batch import PackedBatch, TextBatch
from baton.batches.text_batches import TextSplit
from tests.models.test_packed import answers, make, split


def typed(documents: TextSplit) -> TextSplit:
    """Give the second half of each window the type 1."""
    arrays = documents.arrays
    types = np.zeros(len(arrays.tokens), np.int8)
    for start, end in zip(arrays.offsets, arrays.offsets[1:], strict=False):
        types[(start + end + 1) // 2 : end] = 1
    return replace(documents, arrays=replace(arrays, types=types))


@pytest.mark.parametrize("family", ["bert", "electra", "albert"])
def test_packed_pairs_have_the_loss_and_gradients_of_padded_ones(family: str) -> None:
    model = make(family)
    for documents in (typed(split()), typed(split([[5], [16], [9], [1]]))):
        rows = [2, 0, 3, 1]
        (expected, gradients), (found, packed) = (
            answers(model, documents, rows),
            answers(model, documents.packed(), rows),
        )
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(packed[name], gradient, atol=2e-5, rtol=1e-3)
        plain, _ = answers(model, replace(documents, arrays=replace(documents.arrays, types=None)), rows)
        assert not torch.allclose(plain, expected, atol=1e-4), "negative control: types make a difference"


@pytest.mark.parametrize("family", ["distilbert", "roberta", "modernbert"])
def test_an_encoder_without_types_ignores_them(family: str) -> None:
    changes = {"type_vocab_size": 1} if family == "roberta" else {}
    model = make(family, **changes)
    documents, rows = split(), [2, 0, 3, 1]
    for form in (lambda one: one, TextSplit.packed):
        found, expected = (answers(model, form(one), rows)[0] for one in (typed(documents), documents))
        assert torch.equal(found, expected)


def test_types_are_0_where_there_is_padding_and_move_with_the_batch() -> None:
    documents, rows = typed(split([[5], [16], [9], [1]])), np.array([0, 2])
    padded, packed = documents.batch(rows), documents.packed().batch(rows)
    assert isinstance(padded, TextBatch) and isinstance(packed, PackedBatch)
    assert padded.types is not None and packed.types is not None
    assert padded.types.tolist() == [
        [0, 0, 0, 1, 1] + [0] * 11,
        [0, 0, 0, 0, 0, 1, 1, 1, 1] + [0] * 7,
    ]
    assert packed.types.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0]]
    for batch in (padded, packed):
        meta = batch.to(torch.device("meta"))
        assert all(part.is_meta for part in meta.inputs if isinstance(part, torch.Tensor))
        assert meta.inputs[4].shape == batch.inputs[4].shape
    assert split().batch(rows).inputs[2:] and split([[5], [9]]).batch(np.array([0])).inputs[2:] == ()
