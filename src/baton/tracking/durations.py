"""How long training stages took. No output of a stage has times, so the project's state keeps them.

Input: a stage that ended -> .baton/durations/STAGE.json. Output: the times of stages whose results are here.
"""

import contextlib
from pathlib import Path

from baton import storage
from baton.errors import BatonError

FOLDER = "durations"
# What identifies a stage's results: DVC may have restored others from its cache, which took no time here.
MADE = {name: Path(f"metrics/{name}.json") for name in ("finetune", "distill")}


def note(stage: str, seconds: float) -> None:
    """Keep the time of a stage that has just written its results; whatever goes wrong, the stage goes on."""
    made = MADE.get(stage)
    with contextlib.suppress(OSError, BatonError):
        if made is not None and made.is_file():
            path = storage.state(FOLDER) / f"{stage}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.write_json(path, {"seconds": seconds, "made": storage.sha256(made)})


def read() -> dict[str, float | None]:
    """Return the seconds of each training stage; None if its results were not made here."""
    return {stage: _seconds(stage, made) for stage, made in MADE.items()}


def _seconds(stage: str, made: Path) -> float | None:
    try:
        own = storage.read_json(storage.state(FOLDER) / f"{stage}.json")
        return float(own["seconds"]) if own["made"] == storage.sha256(made) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
