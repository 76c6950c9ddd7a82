"""Push a retraining job's commit: found out to be possible before the training, and never onto other results.

The job pushes to the branch that is checked out, or to the one that it is given (`--branch`: CI on GitLab and
Jenkins checks out a commit, not a branch). Whatever a remote answers is part of the error.
"""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from baton import console, params
from baton.errors import OutputError
from baton.lifecycle.promotion.promotion_record import RECORD
from baton.processes import patience
from baton.workspace.commands import AUTHOR, attempt, done, run
from baton.workspace.dvc_files import GRAPH, LOCK, outputs, read_lock

AGAIN = "run again: nothing is trained twice"
# A hook, or credentials that are not accepted (any more): no further try changes that.
FINAL = re.compile(
    r"\[remote rejected\]|Authentication failed|could not read (Username|Password)|Permission denied"
    r"|returned error: 40[13]|Repository not found",
    re.IGNORECASE,
)
WORDS = 2000  # characters of a remote's answer in an error


@dataclass(frozen=True)
class Target:
    """A branch of a remote."""

    remote: str
    branch: str

    def __str__(self) -> str:
        """Return it as git shows it."""
        return f"{self.remote}/{self.branch}"


def target(branch: str | None) -> Target | None:
    """Return where a commit would go; None with a detached HEAD, or without a remote."""
    remotes = run("git", "remote", check=False).split()
    current = run("git", "symbolic-ref", "--quiet", "--short", "HEAD", check=False).strip()
    if not remotes or not (branch or current):
        return None
    configured = run("git", "config", f"branch.{current}.remote", check=False).strip()
    merge = run("git", "config", f"branch.{current}.merge", check=False).strip()
    remote = configured or ("origin" if "origin" in remotes else remotes[0])
    return Target(remote, branch or merge.removeprefix("refs/heads/") or current)


def missing(branch: str | None) -> str | None:
    """Try the push that will follow without changing anything; return what stands in its way, or None.

    Hooks of the server, such as a protected branch's, only answer to a real push.
    """
    where = target(branch)
    if where is None:
        if not run("git", "remote", check=False).strip():
            return "a git remote to push to (or give --no-push)"
        return "a branch: HEAD is detached, so give --branch NAME, the one to push to (or --no-push)"
    tried = _push(where, "--dry-run")
    if tried.returncode == 0:
        return None
    if "[rejected]" in tried.stdout:
        return f"the newest commit of {where}, which has moved on: git pull --rebase\n{_said(tried)}"
    return f"a remote that can be pushed to; {where} answers:\n{_said(tried)}"


def landed(where: Target) -> bool:
    """Return whether the branch has this commit already."""
    return _fetched(where) and _contains("FETCH_HEAD", "HEAD")


def push(where: Target) -> None:
    """Push HEAD; put it on top of what others pushed meanwhile, unless that changes what was trained on.

    Raises:
        OutputError: the remote refuses it, cannot be reached, or others have changed what dvc.lock describes.
    """
    _persist(where, lambda: _pushed(where), "if the branch is protected, run again with --pull-request")


def propose(where: Target, branch: str) -> None:
    """Push HEAD to a branch of its own, for a pull request; an earlier proposal of that name is replaced.

    Raises:
        OutputError: the remote refuses it.
    """
    own = Target(where.remote, branch)
    _persist(own, lambda: _push(own, "--force"), AGAIN)
    console.say(f"pushed to {own}: open a pull request to {where.branch}")


def described() -> set[str]:
    """Return the files and folders that dvc.lock, params and figures speak of."""
    known = read_lock()
    paths = {path for entry in known.values() for part in entry.values() for path in part}
    made = {path for paths_of_stage in outputs().values() for path in paths_of_stage}
    return paths | made | {LOCK.name, GRAPH.name, params.PATH.name, RECORD.name}


def touched(files: list[str]) -> list[str]:
    """Return those of the files that dvc.lock describes, in the order given."""
    known = described()

    def is_known(file: str) -> bool:
        path = PurePosixPath(file)
        return file.endswith(".dvc") or any(str(part) in known for part in (path, *path.parents))

    return [file for file in files if is_known(file)]


def _current(where: Target) -> bool:
    """Return whether HEAD contains the newest commit of the branch, as far as the remote says."""
    return not _fetched(where) or _contains("HEAD", "FETCH_HEAD")


def _fetched(where: Target) -> bool:
    """Fetch the branch as FETCH_HEAD; return whether that succeeded."""
    return done("git", "fetch", "--quiet", where.remote, where.branch)


def _pushed(where: Target) -> subprocess.CompletedProcess[str]:
    """Push HEAD; if others have pushed, put it on top of theirs and push again."""
    ended = _push(where)
    behind = ended.returncode != 0 and ("[rejected]" in ended.stdout or not _current(where))
    return _push(where) if behind and _rebase(where) else ended


def _persist(where: Target, push: Callable[[], subprocess.CompletedProcess[str]], refused: str) -> None:
    """Push until the remote answers; `refused` says what to do if it refuses.

    Raises:
        OutputError: it refuses, which no further try changes, or it cannot be reached.
    """

    def once() -> str | None:
        ended = push()
        if FINAL.search(ended.stdout + ended.stderr):
            raise _not_taken(f"{where} refuses", ended, refused)
        last[:] = [ended]
        words = _said(ended).splitlines()[-1]
        return f"{where} does not take a push ({words})" if ended.returncode else None

    last: list[subprocess.CompletedProcess[str]] = []
    if patience.persist(once):
        raise _not_taken(f"{where} did not take", last[0], AGAIN)


def _not_taken(what: str, ended: subprocess.CompletedProcess[str], hint: str) -> OutputError:
    return OutputError(
        f"{what} the commit of dvc.lock and figures",
        got=_said(ended),
        hint=f"the model is registered and its data pushed, and no alias was moved; {hint}",
    )


def _contains(commit: str, earlier: str) -> bool:
    return done("git", "merge-base", "--is-ancestor", earlier, commit)


def _rebase(where: Target) -> bool:
    """Put HEAD on top of the branch; return False if the remote is away."""
    if not _fetched(where):
        return False
    base = run("git", "merge-base", "HEAD", "FETCH_HEAD", check=False).strip()
    hint = "the model is registered and its data pushed; run again on the new state"
    if not base:
        raise OutputError(
            f"{where} and this checkout have no commit in common",
            hint="check out the whole history (fetch-depth: 0)",
        )
    others = run("git", "diff", "--relative", "--name-only", "-z", base, "FETCH_HEAD").split("\0")
    if stale := touched([name for name in others if name]):
        raise OutputError(
            f"{where} has moved on and changes what this model was made from, or what was made of it",
            got=", ".join(stale[:5]) + (f" and {len(stale) - 5} more" if stale[5:] else ""),
            expected="only files that dvc.lock does not describe",
            hint=hint,
        )
    if attempt("git", *AUTHOR, "rebase", "--quiet", "--autostash", "FETCH_HEAD").returncode:
        run("git", "rebase", "--abort", check=False)
        raise OutputError(
            "the commit of dvc.lock and figures conflicts with what was pushed in the meantime", hint=hint
        )
    return True


def _push(where: Target, *options: str) -> subprocess.CompletedProcess[str]:
    return attempt("git", "push", "--porcelain", *options, where.remote, f"HEAD:refs/heads/{where.branch}")


def _said(ended: subprocess.CompletedProcess[str]) -> str:
    """Return a remote's own words, without git's hints on how to use git."""
    lines = [*ended.stdout.splitlines(), *ended.stderr.splitlines()]
    kept = [line.strip() for line in lines if line.strip() and not line.startswith(("hint:", "To ", "Done"))]
    return ("\n".join(kept) or f"exit code {ended.returncode}")[:WORDS]
