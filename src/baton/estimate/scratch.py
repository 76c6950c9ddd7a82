"""A scratch folder in the project's state, with links to the project's data and code, where stages rehearse.

Nothing that is written there touches the project's outputs, records or checkpoints, and it is removed.
"""

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from baton import params, resources, storage
from baton.errors import TrainingError
from baton.estimate import speed_rounds, states
from baton.processes import locks, supervision

LINKED = ("src", "stages", "baton_code", "dvc.yaml", "dvc.lock", "requirements.lock", "inbox", ".venv")
READ = ("data/arrays", "data/base", "data/clean", "data/raw")
SECONDS = 600  # of one rehearsal
PREFIX = "rehearsal-"  # of the scratch folder


@contextlib.contextmanager
def opened(done: Sequence[str]) -> Iterator[Path]:
    """Yield the folder; the outputs of the stages in `done` are links to the project's.

    Raises:
        OutputError: another estimate runs in this project.
    """
    parent = storage.state("estimate")
    with locks.alone(parent / "lock", "estimate runs in this project"):
        for left in parent.glob(f"{PREFIX}*"):  # of one that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            for name in (*LINKED, *READ, *(path for stage in done for path in states.outputs(stage))):
                link(Path(name), folder)
            raw = params.read_raw()
            raw["evaluate"]["speed"] |= speed_rounds.few(params.read().evaluate.speed).model_dump()
            YAML(typ="safe", pure=True).dump(raw, folder / params.PATH)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def link(path: Path, folder: Path) -> None:
    """Link a file or folder of the project to the same place in `folder`, if it is there."""
    target = folder / path
    if path.exists() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve() if path.name != ".venv" else path.absolute())


def rehearse(stage: str, folder: Path) -> dict[str, Any]:
    """Run the rehearsal of a stage in a process of its own, and return what it found.

    That of `evaluate` may fail at answers that are made up; then the reason is returned.

    Raises:
        TrainingError: that of another stage failed.
    """
    target = folder / f"{stage}.json"
    try:
        ended = subprocess.run(
            resources.stage("estimate", stage, str(target), folder=folder),
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            preexec_fn=functools.partial(supervision.die_with_parent, signal.SIGTERM, os.getpid()),
        )
    except subprocess.TimeoutExpired:
        return {"reason": f"its rehearsal did not end in {SECONDS // 60} minutes"}
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip()
        got = said_why(said) or f"exit code {ended.returncode}"
        if stage == "evaluate":
            return {"reason": f"its rehearsal failed: {got}"}
        raise TrainingError(
            f"the rehearsal of {stage} failed",
            got=got,
            expected="a few steps",
            hint=f"`dvc repro {stage}` would probably fail in the same way:\n{said}",
        )
    found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return found


def said_why(said: str) -> str:
    """Return the line of a failed process's output that says why: its error, or the last of a traceback."""
    lines = said.splitlines()
    return next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else "")


def environment(folder: Path) -> Mapping[str, str]:
    """Return the environment of a rehearsal: its state is in the scratch folder, and nothing is recorded."""
    own = {name: value for name, value in os.environ.items() if name not in ("BATON_COSTS", "BATON_REPRO_ID")}
    return own | {
        "DVC_ROOT": str(folder),
        "BATON_PYTHON": sys.executable,
        "BATON_TRACKING": "off",
        "BATON_SUMMARY": "later",
        "BATON_SPEED": params.read().evaluate.speed.model_dump_json(),
    }


def size(paths: Sequence[str], folder: Path) -> int:
    """Return the bytes of outputs in the scratch folder."""
    places = [folder / path for path in paths]
    files = [
        file
        for place in places
        for file in (place.rglob("*") if place.is_dir() else (place,))
        if file.is_file()
    ]
    return sum(file.stat().st_size for file in files)
