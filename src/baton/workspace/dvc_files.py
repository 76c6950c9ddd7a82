"""Read `dvc.yaml` and `dvc.lock`: the files that each stage writes, and their digests. Needs no mlflow."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from baton import params

LOCK, GRAPH = Path("dvc.lock"), Path("dvc.yaml")

Lock = Mapping[str, Mapping[str, dict[str, str]]]  # stage -> "outs" and "deps" -> path -> digest


def outputs(kinds: Sequence[str] = ("outs", "metrics", "plots")) -> dict[str, list[str]]:
    """Map each stage to the paths of its outputs of these kinds in `dvc.yaml`; empty without the file."""
    stages = (params.read_raw(GRAPH).get("stages") or {}) if GRAPH.is_file() else {}
    found: dict[str, list[str]] = {}
    for stage, section in stages.items():
        entries = [entry for key in kinds for entry in (section or {}).get(key) or ()]
        found[stage] = sorted(
            str(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries
        )
    return found


def written(stage: str) -> dict[str, str]:
    """Map a stage's output files (not folders) in `dvc.yaml` to their MD5; empty without `dvc.yaml`."""
    paths = outputs().get(stage, [])
    return {path: md5(Path(path)) for path in paths if Path(path).is_file()}


def md5(path: Path) -> str:
    """Return DVC's digest of a file, or of a folder without compiled Python; empty if the path is missing."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        listed = sorted(
            ({"md5": md5(file), "relpath": file.relative_to(path).as_posix()} for file in files),
            key=lambda item: item["relpath"],
        )
        return (
            hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
            + ".dir"
        )
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.is_file() else ""


def read_text() -> str:
    """Return the text of `dvc.lock`; empty without the file."""
    return LOCK.read_text(encoding="utf-8") if LOCK.is_file() else ""


def agrees(text: str) -> bool:
    """Return whether the params recorded in a `dvc.lock` text equal those in `params.yaml` now."""
    current = params.read_raw()
    for entry in (params.parse(text, str(LOCK)).get("stages") or {}).values():
        recorded = (entry.get("params") or {}).get(params.PATH.name) or {}
        if any(current.get(section) != values for section, values in recorded.items()):
            return False
    return True


def read_lock() -> Lock:
    """Return the digests of each stage's outputs and dependencies; empty without a `dvc.lock`."""
    stages = (params.read_raw(LOCK).get("stages") or {}) if LOCK.is_file() else {}
    return {
        name: {
            part: {item["path"]: item["md5"] for item in entry.get(part) or () if "md5" in item}
            for part in ("outs", "deps")
        }
        for name, entry in stages.items()
    }
