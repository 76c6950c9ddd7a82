"""Which kernels compute: attention, compilation, and what torch is told once for the whole process.

Input: `runtime` of params, the device and what will be computed. Output: choices with their reasons for `runtime`, and torch's settings.
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
MEASURED: Literal["measured"] = (
    "measured"  # of `compile`: each training decides for itself (train/compiling.py)
)
VOLTA = (7, 0)  # the first for which torch.compile has kernels
DETERMINISTIC_WORKSPACES = (":4096:8", ":16:8")  # of cuBLAS


@dataclass(frozen=True)
class Work:
    """What will be computed, as far as `auto` depends on it."""

    fixed_shapes: bool = False  # images: every batch has the same shape; of texts it varies
    unfused: str | None = None  # name of the model, if it has no fused attention


def attention(wanted: str, device: torch.device, work: Work) -> tuple[Attention, str]:
    """Which implementation, and why."""
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
    """Whether training steps are compiled, and why; `wanted` may be "auto"."""
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
    """What torch.compile needs on CUDA and this machine does not have: Triton builds a launcher for its kernels in C."""
    if importlib.util.find_spec("triton") is None:
        return "package triton"
    named = os.environ.get("CC")  # as triton/runtime/build.py looks for them
    if not any(shutil.which(name) for name in ([named] if named else ["gcc", "clang"])):
        return f"C compiler ({f'CC={named}' if named else 'gcc or clang'})"
    scheme = {"posix_local": "posix_prefix"}.get(
        sysconfig.get_default_scheme(), sysconfig.get_default_scheme()
    )
    if not Path(sysconfig.get_paths(scheme=scheme)["include"], "Python.h").is_file():
        return "Python.h (Debian: python3-dev)"
    return None


def apply(device: torch.device, precision: Precision, deterministic: bool, fixed_shapes: bool) -> None:
    """Everything is set both ways, so that what was resolved before leaves no trace."""
    # These two keep torch's old and new settings of TF32 in agreement; torch.compile asks for both. With bf16 and fp16 TF32 is for what
    # autocast leaves in 32 bits.
    tf32 = device.type == "cuda" and precision != "fp32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    strict = device.type == "cuda" and deterministic
    if device.type == "cuda":
        _fix_workspace(strict)
    # A plan takes cuDNN 0.4 to 1 s (measured by others on a B200, modelscope/FunASR #3704), and texts come in 16 to 64 lengths.
    torch.backends.cuda.enable_cudnn_sdp(
        fixed_shapes and not strict
    )  # its backward pass is not deterministic
    if (
        strict != torch.are_deterministic_algorithms_enabled()
    ):  # the call imports torch's compiler, which takes a second
        _determine(strict)
    torch.backends.cudnn.benchmark = (
        device.type == "cuda" and not deterministic
    )  # it chooses algorithms by timing them
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _determine(strict: bool) -> None:
    """Deterministic algorithms, or not, of eager and of compiled graphs.

    `use_deterministic_algorithms` sets inductor's `deterministic` too (that of TORCHINDUCTOR_DETERMINISTIC, which is read when inductor is
    imported: before us, by transformers), but settings of the compiler are each thread's own. A backward graph would be compiled when it
    is first run, on CUDA in autograd's thread, which knows nothing of it; so it is compiled with its forward graph.
    """
    from torch._functorch import config

    torch.use_deterministic_algorithms(strict)
    config.force_non_lazy_backward_lowering = strict


def _fix_workspace(strict: bool) -> None:
    """Let cuBLAS be deterministic, whether that is asked for or not: torch looks once a process, at the first matrix product.

    It is then 32 MiB, Hopper's default; on older cards it would be 8.
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
