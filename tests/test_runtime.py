"""The runtime is resolved once, with reasons."""

import os

import pytest
import torch

from baton import params, runtime
from baton.errors import ParamsError
from tests import tiny

AUTO = params.Runtime(device="auto", precision="auto", attention="auto", threads="auto")


def test_auto_says_what_it_chose_and_why() -> None:
    resolved = runtime.resolve(AUTO)
    assert set(resolved.reasons) == {"device", "precision", "attention", "threads"}
    assert all(": " in reason for reason in resolved.reasons.values())
    assert resolved.threads == len(os.sched_getaffinity(0))
    assert resolved.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"runtime\.device[\s\S]*auto or cpu"):
        runtime.resolve(AUTO.model_copy(update={"device": "cuda"}))


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast_computes_in_the_chosen_precision(precision: str, dtype: torch.dtype) -> None:
    machine = tiny.machine(precision=precision)
    with machine.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_is_found_and_uses_its_kernels() -> None:
    resolved = runtime.resolve(AUTO)
    assert resolved.device.type == "cuda" and resolved.attention == "sdpa"
    assert torch.backends.cuda.matmul.allow_tf32


def test_a_seed_fixes_every_generator() -> None:
    import random

    import numpy as np

    draws = []
    for _ in range(2):
        runtime.seed_everything(3)
        draws.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert draws[0] == draws[1]
