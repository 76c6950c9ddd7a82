"""Matmul attention compared with transformers' eager: output, gradient, dropout and encoder families."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import masking_utils
from transformers.models.bert.modeling_bert import eager_attention_forward

from baton import params
from baton.models import model_folder
from baton.models.kernels import attention
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two documents of 4 heads in fp64: several chunks, the last one smaller.
    monkeypatch.setattr(attention, "CHUNK_BYTES", 2 * 4 * 6 * 6 * 8)


def tensors(dtype: torch.dtype = torch.float64, batch: int = 5) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, 6, 4, 3, generator=random).to(dtype).transpose(1, 2).requires_grad_()
        for _ in range(3)
    ]


def padding(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    mask = torch.zeros(5, 1, 6, 6, dtype=dtype)
    mask[1, :, :, 4:] = mask[4, :, :, 1:] = torch.finfo(dtype).min
    return mask


def gradients(output: torch.Tensor, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((output.float() * weights).sum(), inputs)


@pytest.mark.parametrize(
    "mask",
    [None, padding(), padding()[:1], padding()[:, :, :1], padding() > -1],
    ids=["none", "full", "one", "row", "bool"],
)
def test_it_equals_eager(mask: torch.Tensor | None) -> None:
    inputs, layer = tensors(), nn.Module()
    additive = attention._additive(mask, torch.float64) if mask is not None else None
    expected, _ = eager_attention_forward(layer, *inputs, additive)
    found, _ = attention.attend(layer, *inputs, mask)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, inputs), gradients(expected, inputs))


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_its_gradient_is_that_of_its_values(rate: float) -> None:
    layer = nn.Module().train()

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)  # the same masks every time
        return attention.attend(layer, *inputs, padding(), dropout=rate, scaling=0.7)[0]

    assert torch.autograd.gradcheck(run, tensors())


def test_dropout_has_the_rate_and_keeps_the_mean() -> None:
    layer, keys = nn.Module(), 50
    query = torch.zeros(200, 2, 20, 4)
    # The output is the probabilities after dropout.
    value = torch.eye(keys).expand(200, 2, keys, keys).contiguous()
    torch.manual_seed(0)
    weights, _ = attention.attend(
        layer.train(), query, torch.zeros(200, 2, keys, 4), value, None, dropout=0.1
    )
    assert abs(float((weights == 0).double().mean()) - 0.1) < 0.003
    assert abs(float(weights.double().mean()) * keys - 1) < 0.003
    documents = (weights == 0).flatten(1).double()
    assert not torch.equal(documents[0], documents[-1])
    plain, _ = attention.attend(layer.eval(), query, torch.zeros(200, 2, keys, 4), value, None, dropout=0.1)
    torch.testing.assert_close(plain, torch.full_like(plain, 1 / keys))


def test_a_seed_fixes_the_result() -> None:
    layer, inputs = nn.Module().train(), tensors(torch.bfloat16)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        output, _ = attention.attend(layer, *inputs, padding(torch.bfloat16), dropout=0.2)
        results.append((output, *gradients(output, inputs)))
    assert all(torch.equal(first, second) for first, second in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])


def test_in_bf16_it_is_as_near_to_fp32_as_eager_is() -> None:
    exact = [tensor.detach().float().requires_grad_() for tensor in tensors(torch.bfloat16)]
    layer = nn.Module()
    truth, _ = eager_attention_forward(layer, *exact, padding(torch.float32))
    goal = (truth, *gradients(truth, exact))
    errors = []
    for function in (eager_attention_forward, attention.attend):
        inputs = [tensor.detach().bfloat16().requires_grad_() for tensor in exact]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output, _ = function(layer, *inputs, padding(torch.float32))
        found = (output, *gradients(output, inputs))
        errors.append(
            [
                float((one.detach().float() - other.detach()).norm() / other.detach().norm())
                for one, other in zip(found, goal, strict=True)
            ]
        )
    eager, ours = errors
    assert all(mine < 1.5 * theirs + 1e-3 for mine, theirs in zip(ours, eager, strict=True)), errors


def test_probabilities_are_there_where_they_are_asked_for() -> None:
    inputs = tensors()
    _, weights = attention.attend(nn.Module().eval(), *inputs, padding(), output_attentions=True)
    assert weights is not None
    torch.testing.assert_close(weights.sum(-1), torch.ones(5, 4, 6, dtype=torch.float64))


def test_position_bias_and_shared_keys_are_heeded() -> None:
    query, key, value = tensors()
    bias = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    found, _ = attention.attend(nn.Module(), query, key, value, padding(), position_bias=bias)
    expected, _ = eager_attention_forward(nn.Module(), query, key, value, padding() + bias)
    torch.testing.assert_close(found, expected)
    shared, _ = attention.attend(nn.Module(), query, key[:, :2], value[:, :2], None)
    repeated = [tensor[:, :2].repeat_interleave(2, dim=1) for tensor in (key, value)]
    torch.testing.assert_close(shared, eager_attention_forward(nn.Module(), query, *repeated, None)[0])


def test_a_model_uses_it_and_says_nothing_of_it_in_its_files(tmp_path: Path) -> None:
    base = tiny.write_base(tmp_path / "base")
    ours = model_folder.create(base, HEAD, 3, tiny.training(), "matmul", tiny.TEXT_INPUT)
    assert ours.backbone.config._attn_implementation == attention.NAME
    model_folder.save(
        ours,
        model_folder.ModelInfo(tiny.task("a", "b", "c"), HEAD, tiny.TEXT_INPUT),
        base,
        tmp_path / "model",
    )
    assert attention.NAME not in (tmp_path / "model" / "config.json").read_text()
    assert (
        model_folder.create(
            base, HEAD, 3, tiny.training(), "sdpa", tiny.TEXT_INPUT
        ).backbone.config._attn_implementation
        == attention.NAME_SDPA
    )


def test_sdpa_is_that_of_transformers(tmp_path: Path) -> None:
    base = tiny.write_base(tmp_path / "base")
    from transformers import AutoModel

    ours, theirs = (
        model_folder.create(base, HEAD, 3, tiny.training(), "sdpa", tiny.TEXT_INPUT).eval(),
        AutoModel.from_pretrained(base, attn_implementation="sdpa"),
    )
    ids, mask = torch.randint(5, 100, (5, 6)), torch.ones(5, 6, dtype=torch.int64)
    for _ in range(2):  # without and with padding
        found, expected = (
            model(input_ids=ids, attention_mask=mask).last_hidden_state for model in (ours.backbone, theirs)
        )
        assert torch.equal(found, expected)
        mask[2, 3:] = 0


def test_off_the_cpu_no_mask_is_read_back() -> None:
    """A tensor on torch's "meta" device has no values, so reading one would raise."""
    options = {
        "batch_size": 2,
        "q_length": 4,
        "kv_length": 4,
        "device": torch.device("meta"),
        attention.SKIP: True,
    }
    options["allow_is_causal_skip"] = False
    mask = torch.ones(2, 4, dtype=torch.bool, device="meta")
    found = attention.boolean_mask(
        **options, mask_function=masking_utils.bidirectional_mask_function, attention_mask=mask
    )
    assert found is not None and found.shape[-1] == 4
    with pytest.raises(RuntimeError, match="meta"):  # negative control
        masking_utils.sdpa_mask(
            **options, mask_function=masking_utils.bidirectional_mask_function, attention_mask=mask
        )


def test_a_model_without_dropout_equals_transformers_eager_in_fp32(tmp_path: Path) -> None:
    base = tiny.write_base(tmp_path / "base")
    ours = model_folder.create(base, HEAD, 3, tiny.training(), "matmul", tiny.TEXT_INPUT).train()
    from transformers import AutoModel

    theirs = AutoModel.from_pretrained(base, attn_implementation="eager").train()
    theirs.embeddings.dropout.p = 0.0
    for module in theirs.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ids, mask = torch.randint(5, 100, (5, 6)), torch.ones(5, 6, dtype=torch.int64)
    mask[2, 3:] = 0
    outputs = []
    for model in (ours.backbone, theirs):
        model.zero_grad()
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        (hidden * mask.unsqueeze(-1)).square().sum().backward()
        outputs.append(
            (
                hidden,
                model.embeddings.word_embeddings.weight.grad,
                model.encoder.layer[0].attention.self.query.weight.grad,
            )
        )
    for found, expected in zip(*outputs, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
