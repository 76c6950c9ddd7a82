"""Test the runtime's choices and their reasons, the seeds of steps, and the reports of memory."""

import os
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton import params
from baton.errors import ParamsError, TrainingError
from baton.runtime import kernels, memory, resolve
from tests import tiny

ROOT = Path(__file__).parents[2]
AUTO = params.read(ROOT / "params.yaml").runtime.model_copy(update={"processes": 1})
CPU = torch.device("cpu")


def auto(**changes: object) -> resolve.Runtime:
    return resolve.resolve(AUTO.model_copy(update=changes))


def test_the_shipped_section_leaves_everything_to_auto() -> None:
    assert AUTO.model_dump() == {
        **dict.fromkeys(
            (
                "device",
                "precision",
                "attention",
                "compile",
                "packing",
                "threads",
                "loader_workers",
                "data_on_device",
            ),
            "auto",
        ),
        "processes": 1,
        "launcher": None,
        "sharding": "none",
        "deterministic": False,
        "gradient_checkpointing": False,
        "checkpoint_seconds": 120,
    }


def test_auto_says_what_it_chose_and_why() -> None:
    resolved = auto()
    wanted = {
        "device",
        "precision",
        "attention",
        "compile",
        "threads",
        "processes",
        "sharding",
        "loader_workers",
        "deterministic",
    }
    assert set(resolved.reasons) == wanted
    assert all(": " in reason for reason in resolved.reasons.values())
    assert resolved.threads == len(os.sched_getaffinity(0)) == torch.get_num_threads()
    assert resolved.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert (resolved.processes, resolved.rank, resolved.is_main) == (1, 0, True)


def test_auto_on_the_cpu() -> None:
    resolved = auto(device="cpu")
    assert (resolved.attention, resolved.compile, resolved.loader_workers, resolved.deterministic) == (
        "matmul",
        False,
        0,
        True,
    )
    assert resolved.precision == ("bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32")
    assert (
        not torch.are_deterministic_algorithms_enabled() and torch.get_float32_matmul_precision() == "highest"
    )


def test_what_params_say_is_taken() -> None:
    wanted: dict[str, Any] = {
        "precision": "fp16",
        "attention": "sdpa",
        "compile": True,
        "threads": 1,
        "loader_workers": 3,
    }
    resolved = auto(device="cpu", gradient_checkpointing=True, checkpoint_seconds=0.5, **wanted)
    assert wanted | {"gradient_checkpointing": True, "checkpoint_seconds": 0.5} == {
        name: getattr(resolved, name) for name in (*wanted, "gradient_checkpointing", "checkpoint_seconds")
    }
    assert all(resolved.reasons[name].split(": ")[1].startswith("set in params") for name in wanted)


def test_processes_on_a_machine_share_its_processors() -> None:
    place = resolve.Place(rank=5, local_rank=1, size=8, local_size=2, reason="a test")
    resolved = resolve.resolve(AUTO.model_copy(update={"device": "cpu"}), place)
    assert resolved.threads == max(len(os.sched_getaffinity(0)) // 2, 1)
    assert (resolved.processes, resolved.rank, resolved.is_main) == (8, 5, False)
    assert resolved.reasons["processes"] == "8: a test"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"runtime\.device[\s\S]*auto or cpu"):
        auto(device="cuda")


def test_tf32_on_the_cpu_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"runtime\.precision[\s\S]*tf32 on the CPU"):
        auto(device="cpu", precision="tf32")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_autocast_computes_in_the_chosen_precision(precision: str, dtype: torch.dtype) -> None:
    machine = tiny.machine(precision=precision)
    with machine.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


# ---- CUDA: choices for a card that this machine need not have
# --------------------------------------------------


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Simulate two Ampere cards and everything that a compiler needs, as far as `resolve` checks."""
    for name, value in {
        "is_available": True,
        "device_count": 2,
        "get_device_capability": (8, 0),
        "get_device_name": "A Card",
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(kernels, "compiler_lacks", lambda: None)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    return monkeypatch


MEASURED = kernels.MEASURED


@pytest.mark.parametrize(
    ("capability", "precision", "compiles"),
    [
        ((9, 0), "bf16", MEASURED),
        ((8, 0), "bf16", MEASURED),
        ((7, 5), "fp16", MEASURED),
        ((6, 1), "fp16", False),
    ],
)
def test_auto_on_cuda(
    card: pytest.MonkeyPatch, capability: tuple[int, int], precision: str, compiles: bool | str
) -> None:
    card.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    resolved = auto()
    assert (resolved.precision, resolved.compile, resolved.attention, resolved.loader_workers) == (
        precision,
        compiles,
        "sdpa",
        None,
    )
    assert "A Card" in resolved.reasons["device"] and not resolved.deterministic
    tiny.machine()


@pytest.mark.parametrize(
    ("precision", "tf32"), [("bf16", True), ("fp16", True), ("tf32", True), ("fp32", False)]
)
def test_tf32_is_on_unless_fp32_is_asked_for(card: pytest.MonkeyPatch, precision: str, tf32: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.set_warn_always(True)
        auto(precision=precision)
        torch.set_warn_always(False)
    # The old and the new settings agree; each of these raises an error if they do not.
    assert torch.backends.cuda.matmul.fp32_precision == ("tf32" if tf32 else "ieee")
    assert (torch.backends.cudnn.conv.fp32_precision == "tf32") == tf32
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == tf32
    assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    tiny.machine()  # and the CPU is strict again afterwards
    assert torch.get_float32_matmul_precision() == "highest"


def test_deterministic_on_cuda_is_strict_and_leaves_no_trace(card: pytest.MonkeyPatch) -> None:
    auto()  # torch reads the environment once per process, so it is set regardless of the first request
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert auto(deterministic=True).deterministic
    assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
    assert not auto().deterministic
    assert not torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.benchmark
    tiny.machine()
    assert not torch.backends.cudnn.benchmark


def test_each_process_has_its_own_card(card: pytest.MonkeyPatch) -> None:
    place = resolve.Place(rank=3, local_rank=1, size=4, local_size=2)
    assert resolve.resolve(AUTO, place).device == torch.device("cuda", 1)
    with pytest.raises(
        ParamsError, match="3 processes, 2 CUDA devices"
    ):  # raised by each process, so also by rank 0 before it starts others
        resolve.resolve(AUTO, resolve.Place(rank=0, size=3, local_size=3))
    tiny.machine()


def test_without_what_a_compiler_needs_nothing_is_compiled(card: pytest.MonkeyPatch) -> None:
    card.setattr(kernels, "compiler_lacks", lambda: "C compiler (gcc or clang)")
    assert auto().reasons["compile"] == "false: there is no C compiler (gcc or clang)"
    assert auto(compile=True).compile is True  # an explicit request gets torch's own error


def test_what_a_measurement_decides_is_not_deterministic(card: pytest.MonkeyPatch) -> None:
    assert auto(deterministic=True).reasons["compile"].startswith("false: measured times")
    assert auto(deterministic=True, compile=True).compile is True


def test_a_compiler_is_looked_for_where_triton_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's own function finds or misses the same; its per-process cache is bypassed."""
    from triton.runtime.build import _find_compiler

    for name in ("clang", "gcc"):
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        (tmp_path / name).unlink(missing_ok=True)
        assert kernels.compiler_lacks() == "C compiler (gcc or clang)"
        with pytest.raises(RuntimeError, match="Failed to find C compiler"):
            _find_compiler.__wrapped__("c")
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert kernels.compiler_lacks() in {None, "Python.h (Debian: python3-dev)"}
        assert _find_compiler.__wrapped__("c") == str(tmp_path / name)
        (tmp_path / name).unlink()
    monkeypatch.setenv("CC", "my-cc")
    assert kernels.compiler_lacks() == "C compiler (CC=my-cc)"


def test_headers_and_triton_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", sys.executable)
    monkeypatch.setattr(kernels.sysconfig, "get_paths", lambda scheme: {"include": str(tmp_path)})
    assert kernels.compiler_lacks() == "Python.h (Debian: python3-dev)"
    (tmp_path / "Python.h").touch()
    assert kernels.compiler_lacks() is None
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: None)
    assert kernels.compiler_lacks() == "package triton"


@pytest.mark.parametrize("fixed", [False, True])
def test_cudnn_plans_attention_for_fixed_shapes_only(card: pytest.MonkeyPatch, fixed: bool) -> None:
    resolved = resolve.resolve(AUTO, work=resolve.Work(fixed_shapes=fixed))
    assert torch.backends.cuda.cudnn_sdp_enabled() == fixed == resolved.fixed_shapes
    assert ("cuDNN" in resolved.reasons["attention"]) != fixed
    assert torch.backends.cuda.flash_sdp_enabled() and torch.backends.cuda.mem_efficient_sdp_enabled()
    resolve.resolve(AUTO.model_copy(update={"deterministic": True}), work=resolve.Work(fixed_shapes=fixed))
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    auto()
    assert not torch.backends.cuda.cudnn_sdp_enabled()  # nothing is left of the earlier runtime


def test_a_model_without_fused_attention_is_not_asked_for_it(card: pytest.MonkeyPatch) -> None:
    resolved = resolve.resolve(AUTO, work=resolve.Work(unfused="MPNetModel"))
    assert resolved.reasons["attention"] == "matmul: MPNetModel has no fused attention in transformers"
    assert resolved.attention == "matmul"


def test_a_workspace_that_rules_out_determinism_is_told(card: pytest.MonkeyPatch) -> None:
    card.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    assert not auto().deterministic and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":0:0"
    with pytest.raises(ParamsError, match=r"contradicts CUBLAS_WORKSPACE_CONFIG[\s\S]*:0:0"):
        auto(deterministic=True)


def compiled(seen: list[bool]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function whose two graphs report, when compiled, whether inductor would be deterministic."""
    import torch._inductor.config
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.aot_autograd import make_boxed_func

    def compiler(graph: Any, _inputs: Any) -> Any:
        seen.append(torch._inductor.config.deterministic)
        return make_boxed_func(graph.forward)

    torch._dynamo.reset()
    found: Callable[[torch.Tensor], torch.Tensor] = torch.compile(
        lambda x: x.sin().sum(), backend=aot_autograd(fw_compiler=compiler, bw_compiler=compiler)
    )
    return found


@pytest.mark.parametrize("strict", [True, False])
def test_graphs_are_deterministic_in_whatever_thread_they_are_run(
    card: pytest.MonkeyPatch, strict: bool
) -> None:
    """On CUDA, autograd computes in a separate thread, simulated here; compiler settings are per thread."""
    auto(deterministic=True)
    resolved, seen = auto(deterministic=strict), list[bool]()
    card.undo()  # the compiler would query the card
    backward = threading.Thread(target=compiled(seen)(torch.ones(3, requires_grad=True)).backward)
    backward.start()
    backward.join()
    assert seen == [strict, strict] and resolved.deterministic is strict
    tiny.machine()


@pytest.mark.gpu
@pytest.mark.parametrize("strict", [True, False])
def test_graphs_are_deterministic_in_autograd_s_own_thread(strict: bool) -> None:
    resolved, seen = auto(deterministic=strict), list[bool]()
    compiled(seen)(torch.ones(3, device=resolved.device, requires_grad=True)).backward()
    assert seen == [strict, strict]
    tiny.machine()


@pytest.mark.gpu
def test_cuda_is_found_and_uses_its_kernels() -> None:
    resolved = auto()
    assert resolved.device.type == "cuda" and resolved.attention == "sdpa"
    assert torch.backends.cuda.matmul.allow_tf32
    memory.reset_peak()
    before = memory.peak_memory()
    held = torch.ones(1000, device=resolved.device)  # 4,000 bytes, in blocks of 512
    assert memory.peak_memory() - before == 4096 and len(held) == 1000
    tiny.machine()


@pytest.mark.gpu
def test_attention_on_cuda_is_that_of_the_cpu_by_the_kernels_that_are_left() -> None:
    """In bf16 with a mask, as in BERT, the memory-efficient kernel runs: flash has no masks, cuDNN is off."""
    query, key, value = torch.randn(3, 2, 4, 16, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 1, 16, 16, dtype=torch.bool)
    mask[1, ..., 9:] = False
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)
    auto()
    moved = [tensor.cuda().bfloat16() for tensor in (query, key, value)]
    assert (
        torch._fused_sdp_choice(*moved, mask.cuda())
        == torch.nn.attention.SDPBackend.EFFICIENT_ATTENTION.value
    )
    found = torch.nn.functional.scaled_dot_product_attention(*moved, mask.cuda())
    torch.testing.assert_close(found.float().cpu(), expected, atol=2e-2, rtol=2e-2)
    tiny.machine()


# ---- seeds
# -----------------------------------------------------------------------------------------------------


def test_a_seed_fixes_every_generator() -> None:
    draws = []
    for _ in range(2):
        resolve.seed_everything(3)
        draws.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert draws[0] == draws[1]


def test_a_step_draws_the_same_whatever_was_drawn_before() -> None:
    resolve.seed_step(0, 7, 0)
    first = torch.rand(5)
    torch.rand(1000)
    resolve.seed_step(0, 7, 0)
    assert torch.equal(torch.rand(5), first)
    torch.rand(1000)
    assert not torch.equal(torch.rand(5), first)  # negative control: without the seed the draw differs


def test_seeds_steps_and_ranks_are_mixed_well() -> None:
    """No step of the next seed and no other rank repeats a draw, as `seed + step` would."""
    seeds = set()
    for seed in range(8):
        for step in range(32):
            for rank in range(4):
                resolve.seed_step(seed, step, rank)
                seeds.add(torch.initial_seed())
    assert len(seeds) == 8 * 32 * 4 and max(seeds) < 2**63
    assert sum(seed.bit_count() for seed in seeds) / len(seeds) == pytest.approx(
        31.5, abs=0.5
    )  # half of 63 bits, as in random numbers


# ---- memory
# ----------------------------------------------------------------------------------------------------


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """If an earlier test used a device, the peak would be the device's."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)


@pytest.mark.usefixtures("without_cuda")
def test_peak_memory_is_this_process_own_and_includes_what_was_given_back() -> None:
    """Measured in a child of this larger process: a figure inherited over fork would show."""
    ballast = np.ones(2**27, dtype=np.uint8)
    program = (
        "import numpy as n; from baton.runtime.memory import peak_memory as p; "
        "a = p(); n.ones(2**27, n.uint8); print(a, p())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    shown = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    ).stdout
    before, after = map(int, shown.split())
    assert after - before == pytest.approx(2**27, rel=0.1)
    assert before < memory.peak_memory() and len(ballast)


@pytest.mark.usefixtures("without_cuda")
def test_each_training_has_a_peak_of_its_own() -> None:
    ballast = np.ones(2**28, dtype=np.uint8)
    with_it = memory.peak_memory()
    del ballast
    memory.reset_peak()
    assert memory.peak_memory() < with_it - 2**27


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore text"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: "
            "can't allocate memory: you tried to allocate 8 bytes."
        ),
        MemoryError(),
    ],
)
def test_a_lack_of_memory_names_batch_length_and_peak_and_what_to_lower(error: Exception) -> None:
    with pytest.raises(TrainingError) as caught, memory.explained_memory("training", (32, 128)):
        raise error
    first, got, *_ = str(caught.value).splitlines()
    assert first == "training ran out of memory on a batch of 32 samples of length 128"
    assert (str(error).splitlines() or ["MemoryError"])[0] in got and " GiB)" in got
    assert "raise accumulation" in str(caught.value) and caught.value.__cause__ is error


def test_another_error_stays_what_it_is() -> None:
    with (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
        memory.explained_memory("training", (32, 128)),
    ):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
