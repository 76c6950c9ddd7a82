"""What a run ran on: the state of the checkout, the versions of what computes, and the machine. All of it as tags."""

import getpass
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from baton import storage

LOCK = Path("requirements.lock")
PACKAGES = ("torch", "transformers", "mlflow", "dvc")
GIT_SECONDS = 10.0
DIFF_BYTES = 1_000_000


def tags() -> dict[str, str]:
    """Tags of this process: `git.*`, `version.*`, `platform`, `cpu`, `requirements.sha256`. What cannot be found out is left out."""
    found = {**_git(), "version.python": platform.python_version(), "platform": platform.platform(), "cpu": _cpu()}
    found |= {f"version.{name}": version for name in PACKAGES if (version := _version(name))}
    if LOCK.is_file():
        found["requirements.sha256"] = storage.sha256(LOCK)
    if experiment := os.environ.get("DVC_EXP_NAME"):
        found["dvc.experiment"] = experiment
    return {key: value for key, value in found.items() if value}


def source(command: str) -> dict[str, str]:
    """MLflow's own tags, from which its UI fills the columns Source, Version and User; `command` is what was run."""
    git = _git()
    named = {"mlflow.source.name": command, "mlflow.source.type": "LOCAL", "mlflow.user": _user()}
    named |= {"mlflow.source.git.commit": git.get("git.commit", ""), "mlflow.source.git.branch": git.get("git.branch", "")}
    return {key: value for key, value in named.items() if value}


def uncommitted() -> str:
    """The checkout's difference from its commit (tracked files only), or nothing if there is none or it is too long to keep."""
    text = _run("diff", "HEAD") or ""
    return text if len(text.encode()) <= DIFF_BYTES else ""


def _git() -> dict[str, str]:
    changes = _run("status", "--porcelain")
    if changes is None:
        return {}
    commit, branch = _run("rev-parse", "--verify", "--quiet", "HEAD"), _run("branch", "--show-current")
    return {"git.commit": commit or "", "git.branch": branch or "", "git.dirty": "true" if changes else "false"}


def _run(*words: str) -> str | None:
    """Git's answer, or None without git, outside a checkout, or where it has no answer."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, errors="replace", timeout=GIT_SECONDS, check=True)
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
    except (KeyError, OSError):  # a container's user without a name
        return ""
