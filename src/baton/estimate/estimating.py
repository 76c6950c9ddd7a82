"""`baton estimate`: rehearse the stages that would run, and keep what was found in `.baton/estimate.json`."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from baton import console, params, storage
from baton.errors import DataError
from baton.estimate import scratch, shown, states
from baton.estimate.shown import Estimated
from baton.runtime import memory
from baton.tracking import durations, environment
from baton.train.checkpoint_folders import KEEP

KEPT = "estimate.json"  # in the project's state
NEEDS = {"finetune": [], "distill": ["finetune"], "evaluate": ["finetune", "distill"]}


def estimate() -> None:
    """Time a few steps of each stage that would run, and print and keep what follows from them.

    Raises:
        ParamsError: params are invalid.
        DataError: the arrays are not those that params ask for.
        TrainingError: a rehearsal failed.
    """
    active = params.read()
    current = states.current()
    states.require_data(current)
    found = {stage: Estimated(cached=True) for stage in states.STAGES if stage in current}
    if rest := [stage for stage in states.TIMED if stage not in current]:
        found |= rehearsed(rest, active)
    if active.export is None:
        found.pop("export", None)
    elif "export" not in current:
        found["export"] = Estimated(
            reason="which candidates it measures is known only when the model is trained"
        )
    storage.write_json(
        storage.state(KEPT),
        {
            "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "params": storage.sha256(params.PATH),
            "machine": environment.tags(),
            "stages": {stage: asdict(own) for stage, own in found.items()},
        },
    )
    shown.table(found)
    shown.warn(found, memory.available(), shutil.disk_usage(Path.cwd()).free)
    console.say("`baton estimate --actual` shows what the stages took beside this, once they have run")


def rehearsed(rest: list[str], active: params.Params) -> dict[str, Estimated]:
    """Return the estimates of the stages `rest`, in the order in which they run."""
    done = [stage for stage in states.TIMED if stage not in rest]
    there = [stage for stage in done if all(Path(path).exists() for path in states.outputs(stage))]
    found: dict[str, Estimated] = {}
    blocked: dict[str, str] = {}
    with scratch.opened(there) as folder:
        for stage in states.TIMED:
            if stage in there:
                continue
            if why := next((blocked[other] for other in NEEDS[stage] if other in blocked), None):
                blocked[stage] = why
                found[stage] = Estimated(reason=why)
                continue
            console.say(f"{stage}: a few of its steps are timed …")
            said = scratch.rehearse(stage, folder)
            if (why := said.get("blocked")) is not None or not _written(stage, folder):
                blocked[stage] = why or said.get("reason", "")
            found[stage] = _estimated(said, scratch.size(states.outputs(stage), folder), active)
    return {stage: own for stage, own in found.items() if stage in rest}


def _written(stage: str, folder: Path) -> bool:
    return all((folder / path).exists() for path in states.outputs(stage))


def _estimated(said: Mapping[str, Any], written: int, active: params.Params) -> Estimated:
    """Return the estimate that follows from a rehearsal and the bytes that it wrote.

    DVC keeps a copy of what a stage writes in its cache, and MLflow one of the model. While it trains there
    are `KEEP` checkpoints, and the one that is written.
    """
    if reason := said.get("blocked") or said.get("reason"):
        return Estimated(reason=reason)
    copies = 2 if isinstance(active.tracking, params.NoTracking) else 3
    return Estimated(
        seconds=said["seconds"],
        memory=said["memory_bytes"],
        device=said["device"],
        disk=copies * written + (KEEP + 1) * said.get("checkpoint_bytes", 0),
        notes=said.get("notes", []),
        parts=said["parts"],
        runs=said.get("runs", {}),
    )


def actual() -> None:
    """Print what the stages took beside the estimate that was kept.

    Raises:
        DataError: there is no estimate.
    """
    try:
        kept = storage.read_state(storage.state(KEPT))
        found = {stage: Estimated(**own) for stage, own in kept["stages"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            "there is no estimate to compare with",
            got=f"no {storage.state(KEPT)}",
            expected="what `baton estimate` kept",
            hint="run `baton estimate` before `dvc repro`",
        ) from None
    if kept["params"] != storage.sha256(params.PATH):
        console.warn("estimate", "params.yaml has changed since it was made")
    shown.beside(found, {stage: durations.spent(stage) for stage in states.TIMED}, kept["made"])
