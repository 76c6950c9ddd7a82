"""Remove the checkpoints of a training run that was stopped, and that nobody will resume."""

import contextlib
import json
import os
import shutil
from pathlib import Path

from baton import params, storage


def remove(stage: str, made: params.Params, since: float) -> None:
    """Remove the checkpoints of a stage with these params that were in use later than `since`.

    `since` is in seconds since 1970. The folder of a training run names its params, in `fingerprint.json`.
    """
    section = getattr(made, stage).model_dump(mode="json", exclude={"seeds"})
    wanted = {f"params {stage}.{key}": json.dumps(value) for key, value in params.flatten(section).items()}
    for path in storage.state("checkpoints").glob(f"{stage}/*/fingerprint.json"):
        with contextlib.suppress(OSError, ValueError):
            marks = storage.read_json(path)
            used = (path.parent / "writer.txt").stat().st_mtime
            if used >= since and marks.items() >= wanted.items():
                _remove(path.parent)


def _remove(folder: Path) -> None:
    """Remove a folder that no process has locked."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
