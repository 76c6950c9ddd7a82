"""Resolve device, precision, attention, compilation, threads and processes once, each choice with its reason.

Input: the `runtime` section and this process's place in its group. Output: a frozen `Runtime`, whose choices
the stage prints, and logs with their reasons. Seeding is here too.
"""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from baton import params, processors
from baton.errors import ParamsError
from baton.runtime import kernels
from baton.runtime.kernels import MEASURED, Attention, Precision, Work

__all__ = [
    "MEASURED",
    "Place",
    "Runtime",
    "Work",
    "resolve",
    "seed_everything",
    "seed_step",
    "takes_statistics",
]

AMPERE = (8, 0)  # the first architecture with bf16 and TF32


@dataclass(frozen=True)
class Place:
    """The place of this process among the `size` that train together, `local_size` on this machine."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1
    reason: str = "this stage runs in one process"
    launched: bool = False  # by torchrun or srun, which may show each process only one device
    # Whether this process has its processors to itself; if not, the processes on its machine share them.
    bound: bool = False


@dataclass(frozen=True)
class Runtime:
    """The device and the settings that tensors are computed with."""

    device: torch.device
    precision: Precision
    attention: Attention  # of the model that `resolve` was told of; see `attention_for`
    wanted_attention: Literal["auto", "matmul", "sdpa"]  # in params
    compile: bool | Literal["measured"]
    packing: bool | Literal["auto"]  # `models.packing` settles it for each model
    fixed_shapes: bool  # all batches have the same shape
    threads: int
    processes: int  # processes that train together, on all machines
    local_processes: int  # those on this machine
    rank: int  # of this process
    sharding: Literal["none", "full"]
    loader_workers: int | None  # None: as many as the first steps turn out to need
    data_on_device: bool | Literal["auto"]
    deterministic: bool
    gradient_checkpointing: bool
    checkpoint_seconds: float
    reasons: dict[str, str]

    @property
    def is_main(self) -> bool:
        """Return whether this process is the one that writes, prints and tracks."""
        return self.rank == 0

    def said(self) -> str:
        """Return in a line what was chosen; `reasons` say why."""
        why = self.reasons["device"].partition(": ")[2]
        parts = [f"{self.device.type} ({why})", self.precision, f"attention {self.attention}"]
        parts += [f"{self.threads} {'thread' if self.threads == 1 else 'threads'}"]
        parts += [f"{self.processes} processes"] * (self.processes > 1)
        parts += ["split weights"] * (self.sharding == "full" and self.processes > 1)
        parts += [f"compile {str(self.compile).lower()}"] * (self.compile is not False)
        if workers := self.loader_workers:
            parts.append(f"{workers} loader {'worker' if workers == 1 else 'workers'}")
        parts += ["deterministic"] * (self.deterministic and self.device.type != "cpu")
        return ", ".join(parts)

    def remarks(self) -> list[str]:
        """Return what params ask for and this machine does otherwise, or not as one would expect."""
        asked = "set in params; "
        return [
            f"{choice} {said.replace(asked, '')}" for choice, said in self.reasons.items() if asked in said
        ]

    def attention_for(self, work: Work) -> Attention:
        """Return the attention of a model that may be of another family than the one that was resolved."""
        return kernels.attention(self.wanted_attention, self.device, work)[0]

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Use mixed precision for a forward pass and its loss."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        with torch.autocast(self.device.type, dtype=dtype, enabled=self.precision in {"bf16", "fp16"}):
            yield


def resolve(wanted: params.Runtime, place: Place | None = None, work: Work | None = None) -> Runtime:
    """Resolve `auto`, and apply the process-wide settings: threads, TF32, attention kernels, determinism.

    Args:
        wanted: the params section. Its `processes` is for `distributed.started`, which joins a group first;
            this function concerns a single process.
        place: this process's place in its group; by default it is alone.
        work: description of the computation; by default batches of varying shapes and a model with fused
            attention.

    Raises:
        ParamsError: this machine lacks the requested device or precision, or the environment rules out
            determinism.
    """
    place, work = place or Place(), work or Work()
    device, device_reason = _device(wanted.device, place)
    precision, precision_reason = _precision(wanted.precision, device)
    attention, attention_reason = kernels.attention(wanted.attention, device, work)
    compiles, compile_reason = kernels.compilation(wanted.compile, device, wanted.deterministic)
    threads, threads_reason = _threads(wanted.threads, place)
    workers, workers_reason = _loader_workers(wanted.loader_workers, device)
    deterministic, deterministic_reason = _deterministic(wanted.deterministic, device)
    torch.set_num_threads(threads)
    kernels.apply(device, precision, deterministic, work.fixed_shapes)
    return Runtime(
        device=device,
        precision=precision,
        attention=attention,
        wanted_attention=wanted.attention,
        compile=compiles,
        packing=wanted.packing,
        fixed_shapes=work.fixed_shapes,
        threads=threads,
        processes=place.size,
        local_processes=place.local_size,
        rank=place.rank,
        sharding=wanted.sharding,
        loader_workers=workers,
        data_on_device=wanted.data_on_device,
        deterministic=deterministic,
        gradient_checkpointing=wanted.gradient_checkpointing,
        checkpoint_seconds=wanted.checkpoint_seconds,
        reasons={
            "device": f"{device.type}: {device_reason}",
            "precision": f"{precision}: {precision_reason}",
            "attention": f"{attention}: {attention_reason}",
            "compile": f"{str(compiles).lower()}: {compile_reason}",
            "threads": f"{threads}: {threads_reason}",
            "processes": f"{place.size}: {place.reason}",
            "sharding": f"{wanted.sharding}: {_sharding(wanted.sharding, place)}",
            "loader_workers": f"{'auto' if workers is None else workers}: {workers_reason}",
            "deterministic": f"{str(deterministic).lower()}: {deterministic_reason}",
        },
    )


def takes_statistics(model: torch.nn.Module) -> bool:
    """Return whether training updates batch normalisation statistics too (Ioffe & Szegedy 2015)."""
    return any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's default generators for one optimizer step of one process.

    A step's random numbers are then a function of these three numbers, so checkpoints need no random state.
    SeedSequence mixes them, so that neighbouring steps, ranks and seeds draw unrelated numbers.
    """
    (word,) = np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(word) >> 1)


def _device(wanted: str, place: Place) -> tuple[torch.device, str]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cuda" and not count:
        hint = "set runtime.device to auto or cpu"
        raise ParamsError(
            "runtime.device: this machine has no usable CUDA device",
            got="cuda",
            expected="a CUDA device",
            hint=hint,
        )
    if wanted == "cpu" or not count:
        return torch.device("cpu"), "set in params" if wanted == "cpu" else "no CUDA device"
    index = device_index(place, count)
    if index is None:
        hint = "lower runtime.processes, or set it to auto"
        got, expected = (
            f"{place.local_size} processes, {count} CUDA devices",
            "at most one process per CUDA device",
        )
        raise ParamsError(
            "runtime.processes: this machine has too few CUDA devices", got=got, expected=expected, hint=hint
        )
    device = torch.device("cuda", index)
    return (
        device,
        f"{torch.cuda.get_device_name(device)}, {'found by torch' if wanted == 'auto' else 'set in params'}",
    )


def device_index(place: Place, visible: int) -> int | None:
    """Return which of the `visible` devices this process uses; None if there are too few.

    A launcher may show each process a single device (SLURM's `--gpus-per-task=1`): that is device 0,
    regardless of the process's local rank.
    """
    if place.local_size <= visible:
        return place.local_rank
    return 0 if place.launched and visible == 1 else None


def _precision(wanted: str, device: torch.device) -> tuple[Precision, str]:
    if wanted == "tf32" and device.type == "cpu":
        raise ParamsError(
            "runtime.precision: only CUDA has TF32",
            got="tf32 on the CPU",
            expected="auto, bf16 or fp32",
            hint="change it",
        )
    if device.type == "cuda":
        able, name = torch.cuda.get_device_capability(device) >= AMPERE, torch.cuda.get_device_name(device)
        auto: tuple[Precision, str] = (
            ("bf16", f"{name} computes bf16") if able else ("fp16", f"{name} has no bf16")
        )
    else:
        # Without AVX512-BF16 or AMX, the processor emulates bf16, which is slower than fp32.
        able, name = torch.cpu._is_avx512_bf16_supported(), "the processor"
        auto = ("bf16", f"{name} computes bf16") if able else ("fp32", f"{name} has no bf16")
    match wanted:
        case "bf16":
            return "bf16", "set in params" if able else f"set in params; {name} only emulates it"
        case "fp16":
            return "fp16", "set in params; losses are scaled"
        case "tf32":
            return "tf32", "set in params" if able else f"set in params; {name} computes fp32 instead"
        case "fp32":
            return "fp32", "set in params"
        case _:
            return auto


def _threads(wanted: int | Literal["auto"], place: Place) -> tuple[int, str]:
    if wanted != "auto":
        return wanted, "set in params"
    sharing = 1 if place.bound else place.local_size
    count = max(processors.available() // sharing, 1)
    return count, "processors this process may use" + (
        f", shared by {sharing} processes" if sharing > 1 else ""
    )


def _sharding(wanted: str, place: Place) -> str:
    if wanted == "none":
        return "each process holds the whole model"
    return (
        f"set in params; {place.size} processes share the model"
        if place.size > 1
        else "set in params; one process holds the whole model"
    )


def _loader_workers(wanted: int | Literal["auto"], device: torch.device) -> tuple[int | None, str]:
    if wanted != "auto":
        return wanted, "set in params"
    if device.type == "cpu":
        return 0, "on the CPU they would take processors from the training"
    return None, "the first steps show how many are needed"


def _deterministic(wanted: bool, device: torch.device) -> tuple[bool, str]:
    if device.type == "cpu":
        return True, "the CPU always is, at a given number of threads"
    return wanted, "set in params" if wanted else "set in params; CUDA takes the fastest algorithms"
