"""The shared parts of comparisons: sides in separate processes that take turns, ratios, tables.

A machine's speed drifts (other guests, clock, temperature). So the sides of a comparison take turns, their
order is reversed at each repeat, and ratios are formed within a repeat, from measurements close to each other
in time. Tables are printed to be pasted into LOG.md.
"""

import argparse
import contextlib
import functools
import importlib.metadata
import multiprocessing
import os
import platform
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from baton import console
from baton.errors import DataError

LAUNCHER = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # stages/run sets it for speed: huge pages
Measure = Callable[[], Any]
Result = TypeVar("Result")


def parser(description: str | None, repeats: int) -> argparse.ArgumentParser:
    """Return a parser with the options of every comparison."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--project",
        type=Path,
        default=Path(),
        help="folder whose data/ is used (default: the working directory)",
    )
    made.add_argument(
        "--repeats", type=int, default=repeats, help=f"measurements of each side (default {repeats})"
    )
    made.add_argument(
        "--seed", type=int, default=0, help="for the choice of documents and the first weights (default 0)"
    )
    return made


def require(project: Path, *names: str) -> None:
    """Refuse a project that is not prepared.

    Raises:
        DataError: one of `names` is missing in the folder.
    """
    missing = [name for name in names if not (project / name).exists()]
    if missing:
        stage = "finetune" if any(name.startswith("models") for name in missing) else "tokenize"
        hint = f"run `dvc repro {stage}` there, or name another folder with --project"
        raise DataError(
            f"{project.resolve()} is not prepared",
            got=f"no {', '.join(missing)}",
            expected=", ".join(names),
            hint=hint,
        )


@contextlib.contextmanager
def processes(
    sides: Mapping[str, Measure], fresh: bool = False, all_launched: bool = False
) -> Iterator[dict[str, Measure]]:
    """Yield the measurements, each in a process without a shared allocator, thread pool or kernel cache.

    A process waits, without computing, while the others measure. With `fresh` every measurement starts a new
    process, whose peak memory is then its own. Our side has the environment that the launcher gives a stage;
    with `all_launched` the peers have it too.
    """
    launched = {name: all_launched or name.startswith("ours") for name in sides}
    with contextlib.ExitStack() as stack:
        if fresh:
            yield {
                name: functools.partial(_alone, launched[name], measure) for name, measure in sides.items()
            }
            return
        pools = {name: stack.enter_context(_pool(launched[name])) for name in sides}
        yield {name: functools.partial(_ask, pools[name], measure) for name, measure in sides.items()}


def take_turns(
    sides: Mapping[str, Callable[[], Result]], repeats: int, show: Callable[[Result], str]
) -> dict[str, list[Result]]:
    """Measure each side `repeats` times; print each result."""
    results: dict[str, list[Result]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name in list(sides) if repeat % 2 == 0 else reversed(sides):
            results[name].append(sides[name]())
            console.say(f"repeat {repeat + 1} of {repeats}: {name}: {show(results[name][-1])}")
    return results


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the median of the ratios within each repeat, and their range."""
    values = [one / other for one, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def spread(values: Sequence[float], form: str = "{:,.1f}") -> str:
    """Return median and range."""
    return (
        f"{form.format(statistics.median(values))} ({form.format(min(values))} to {form.format(max(values))})"
    )


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table as Markdown."""
    print()
    for cells in (columns, ["---"] * len(columns), *rows):
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


def machine(*packages: str) -> str:
    """Return the processors and the versions of the measured packages."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
        return f"{len(os.sched_getaffinity(0))} processors ({model}); {versions}"
    return platform.platform()


def peak_memory() -> int:
    """Return this process's peak memory in bytes; torch need not be imported, and children do not count."""
    return _status("VmHWM")  # getrusage() may report the process that this one was forked from


def own_memory() -> int:
    """Return this process's memory in bytes, without pages of mapped files, which the system can reclaim."""
    return _status("RssAnon")


def _status(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{field}:"))


def sample(count: int, wanted: int, seed: int) -> list[int]:
    """Return `wanted` of `count` rows (or all, if there are fewer) in random order."""
    return random.Random(seed).sample(range(count), min(wanted, count))  # noqa: S311  not for secrets


def _pool(launched: bool) -> ProcessPoolExecutor:
    """Start a separate process at once."""
    pool = ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"))
    before = dict(os.environ)
    if launched:
        os.environ |= LAUNCHER
    pool.submit(int).result()
    os.environ.clear()
    os.environ |= before
    return pool


def _ask(pool: ProcessPoolExecutor, measure: Measure) -> Any:
    return pool.submit(measure).result()


def _alone(launched: bool, measure: Measure) -> Any:
    with _pool(launched) as pool:
        return _ask(pool, measure)
