"""What a retraining job needs, asked for before it does anything: everything that is missing in one error."""

import os

from baton import params
from baton.errors import USERINFO, BatonError, ParamsError
from baton.lifecycle.retraining import checkout, overrides, pushing
from baton.tracking.pinned_server import SERVER
from baton.workspace import remote
from baton.workspace.commands import refusal, run

CREDENTIALS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AWS_SIGV4")


def require(enabled: bool, push: bool, branch: str | None) -> None:
    """Check the prerequisites.

    Raises:
        ParamsError: some are missing.
    """
    if enabled and not push:
        raise ParamsError(
            "--mode enabled needs a push: a champion is only set together with the commit that made it",
            got="--mode enabled --no-push",
            hint="leave out --no-push, or use --mode dry-run",
        )
    lacking = [*_server(), *_remote(push), *_repository(push, branch)]
    if lacking:
        raise ParamsError(
            "retraining needs more than is set up here\n" + "\n".join(f"  - {item}" for item in lacking),
            hint="set these up as docs/retraining.md says",
        )


def _server() -> list[str]:
    active = params.read()
    lacking = []
    if isinstance(active.tracking, params.NoTracking) or not (active.tracking.uri or "").startswith(
        ("http://", "https://")
    ):
        lacking.append(
            "an MLflow server (`tracking.uri: http://HOST:PORT`): a store in this folder is lost with "
            "the job's machine"
        )
    given = [name for name in CREDENTIALS if os.environ.get(name)]
    if overrides.in_ci() and given and not os.environ.get(SERVER):
        lacking.append(
            f"the server's address in {SERVER}, next to {given[0]} in the environment: otherwise whoever"
            " edits tracking.uri chooses who gets the credentials"
        )
    return lacking


def _remote(push: bool) -> list[str]:
    lacking = []
    if not run("dvc", "config", "core.remote", check=False).strip():
        lacking.append(
            "a DVC remote (`dvc remote add --default NAME PATH_OR_URL`) for data, models and the run-cache"
        )
    elif problem := _unusable(push):
        lacking.append(problem)
    if USERINFO.search(run("dvc", "remote", "list", check=False)):
        lacking.append(
            "DVC remotes without a user or a password in their addresses (give them by environment variables)"
        )
    return lacking


def _unusable(push: bool) -> str | None:
    """Return why the remote cannot be used, however long a job waits."""
    try:
        where = remote.Remote()
        trouble = where.trouble()
        if where.is_folder and trouble:
            return f"the folder of the DVC remote: {trouble} (mount it, or create it if it is new)"
        if push and not trouble:
            where.check_writing()
    except BatonError as error:
        return " ".join(str(error).split())
    return None  # one that is away is waited for later


def _repository(push: bool, branch: str | None) -> list[str]:
    if run("git", "rev-parse", "--verify", "HEAD", check=False).strip() == "":
        return [refusal() or "a git repository with a commit"]
    if not push:
        return []
    others = (f":(exclude){name}" for name in checkout.KEPT)
    edited = run("git", "status", "--porcelain", "--untracked-files=no", "--", ".", *others)
    dirty = (
        f"a clean checkout: {edited.split()[1]} is not committed (commit or stash it, or give --no-push)"
        if edited
        else None
    )
    return [item for item in (dirty, pushing.missing(branch)) if item]
