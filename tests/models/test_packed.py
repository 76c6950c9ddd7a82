"""Packed documents give the logits and gradients of padded ones, per family, with and without windows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from baton import params
from baton.arrays.text_arrays import TextArrays
from baton.batches.text_batch import PackedBatch
from baton.batches.text_batches import TextSplit
from baton.models import text_model
from baton.models.kernels import attention, varlen
from tests import tiny

# Tokens of the windows of five documents; 69 in total, not a multiple of 8.
WINDOWS = [[9, 5], [7], [16, 12, 3], [1], [16]]
SIZES = dict(
    vocab_size=100,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=64,
)
OTHER_NAMES = {
    "distilbert": dict(dim=32, n_layers=3, n_heads=4, hidden_dim=64),
    "modernbert": dict(local_attention=4),
}
RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")


def make(
    family: str, pooling: str = "mean", kind: str = "matmul", **changes: Any
) -> text_model.TextClassifier:
    from transformers import AutoConfig

    config = AutoConfig.for_model(family, pad_token_id=1, **SIZES | OTHER_NAMES.get(family, {}) | changes)
    for name in RATES:
        if hasattr(config, name) and name not in changes:
            setattr(config, name, 0.0)
    torch.manual_seed(0)
    model = text_model.TextClassifier.assemble(
        config, params.LinearHead(kind="linear", pooling=pooling, dropout=0.0), 3, kind
    )
    with torch.no_grad():  # transformers' initial weights are so small that attention hardly matters
        for name, parameter in model.backbone.named_parameters():
            if parameter.ndim == 2 and "embedding" not in name:
                parameter.mul_(8)
    return model.train()


def split(windows: list[list[int]] = WINDOWS) -> TextSplit:
    lengths = [length for own in windows for length in own]
    random = np.random.default_rng(0)
    tokens = random.integers(5, 100, sum(lengths)).astype(np.int32)
    documents = np.concatenate([[0], np.cumsum([len(own) for own in windows])])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TextSplit(
        TextArrays(
            tokens,
            offsets,
            tiny.targets(np.arange(len(windows)) % 3),
            documents if len(lengths) > len(windows) else None,
        ),
        1,
    )


def answers(
    model: text_model.TextClassifier, documents: TextSplit, rows: list[int]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss of each document, (batch,), and the gradients."""
    batch = documents.batch(np.array(rows))
    model.zero_grad()
    losses = functional.cross_entropy(model(*batch.inputs), batch.targets, reduction="none")
    losses.mean().backward()
    return losses.detach(), {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize("kind", ["matmul", "sdpa"])
@pytest.mark.parametrize("family", text_model.PACKABLE)
def test_each_family_gives_each_document_the_loss_that_it_has_padded(family: str, kind: str) -> None:
    model = make(family, kind=kind)
    assert model.unpackable() is None
    for documents in (split(), split([[5], [16], [9], [1]])):
        rows = [2, 0, 3, 1]
        (expected, gradients), (found, packed) = (
            answers(model, documents, rows),
            answers(model, documents.packed(), rows),
        )
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
        assert packed.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(
                packed[name], gradient, atol=2e-5, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
            )


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_document_is_what_it_is_alone(pooling: str) -> None:
    """Compute the same independently: each window alone, without mask or padding."""
    model, documents = make("bert", pooling), split().packed()
    found = model.features(*documents.batch(np.arange(5)).inputs)
    arrays = documents.arrays
    for row in range(5):
        places = range(arrays.documents[row], arrays.documents[row + 1])
        windows = [
            torch.from_numpy(arrays.tokens[arrays.offsets[i] : arrays.offsets[i + 1]].astype(np.int64))
            for i in places
        ]
        states = [model.backbone(input_ids=window[None]).last_hidden_state[0] for window in windows]
        expected = (
            torch.cat(states).mean(0)
            if pooling == "mean"
            else torch.stack([state[0] for state in states]).mean(0)
        )
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-4)


def test_positions_that_do_not_begin_anew_are_found() -> None:
    """Negative control: the test above detects positions that continue from one document to the next."""
    model, batch = make("bert"), split().packed().batch(np.arange(5))
    assert isinstance(batch, PackedBatch)
    ids, mask, owners, packing = batch.inputs
    wrong = model.features(
        ids, mask, owners, packing._replace(positions=torch.arange(len(packing.positions)) % 64)
    )
    assert not torch.allclose(wrong, model.features(*batch.inputs), atol=1e-2)


def test_a_packed_batch_is_one_row_that_ends_in_a_multiple() -> None:
    batch = split().packed().batch(np.array([1, 0, 3]))
    assert isinstance(batch, PackedBatch)
    assert batch.packing.bounds.tolist() == [0, 7, 16, 21, 22, 24]  # 7; 9 and 5; 1; two that pad the row
    assert batch.packing.positions.tolist() == [*range(7), *range(9), *range(5), 0, 0, 1]
    assert batch.packing.documents.tolist() == [0, 1, 3, 4]
    assert (batch.packing.longest, batch.shape, len(batch), batch.rows.tolist()) == (
        16,
        (1, 24),
        3,
        [1, 0, 3],
    )
    assert batch.inputs[1:] == (None, None, batch.packing) and batch.packing._fields == (
        "positions",
        "bounds",
        "documents",
        "longest",
    )
    assert batch.input_ids[0, 22:].tolist() == [1, 1] and batch.input_ids[0, :22].min() >= 5
    full = split([[8], [8]]).packed().batch(np.array([0, 1]))
    assert full.packing.bounds.tolist() == [0, 8, 16]  # type: ignore[union-attr]


def test_dropout_of_probabilities_drops_them_in_packed_documents_too() -> None:
    model = make("bert", attention_probs_dropout_prob=0.5)
    batch = split().packed().batch(np.arange(5))
    first, second = (model(*batch.inputs) for _ in range(2))
    assert not torch.allclose(first, second)
    model.eval()
    assert torch.equal(*(model(*batch.inputs) for _ in range(2)))


def test_what_cannot_be_packed_says_why() -> None:
    assert make("mpnet").unpackable() == "mpnet is not one of " + ", ".join(text_model.PACKABLE)
    pooled = make("bert", "pooler").unpackable()
    assert pooled == "the encoder's own pooler reads one document per row"


def test_a_mask_is_not_looked_for_where_none_was_given() -> None:
    """On a GPU a mask of all packed tokens would be (tokens, tokens)."""
    from transformers import masking_utils

    options = dict(
        batch_size=1, q_length=4, kv_length=4, device=torch.device("meta"), allow_is_causal_skip=False
    )
    options |= {
        attention.SKIP: True,
        "mask_function": masking_utils.bidirectional_mask_function,
        "attention_mask": None,
    }
    assert attention.boolean_mask(**options) is None


def test_sums_of_groups_leave_out_what_is_behind_them() -> None:
    values = torch.arange(12.0).view(6, 2).requires_grad_()
    found = varlen.sums(values, torch.tensor([0, 1, 4]))
    assert found.tolist() == [[0, 1], [2 + 4 + 6, 3 + 5 + 7]]
    found.sum().backward()
    assert values.grad is not None and values.grad[:, 0].tolist() == [1, 1, 1, 1, 0, 0]


def test_shapes_that_change_are_compiled_once(tmp_path: Path) -> None:
    """Tokens, documents, windows and the longest window all vary; "aot_eager" needs no compiler."""
    tiny.write_base(tmp_path)  # imports transformers before counting
    model, compiled = make("bert"), []
    torch._dynamo.reset()

    def backend(graph: Any, example: Any) -> Any:
        compiled.append(graph)
        return graph

    model.compile(dynamic=True, backend=backend)
    cases = [
        [[5], [16], [9]],
        [[30], [7], [41], [6], [11]],
        [[3], [4]],
        [[50], [50], [50], [9], [9], [9], [2]],
    ]
    found = [model(*split(lengths).packed().batch(np.arange(len(lengths))).inputs) for lengths in cases]
    plain = make("bert")
    for lengths, logits in zip(cases, found, strict=True):
        expected = plain(*split(lengths).packed().batch(np.arange(len(lengths))).inputs)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    assert len(compiled) == 1
