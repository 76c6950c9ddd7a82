"""Device, precision, attention and threads: resolved once into a frozen object, each choice with its reason.

Input: the `runtime` section. Output: `Runtime`, printed and logged by the stage. Seeds are set here too.
"""

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from baton import params
from baton.errors import ParamsError


@dataclass(frozen=True)
class Runtime:
    """Where and how tensors are computed."""

    device: torch.device
    precision: Literal["bf16", "fp32"]
    attention: Literal["matmul", "sdpa"]
    threads: int
    reasons: dict[str, str]

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Mixed precision around a forward pass and its loss."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            yield


def resolve(wanted: params.Runtime) -> Runtime:
    """Resolve `auto` and apply what is global (threads, TF32).

    Raises:
        ParamsError: a device or precision is asked for that this machine does not have.
    """
    device, device_reason = _device(wanted.device)
    precision, precision_reason = _precision(wanted.precision, device)
    attention, attention_reason = _attention(wanted.attention, device)
    threads, threads_reason = _threads(wanted.threads)
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    return Runtime(
        device=device,
        precision=precision,
        attention=attention,
        threads=threads,
        reasons={
            "device": f"{device.type}: {device_reason}",
            "precision": f"{precision}: {precision_reason}",
            "attention": f"{attention}: {attention_reason}",
            "threads": f"{threads}: {threads_reason}",
        },
    )


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _device(wanted: str) -> tuple[torch.device, str]:
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        hint = "set runtime.device to auto or cpu"
        raise ParamsError("runtime.device: this machine has no usable CUDA device", got="cuda", expected="a CUDA device", hint=hint)
    if wanted == "auto":
        return (torch.device("cuda"), "found by torch") if available else (torch.device("cpu"), "no CUDA device")
    return torch.device(wanted), "set in params"


def _precision(wanted: str, device: torch.device) -> tuple[Literal["bf16", "fp32"], str]:
    if device.type == "cuda":
        able, name = torch.cuda.is_bf16_supported(including_emulation=False), torch.cuda.get_device_name()
    else:
        # Without AVX512-BF16 or AMX the processor emulates bf16, which is slower than fp32.
        able, name = torch.cpu._is_avx512_bf16_supported(), "the processor"
    match wanted:
        case "bf16":
            return "bf16", "set in params" if able else f"set in params; {name} only emulates it"
        case "fp32":
            return "fp32", "set in params; matrix products in TF32" if device.type == "cuda" else "set in params"
        case _:
            return ("bf16", f"{name} computes bf16") if able else ("fp32", f"{name} has no bf16")


def _attention(wanted: str, device: torch.device) -> tuple[Literal["matmul", "sdpa"], str]:
    match wanted:
        case "matmul":
            return "matmul", "set in params"
        case "sdpa":
            return "sdpa", "set in params"
        case _:
            if device.type == "cuda":
                return "sdpa", "fused kernels on CUDA"
            return "matmul", "on the CPU the masked SDPA backward is slower than two matrix products"


def _threads(wanted: int | Literal["auto"]) -> tuple[int, str]:
    if wanted != "auto":
        return wanted, "set in params"
    count = len(os.sched_getaffinity(0))
    return count, "processors this process may use"
