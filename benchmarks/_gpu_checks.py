"""The checks of `gpu` besides speed.

They cover the machine, its bf16 ceiling, GPU tests, resume, fp16 overflow, and a stop during compilation. A
check returns figures; `ok` says whether what the project promises held, and `found` what was observed.
"""

import importlib.metadata
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psutil
import torch

from baton.processes import supervision
from baton.runtime import kernels, resolve
from benchmarks import _gpu_course, _gpu_work, _sides
from benchmarks._gpu_work import ROOT, Work
from benchmarks._training import now

PACKAGES = (
    "torch",
    "triton",
    "torchvision",
    "transformers",
    "timm",
    "accelerate",
    "numpy",
    "pyarrow",
    "pydantic",
)
MARK = "mark.gpu"
# Seconds into the first forward pass at which the compiler is working; with --tiny, its substitute.
COMPILING_SECONDS = {False: 3.0, True: 0.5}
STOP_LIMIT = 60.0  # seconds until the training run is killed


def versions(device: torch.device) -> dict[str, Any]:
    """Return card, driver, packages, what a compiler needs, and the versions that differ from the lock."""
    installed = {name: importlib.metadata.version(name) for name in PACKAGES if _installed(name)}
    locked = dict(
        line.removesuffix("\\").split(";")[0].strip().split("==")
        for line in _lines(ROOT / "requirements.lock")
        if re.match(r"[\w.-]+==", line)
    )
    other = {
        name: f"{version}, locked {locked[name]}"
        for name, version in installed.items()
        if locked.get(name, version) != version
    }
    found = {
        "python": platform.python_version(),
        "packages": installed,
        "other_than_locked": other,
        "cpu": _sides.machine(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "compiler_lacks": kernels.compiler_lacks(),
        "card": "none: the CPU",
    }
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        smi = ["nvidia-smi", "--query-gpu=driver_version,power.limit,clocks.max.sm", "--format=csv,noheader"]
        found |= {
            "card": facts.name,
            "capability": f"{facts.major}.{facts.minor}",
            "card_memory_gib": round(facts.total_memory / 2**30, 1),
            "cuda": str(torch.version.cuda),
            "cudnn": torch.backends.cudnn.version(),
            "driver": subprocess.run(smi, capture_output=True, text=True, check=False).stdout.strip()
            if shutil.which("nvidia-smi")
            else "",
        }
    return found


def ceiling(device: torch.device, size: int) -> dict[str, Any]:
    """Measure the bf16 operations per second of a large product, and the bytes per second of a device copy.

    Both are medians of twenty runs on random numbers.
    """
    first, second = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    source = torch.randn(size, size, device=device)
    target = torch.empty_like(source)
    product = _median(lambda: first @ second)
    copied = _median(lambda: target.copy_(source))
    return {
        "size": size,
        "bf16_operations_per_second": 2 * size**3 / product,
        "copied_bytes_per_second": 2 * source.nbytes / copied,
    }


def tests(folder: Path, limit: float) -> dict[str, Any]:
    """Run `pytest -m gpu` on the files with such tests; return how many passed and what failed.

    If package versions differ from the lock, their warnings are not errors.
    """
    files = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if MARK in path.read_text(encoding="utf-8")
    ]
    report = folder / "tests.xml"
    other = versions(torch.device("cpu"))["other_than_locked"]
    options = [
        "-m",
        "gpu and not slow",
        "-n",
        "0",
        "-q",
        "--continue-on-collection-errors",
        f"--junitxml={report}",
        "-p",
        "no:cacheprovider",
        "-p",
        "benchmarks._gpu_report",
    ]
    options += ["-W", "default", "-o", "minversion=7"] if other else []
    try:
        command = [sys.executable, "-m", "pytest", *options, *files]
        run = subprocess.run(
            command,
            cwd=ROOT,
            env=_gpu_work.with_root(),
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return {
            "ok": False,
            "found": f"not finished after {limit:.0f} s",
            "output": _text(error.stdout)[-6000:],
        }
    return summary(report) | {"warnings_are_errors": not other, "output": (run.stdout + run.stderr)[-6000:]}


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def summary(report: Path) -> dict[str, Any]:
    """Summarize a JUnit report: counts and failures, each with the first line of its message."""
    if not report.is_file():
        return {"ok": False, "found": "pytest wrote no report"}
    suite = next(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314  our own pytest wrote it
    failed = {}
    for case in suite.iter("testcase"):
        for kind in ("failure", "error"):
            if (problem := case.find(kind)) is not None:
                failed[f"{case.get('classname')}.{case.get('name')}"] = (
                    (problem.get("message") or "").strip().splitlines()[:3]
                )
    skipped = int(suite.get("skipped", 0))
    passed = int(suite.get("tests", 0)) - skipped - len(failed)
    found = f"{passed} passed, {len(failed)} failed, {skipped} skipped"
    return {
        "ok": not failed and (passed > 0 or not torch.cuda.is_available()),
        "found": found,
        "failed": failed,
    }


def resume(work: Work, name: str, compiled: bool) -> dict[str, Any]:
    """Check that a run stopped halfway and resumed by another process ends with an unstopped run's bits."""
    folder = work.project / f"resume-{name}"  # the other resume check may run at the same time
    shutil.rmtree(folder, ignore_errors=True)
    whole = _gpu_course.train(work, folder / "whole", compiled)
    stopped = _gpu_course.train(work, folder / "stopped", compiled, stop=work.sizes.all_steps // 2)
    command = _gpu_course.command("rest", folder / "stopped", work, compiled)
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=_gpu_work.with_root())
    if run.returncode:
        return {"ok": False, "found": "the process that resumes failed", "output": run.stderr[-4000:]}
    continued = _gpu_course.read(folder / "stopped")
    same = continued["weights"] == whole["weights"] and continued["losses"] == whole["losses"]
    found = f"stopped after step {stopped['step']} of {whole['step']}: " + (
        "the same bits" if same else "OTHER BITS"
    )
    return {
        "ok": same and stopped["weights"] != whole["weights"],
        "found": found,
        "whole": whole,
        "continued": continued,
    }


def overflow(work: Work) -> dict[str, Any]:
    """Check that an fp16 step that overflows is skipped and halves the loss scale, and training continues."""
    return _gpu_course.overflow(work)


def stopped_in_compiler(work: Work) -> dict[str, Any]:
    """Send SIGTERM while the first forward pass compiles.

    The process must exit with 143 in time, leave a checkpoint, and leave no process behind.
    """
    folder = work.project / "stopped"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "TRITON_CACHE_DIR": str(folder / "triton")}
    command = _gpu_course.command("compile", folder, work, compiled=True)
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(command, env=_gpu_work.with_root() | caches, stdout=log, stderr=log)
        try:
            _wait(lambda: (folder / "begun").exists() or child.poll() is not None, STOP_LIMIT)
            time.sleep(COMPILING_SECONDS[work.sizes.tiny])
            computed = (folder / "computed").exists()  # too late: the step had finished
            family = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
            began = time.monotonic()
            child.send_signal(signal.SIGTERM)
            code = child.wait(STOP_LIMIT)
            seconds = time.monotonic() - began
        except (subprocess.TimeoutExpired, TimeoutError):
            child.kill()
            return {
                "ok": False,
                "found": f"still running {STOP_LIMIT:.0f} s after SIGTERM",
                "output": _tail(folder / "log"),
            }
    _, left = psutil.wait_procs(family, timeout=5)
    saved = sorted(path.name for path in (folder / "checkpoints").glob("[!.]*"))
    found = (
        f"exit code {code} after {seconds:.1f} s, checkpoints: {', '.join(saved) or 'none'}, processes "
        f"left: {len(left)}"
    )
    for one in left:
        one.kill()
    in_time = seconds <= supervision.GRACE_SECONDS
    ok = code == 128 + signal.SIGTERM and in_time and bool(saved) and not left and not computed
    return {
        "ok": ok,
        "found": found + (" (compilation had already finished)" if computed else ""),
        "output": _tail(folder / "log"),
    }


def _wait(done: Callable[[], bool], limit: float) -> None:
    end = time.monotonic() + limit
    while not done():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]


def _median(work: Callable[[], Any]) -> float:
    """Return the median seconds."""
    for _ in range(3):
        work()
    seconds = []
    for _ in range(20):
        began = now()
        work()
        seconds.append(now() - began)
    return statistics.median(seconds)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def device(work: Work) -> torch.device:
    """Return the device of the training runs."""
    return resolve.resolve(work.runtime).device
