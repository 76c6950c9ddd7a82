"""How a report was made: params, commit, machine, digests and minutes, as text for reports/report.html."""

import time
from collections.abc import Mapping
from typing import Any

from baton import params
from baton.tracking import durations, environment
from baton.workspace import dvc_files

STAGE = "evaluate"  # it writes the report, so `dvc.lock` has only its earlier outputs


def facts(reasons: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """Return the fields of `evaluate.report.html.about.About`.

    Args:
        reasons: the runtime's choices.
        seconds: that `evaluate` has taken so far.
    """
    raw = params.read_raw()
    return {
        "title": str((raw.get("promotion") or {}).get("name") or "Baton"),
        "description": str(raw.get("description") or ""),
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "git": environment.git(),
        "machine": {name.replace("version.", ""): value for name, value in environment.tags().items()},
        "runtime": dict(reasons),
        "params": {
            name: "null" if value is None else str(value) for name, value in params.flatten(raw).items()
        },
        "digests": {
            path: digest
            for stage, own in dvc_files.read_lock().items()
            if stage != STAGE
            for path, digest in own["outs"].items()
        },
        "minutes": {
            f"time of {stage}": _minutes(found)
            for stage, found in {**durations.read(), STAGE: seconds}.items()
        },
    }


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return "not known: its results were not made in this checkout"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
