"""The processes of `gpu`, each of which runs pieces one after the other.

When a piece exceeds its limit, its process is ended with everything it started. The cost of imports, weights
and a CUDA context is paid once for all pieces that follow each other. After a process was ended, or ended by
itself, another one runs the remaining pieces, so one failure does not lose the rest.
"""

import contextlib
import gc
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks._gpu_work import ROOT, with_root

LEAST_SECONDS = 8.0  # with less time left, a piece is not started
POLL_SECONDS = 0.05
NOT_BEGUN = {"ok": False, "found": "not started: no time was left"}


class Named(Protocol):
    """What a process needs to know about a piece."""

    limit: float  # seconds
    fresh: bool  # needs a process that has run nothing before it

    @property
    def name(self) -> str:
        """Return its name on the command line."""
        ...


class Child:
    """One process for these pieces."""

    def __init__(self, names: Sequence[str], options: Namespace) -> None:
        """Start it; its working directory, results and log are in a folder named after the first piece."""
        self.folder = options.folder / "pieces" / names[0]
        shutil.rmtree(self.folder, ignore_errors=True)  # left by an earlier run
        self.folder.mkdir(parents=True)
        command = [
            sys.executable,
            "-m",
            "benchmarks.gpu",
            "--piece",
            *names,
            "--json",
            str(self.folder / "result.json"),
        ]
        command += ["--folder", str(options.folder)] + (["--tiny"] if options.tiny else [])
        command += ["--project", str(options.project.resolve())] if options.project else []
        # A cold compilation may take minutes, so processes share their compiled code: the first piece of a
        # model shows the cost.
        caches = {
            "TORCHINDUCTOR_CACHE_DIR": str(options.folder / "inductor"),
            "TRITON_CACHE_DIR": str(options.folder / "triton"),
        }
        with (self.folder / "log").open("w") as log:
            own: dict[str, Any] = {
                "env": with_root() | caches,
                "stdout": log,
                "stderr": log,
                "start_new_session": True,
                "cwd": ROOT,
            }
            self.process = subprocess.Popen(command, **own)

    def result(self, name: str, limit: float) -> dict[str, Any]:
        """Wait for a piece up to its limit; return its result. After a failure the process is gone."""
        path, until = result_of(self.folder / "result.json", name), time.monotonic() + limit
        while not path.is_file() and self.process.poll() is None and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        code = self.process.poll()
        self.end(asking=code is None)
        problem = f"cut off at its limit of {limit:.0f} s" if code is None else f"ended with exit code {code}"
        return {
            "ok": False,
            "found": problem,
            "cut_off": code is None,
            "output": (self.folder / "log").read_text(errors="replace")[-4000:],
        }

    def end(self, asking: bool = False) -> None:
        """End it with everything it started; with `asking`, it first reports where it is."""
        if asking:
            self.process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def results(
    wanted: Sequence[Named], options: Namespace, end: float
) -> Iterator[tuple[Named, dict[str, Any], float]]:
    """Yield each piece with its result and its seconds, in one process as long as none fails.

    Args:
        wanted: the pieces, in this order.
        options: the command's options.
        end: on the monotonic clock; nothing runs past it.
    """
    child: Child | None = None
    try:
        for index, piece in enumerate(wanted):
            began = time.monotonic()
            if end - began < LEAST_SECONDS:
                yield piece, dict(NOT_BEGUN), 0.0
                continue
            if child and piece.fresh:
                child.end()
                child = None
            if child is None:
                together = itertools.takewhile(lambda one: not one.fresh, wanted[index + 1 :])
                child = Child([piece.name, *(one.name for one in together)], options)
            found = child.result(piece.name, min(piece.limit, end - began))
            child = child if child.process.poll() is None else None
            yield piece, found, time.monotonic() - began
    finally:
        if child:
            child.end()


def result_of(path: Path, name: str) -> Path:
    """Return where a process that is told to write to `path` writes the result of one piece."""
    return path.with_name(f"{name}.json")


def forget() -> None:
    """Release device memory, compiled graphs and their numbers between two pieces of one process."""
    gc.collect()
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()
        dynamo.utils.counters.clear()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
