"""The conditions of a run: the checkout, package versions, the machine and DVC's state. Without mlflow."""

import contextlib
import getpass
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from baton import console, params, storage
from baton.contracts import base_manifest
from baton.errors import TrackingError, redacted
from baton.processes import supervision
from baton.workspace import commands, dvc_files, secret_files

LOCK = Path("requirements.lock")
LOCKS = (LOCK, Path("requirements-export.lock"))  # of what served models need
PACKAGES = ("torch", "transformers", "timm", "mlflow", "dvc")
# Tags by which `baton trace` finds the runs that used a model as their base, and that of their student.
BASE, STUDENT_BASE = "baton.base", "baton.student_base"
BASES = {BASE: Path("data/base"), STUDENT_BASE: Path("data/base") / storage.STUDENT}
GIT_SECONDS = 10.0
PROBLEM = "git.problem"  # instead of commit and branch, if git refuses to read the checkout
DIFF_BYTES = 1_000_000


def opening(stage: str, reasons: Mapping[str, str], active: params.Params) -> dict[str, Any]:
    """Return the facts known at once about a stage's start; `active` is the whole of `params.yaml`."""
    owner, own = supervision.owner(), supervision.this()
    return {
        "stage": stage,
        "store": {**active.tracking.model_dump(exclude={"kind"}), "description": active.description},
        "values": params.flatten(params.read_raw()),
        "reasons": dict(reasons),
        "params": params.PATH.read_text(encoding="utf-8"),
        "tags": tags() | bases(),
        "user": _user(),
        "process": [own.name, own.started],
        "owner": {
            "process": [owner.process.name, owner.process.started],
            "repro_id": owner.repro_id,
            "command": redacted(owner.command),
        },
    }


def surroundings() -> dict[str, Any]:
    """Return the facts that take longer: git's state, the diff from its commit, and `dvc.lock`."""
    known = git()
    if PROBLEM in known:
        console.warn("tracking", f"no commit is recorded: {known[PROBLEM]}")
    return {
        "git": known,
        "diff": _uncommitted() if known.get("git.dirty") == "true" else "",
        "lock": dvc_files.read_lock(),
    }


def tags() -> dict[str, str]:
    """Return tags of this process, omitting unknown ones.

    They are `version.*`, `platform`, `cpu` and `requirements.sha256`.
    """
    found = {"version.python": platform.python_version(), "platform": platform.platform(), "cpu": _cpu()}
    found |= {f"version.{name}": version for name in PACKAGES if (version := _version(name))}
    if LOCK.is_file():
        found["requirements.sha256"] = storage.sha256(LOCK)
    if experiment := os.environ.get("DVC_EXP_NAME"):
        found["dvc.experiment"] = experiment
    return {key: value for key, value in found.items() if value}


def bases() -> dict[str, str]:
    """Return a tag with the digests of the models of Baton that each base model was taken from, if any."""
    found = {}
    for tag, folder in BASES.items():
        with contextlib.suppress(OSError, ValueError, KeyError):  # whatever is there, the stage continues
            found[tag] = " ".join(base_manifest.ancestors(storage.read_json(folder / "manifest.json")))
    return {tag: digests for tag, digests in found.items() if digests}


def source(command: str, user: str) -> dict[str, str]:
    """Return MLflow's tags for its UI's columns Source and User; `command` is the command that was run."""
    named = {"mlflow.source.name": command, "mlflow.source.type": "LOCAL", "mlflow.user": user}
    return {key: value for key, value in named.items() if value}


def git_tags(git: Mapping[str, str]) -> dict[str, str]:
    """Return `git.*` and MLflow's names for the same facts."""
    named = {
        "mlflow.source.git.commit": git.get("git.commit", ""),
        "mlflow.source.git.branch": git.get("git.branch", ""),
    }
    return {key: value for key, value in {**git, **named}.items() if value}


def read_requirements(locks: Sequence[Path], packages: Sequence[str]) -> list[str]:
    """Return the lines of the locks for these packages: `torch==2.14.1` and so on.

    Raises:
        TrackingError: no lock pins one of them.
    """
    texts = [lock.read_text(encoding="utf-8") for lock in locks if lock.is_file()]
    lines = "\n".join(texts).splitlines()
    pins = {
        match[1].lower().replace("_", "-"): f"{match[1]}=={match[2]}"
        for line in lines
        if (match := re.match(r"([\w.-]+)==([^\s;\\]+)", line))
    }
    if missing := [name for name in packages if name not in pins]:
        hint = "run `make lock`, or add their exact versions"
        raise TrackingError(
            "no lock pins what a model needs",
            got=f"no {', '.join(missing)}",
            expected=f"NAME==VERSION lines in {' or '.join(map(str, locks))}",
            hint=hint,
        )
    return [pins[name] for name in packages]


def git() -> dict[str, str]:
    """Return commit, branch and whether there are uncommitted changes, with one call.

    Outputs of the stages do not count. If git refuses to read the checkout, the reason.
    """
    status = _run("status", "--porcelain=v2", "--branch", *_but_outputs())
    if status is None:
        return {PROBLEM: why} if (why := commands.refusal()) else {}
    lines = status.splitlines()
    head = dict(
        line.removeprefix("# branch.").split(" ", 1) for line in lines if line.startswith("# branch.")
    )
    commit, branch = (head.get(key, "") for key in ("oid", "head"))
    return {
        "git.commit": "" if commit == "(initial)" else commit,
        "git.branch": "" if branch == "(detached)" else branch,
        "git.dirty": "true" if any(not line.startswith("#") for line in lines) else "false",
    }


def head() -> str:
    """Return the commit that is checked out; empty without one."""
    return (_run("rev-parse", "--verify", "--quiet", "HEAD") or "").strip()


def head_time() -> float:
    """Return that commit's time, in seconds since 1970."""
    return float(_run("show", "--no-patch", "--format=%ct", "HEAD") or 0)


def committed(path: str) -> str | None:
    """Return the text of a file in that commit."""
    return _run("show", f"HEAD:./{path}")


def _but_outputs() -> list[str]:
    """Limit a git command to files that stages do not write.

    `dvc.lock` and metrics change in every repro.
    """
    made = [dvc_files.LOCK.name, *(path for paths in dvc_files.outputs().values() for path in paths)]
    return ["--", ".", *(f":(exclude){path}" for path in made)]


def _uncommitted() -> str:
    """Return the tracked files' diff from the commit; nothing if there is none or it is too long.

    Files with credentials are left out.
    """
    text = redacted(_run("diff", "HEAD", *_but_outputs(), *secret_files.excluded()) or "")
    return text if len(text.encode()) <= DIFF_BYTES else ""


def _run(*words: str) -> str | None:
    """Return git's answer, or None without git, outside a checkout, or if git fails."""
    try:
        done = subprocess.run(
            ["git", *words], capture_output=True, text=True, errors="replace", timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip("\n")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = ""
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} processors"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""
