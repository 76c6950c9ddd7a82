"""Choose the kernels: attention, compilation, and torch's process-wide settings.

Input: the `runtime` section of params, the device and a description of the computation. Output: choices with
their reasons for `runtime`, and torch's settings.
"""

import importlib.util
import os
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from baton.errors import ParamsError

Precision = Literal["bf16", "fp16", "tf32", "fp32"]
Attention = Literal["matmul", "sdpa"]
# A value of `compile`: each training run decides for itself (train/compiling.py).
MEASURED: Literal["measured"] = "measured"
VOLTA = (7, 0)  # the first architecture that torch.compile has kernels for
DETERMINISTIC_WORKSPACES = (":4096:8", ":16:8")  # cuBLAS workspaces


@dataclass(frozen=True)
class Work:
    """The properties of a computation that `auto` depends on."""

    fixed_shapes: bool = False  # true for images, whose batches all have the same shape; false for texts
    unfused: str | None = None  # the model's name if it has no fused attention


def attention(wanted: str, device: torch.device, work: Work) -> tuple[Attention, str]:
    """Return the attention implementation and the reason for it."""
    match wanted:
        case "matmul":
            return "matmul", "set in params"
        case "sdpa":
            return "sdpa", "set in params"
        case _ if device.type == "cpu":
            return "matmul", "on the CPU the masked SDPA backward is slower than two matrix products"
        case _ if work.unfused:
            return "matmul", f"{work.unfused} has no fused attention in transformers"
        case _ if work.fixed_shapes:
            return "sdpa", "fused kernels on CUDA"
        case _:
            return (
                "sdpa",
                "fused kernels on CUDA, but for cuDNN's, which plans anew for each shape of a batch",
            )


def compilation(
    wanted: bool | Literal["auto"], device: torch.device, deterministic: bool
) -> tuple[bool | Literal["measured"], str]:
    """Return whether training steps are compiled, and the reason; `wanted` may be "auto"."""
    if wanted != "auto":
        return wanted, "set in params"
    if device.type == "cpu":
        return False, "on the CPU it costs over a minute and gains nothing"
    if torch.cuda.get_device_capability(device) < VOLTA:
        return False, f"{torch.cuda.get_device_name(device)} is too old"
    if lacking := compiler_lacks():
        return False, f"there is no {lacking}"
    if deterministic:
        return (
            False,
            "measured times, by which auto chooses, would decide about the bits; set it to true or false",
        )
    return MEASURED, "each training compares what it costs with what it saves"


def compiler_lacks() -> str | None:
    """Return what this machine lacks for torch.compile on CUDA, or None if it lacks nothing.

    Triton builds a launcher in C for its kernels.
    """
    if importlib.util.find_spec("triton") is None:
        return "package triton"
    named = os.environ.get("CC")  # the same lookup as in triton/runtime/build.py
    if not any(shutil.which(name) for name in ([named] if named else ["gcc", "clang"])):
        return f"C compiler ({f'CC={named}' if named else 'gcc or clang'})"
    scheme = {"posix_local": "posix_prefix"}.get(
        sysconfig.get_default_scheme(), sysconfig.get_default_scheme()
    )
    if not Path(sysconfig.get_paths(scheme=scheme)["include"], "Python.h").is_file():
        return "Python.h (Debian: python3-dev)"
    return None


def apply(device: torch.device, precision: Precision, deterministic: bool, fixed_shapes: bool) -> None:
    """Apply torch's process-wide settings.

    Each one is set explicitly, on or off, so that an earlier call leaves no trace.
    """
    # These two keep torch's old and new TF32 settings consistent; torch.compile reads both. With bf16 and
    # fp16, TF32 applies to the operations that autocast leaves in 32 bits.
    tf32 = device.type == "cuda" and precision != "fp32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    strict = device.type == "cuda" and deterministic
    if device.type == "cuda":
        _fix_workspace(strict)
    # cuDNN takes 0.4 to 1 s per plan (measured by others on a B200, modelscope/FunASR #3704), and texts come
    # in 16 to 64 lengths. Its backward pass is not deterministic.
    torch.backends.cuda.enable_cudnn_sdp(fixed_shapes and not strict)
    if strict != torch.are_deterministic_algorithms_enabled():
        _determine(strict)  # imports torch's compiler, which takes a second
    # This setting chooses algorithms by timing them.
    torch.backends.cudnn.benchmark = device.type == "cuda" and not deterministic
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _determine(strict: bool) -> None:
    """Turn deterministic algorithms on or off, for eager mode and for compiled graphs.

    `use_deterministic_algorithms` also sets inductor's `deterministic` (the setting of
    TORCHINDUCTOR_DETERMINISTIC, which is read when transformers imports inductor, before this code runs), but
    compiler settings are per thread. A backward graph would be compiled on its first run, which on CUDA
    happens in autograd's thread, where the setting is unknown; so it is compiled together with its forward
    graph.
    """
    from torch._functorch import config

    torch.use_deterministic_algorithms(strict)
    config.force_non_lazy_backward_lowering = strict


def _fix_workspace(strict: bool) -> None:
    """Set a cuBLAS workspace that permits determinism, even if it is not requested.

    torch reads the variable only once per process, at the first matrix product. The workspace is then 32 MiB,
    the default on Hopper; on older cards the default is 8 MiB.
    """
    found = os.environ["CUBLAS_WORKSPACE_CONFIG"] = (
        os.environ.get("CUBLAS_WORKSPACE_CONFIG") or DETERMINISTIC_WORKSPACES[0]
    )
    if strict and found not in DETERMINISTIC_WORKSPACES:
        hint = "unset CUBLAS_WORKSPACE_CONFIG, or set runtime.deterministic to false"
        expected = " or ".join(DETERMINISTIC_WORKSPACES)
        raise ParamsError(
            "runtime.deterministic contradicts CUBLAS_WORKSPACE_CONFIG",
            got=found,
            expected=expected,
            hint=hint,
        )
