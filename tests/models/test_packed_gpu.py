"""Packed documents on CUDA: varlen_attn gives the losses of padded ones, and the host never waits."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from baton.models import text_model
from tests.models.test_packed import make, split
from tests.models.test_pair_types import typed

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")
WIDE = {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 514}  # heads of 64
LONG = [[200, 500], [130], [7], [512, 512, 40], [64]]  # beyond 128 tokens torch would choose cuDNN on an H100


@pytest.fixture(autouse=True)
def _global_settings_stay() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")
    torch.use_deterministic_algorithms(False)


def step(
    model: Any, documents: Any, rows: list[int], dtype: torch.dtype = torch.bfloat16, quiet: bool = True
) -> torch.Tensor:
    """Return losses (batch,) on the device, after a backward pass.

    With `quiet` it is an error if the host waits for the device.
    """
    batch = documents.batch(np.array(rows)).pin_memory()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error" if quiet else "default")
    moved = batch.to(CUDA)
    with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
        found = functional.cross_entropy(model(*moved.inputs).float(), moved.targets, reduction="none")
    found.mean().backward()
    torch.cuda.set_sync_debug_mode("default")
    return found.detach()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_losses_are_those_of_padded_documents(family: str, dtype: torch.dtype) -> None:
    names = {"local_attention": 64} if family == "modernbert" else {}
    model, documents = make(family, kind="sdpa", **WIDE | names).to(CUDA), split(LONG)
    for module in model.modules():  # weights initialised for narrow layers would saturate wide ones
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
    rows = [3, 0, 2, 1, 4]
    with torch.no_grad():
        exact = functional.cross_entropy(
            model(*documents.batch(np.array(rows)).to(CUDA).inputs),
            torch.tensor([0, 0, 2, 1, 1], device=CUDA),
        )
    torch.testing.assert_close(
        step(model, documents.packed(), rows, dtype).mean(), exact, atol=3e-2, rtol=2e-2
    )
    gradients = [torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])]
    model.zero_grad()
    step(model, documents, rows, dtype)
    gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert float(functional.cosine_similarity(*gradients, dim=0)) > 0.99


def test_types_of_pairs_reach_the_model_and_the_host_never_waits() -> None:
    model, documents = make("bert", kind="sdpa", **WIDE).to(CUDA), split(LONG)
    for module in model.modules():  # as above
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
    rows = [3, 0, 2, 1, 4]
    padded, packed, plain = (
        step(model, form, rows, torch.float32, quiet=False)
        for form in (typed(documents), typed(documents).packed(), documents)
    )
    torch.testing.assert_close(packed, padded, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, padded, atol=1e-3), "negative control: types make a difference"
    step(model, typed(documents).packed(), rows)
    torch.testing.assert_close(step(model, typed(documents).packed(), rows), padded, atol=5e-2, rtol=5e-2)


def test_attention_is_flash_attention_whatever_the_length() -> None:
    model, documents = make("bert", kind="sdpa", **WIDE).to(CUDA), split(LONG).packed()
    step(model, documents, [0, 1])
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        step(model, documents, [3, 0, 1])
    names = " ".join(event.key for event in seen.key_averages())
    assert "flash_fwd" in names and "flash_bwd" in names and "cudnn" not in names


def test_steps_of_all_sizes_are_compiled_once_and_never_wait() -> None:
    model, documents = make("bert", kind="sdpa", **WIDE).to(CUDA), split(LONG * 3).packed()
    torch._dynamo.reset()
    model.compile(dynamic=True)
    torch._dynamo.utils.counters.clear()
    step(model, documents, [0, 1, 2], quiet=False)  # the compiler itself reads values back
    for rows in ([0, 1, 2], [3, 0, 2, 1, 4], [4, 9], [5, 6, 7, 8, 9, 10, 11, 12]):
        step(model, documents, rows)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_deterministic_rerun_gives_the_same_bits() -> None:
    torch.use_deterministic_algorithms(True)
    found = []
    for _ in range(2):
        model: text_model.TextClassifier = make("bert", kind="sdpa", **WIDE).to(CUDA)
        step(model, split(LONG).packed(), [0, 1, 3, 4])
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.equal(*found)
