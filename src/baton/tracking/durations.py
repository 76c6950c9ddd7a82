"""How long training stages took. No output of a stage has times, so the project's state keeps them.

Input: a stage that ended -> .baton/durations/STAGE.json. Output: the times of stages whose results are here.
"""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from baton import storage
from baton.errors import BatonError

FOLDER = "durations"
# What identifies a stage's results: DVC may have restored others from its cache, which took no time here.
MADE = {
    "finetune": Path("metrics/finetune.json"),
    "distill": Path("metrics/distill.json"),
    "evaluate": Path("reports/metrics.json"),
}


@dataclass(frozen=True)
class Spent:
    """What a stage took."""

    seconds: float  # of the process, with its start
    memory: int  # bytes, its peak


def note(stage: str, seconds: float) -> None:
    """Keep the time of a stage that has just written its results; whatever goes wrong, the stage goes on.

    `seconds` are those since the stage was set up. The process's own, and its peak of memory, are kept too.
    """
    made = MADE.get(stage)
    with contextlib.suppress(OSError, BatonError, psutil.Error):
        if made is not None and made.is_file():
            from baton.runtime import memory  # with torch, which a stage has and the command line has not

            path = storage.state(FOLDER) / f"{stage}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            found = {
                "seconds": seconds,
                "process_seconds": time.time() - psutil.Process().create_time(),
                "peak_memory_bytes": memory.highest(),
                "made": storage.sha256(made),
            }
            storage.write_json(path, found)


def read() -> dict[str, float | None]:
    """Return the seconds of each stage that is timed; None if its results were not made here."""
    found = {stage: _read(stage, made) for stage, made in MADE.items()}
    return {stage: None if own is None else float(own["seconds"]) for stage, own in found.items()}


def spent(stage: str) -> Spent | None:
    """Return what a stage took; None if its results were not made here."""
    own = _read(stage, MADE[stage])
    if own is None or "process_seconds" not in own:
        return None
    return Spent(float(own["process_seconds"]), int(own["peak_memory_bytes"]))


def _read(stage: str, made: Path) -> dict[str, Any] | None:
    try:
        own = storage.read_state(storage.state(FOLDER) / f"{stage}.json")
        return own if float(own["seconds"]) >= 0 and own["made"] == storage.sha256(made) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
