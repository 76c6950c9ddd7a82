"""Whether a job can push, before and after the training: real git, with bare remotes in folders."""

import contextlib
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from baton.errors import OutputError, TrackingError
from baton.lifecycle.retraining import pushing, retrain
from baton.lifecycle.retraining.pushing import Target
from baton.processes import patience

LOCK = """schema: '2.0'
stages:
  finetune:
    cmd: x
    deps:
    - {path: src/train, md5: a.dir}
    - {path: inbox, md5: b.dir}
    outs:
    - {path: models/teacher, md5: c.dir}
"""
PROTECTED = """#!/bin/sh
while read -r old new name; do
  if [ "$name" = refs/heads/main ]; then echo "GH006: Protected branch update failed" >&2; exit 1; fi
done
"""
MAIN = Target("origin", "main")


def git(*words: str, folder: Path | None = None) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git("add", "--all", folder=folder)
    git("commit", "--quiet", "--message", "x", folder=folder)


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare remote; the working directory is a clone of it, and `other` another one."""
    bare = tmp_path / "origin.git"
    git("init", "--quiet", "--bare", str(bare))
    git("clone", "--quiet", str(bare), str(tmp_path / "other"))
    other = tmp_path / "other"
    commit(other, dvc_lock=LOCK, params_yaml="a: 1\n", README_md="x\n", src__train__loop_py="x\n")
    git("push", "--quiet", "origin", "HEAD:main", folder=other)
    git("clone", "--quiet", str(bare), str(tmp_path / "job"))
    monkeypatch.chdir(tmp_path / "job")
    return bare


def others_push(tmp_path: Path, **files: str) -> None:
    commit(tmp_path / "other", **files)
    git("push", "--quiet", "origin", "HEAD:main", folder=tmp_path / "other")


def protect(origin: Path) -> None:
    hook = origin / "hooks/pre-receive"
    hook.write_text(PROTECTED)
    hook.chmod(0o755)


def log(origin: Path, branch: str = "main") -> list[str]:
    return git("log", "--format=%H", branch, folder=origin).splitlines()


def test_what_stands_in_the_way_is_known_at_the_start(origin: Path, tmp_path: Path) -> None:
    assert pushing.missing(None) is None and pushing.target(None) == MAIN
    git("checkout", "--quiet", "--detach")  # as GitLab and Jenkins do
    assert "HEAD is detached, so give --branch" in (pushing.missing(None) or "")
    assert pushing.missing("main") is None
    others_push(tmp_path, README_md="y\n")
    commit(Path(), notes_md="z\n")
    told = pushing.missing("main") or ""
    assert "the newest commit of origin/main" in told and "[rejected]" in told
    git("remote", "set-url", "origin", str(tmp_path / "nowhere.git"))
    assert "does not appear to be a git repository" in (pushing.missing("main") or "")
    git("remote", "remove", "origin")
    assert pushing.missing("main") == "a git remote to push to (or give --no-push)"


def test_it_is_put_on_top_of_what_others_pushed(origin: Path, tmp_path: Path) -> None:
    commit(Path(), metrics__a_json="1\n")
    others_push(tmp_path, README_md="y\n")
    pushing.push(MAIN)
    assert len(log(origin)) == 3 and git("rev-parse", "HEAD") == log(origin)[0]
    pushing.push(MAIN)  # again: nothing to do
    assert len(log(origin)) == 3 and pushing.landed(MAIN)


def test_from_a_detached_head_too(origin: Path, tmp_path: Path) -> None:
    git("checkout", "--quiet", "--detach")
    commit(Path(), metrics__a_json="1\n")
    others_push(tmp_path, README_md="y\n")
    pushing.push(MAIN)
    assert len(log(origin)) == 3


@pytest.mark.parametrize("name", ["params_yaml", "src__train__loop_py", "inbox__a_csv", "inbox__b_csv_dvc"])
def test_it_is_not_put_on_other_data_code_or_params(origin: Path, tmp_path: Path, name: str) -> None:
    commit(Path(), metrics__a_json="1\n")
    others_push(tmp_path, **{name: "b: 2\n"})
    before = log(origin)
    with pytest.raises(OutputError, match="changes what this model was made from") as told:
        pushing.push(MAIN)
    assert name.replace("__", "/").replace("_", ".") in str(told.value) and log(origin) == before
    assert "rebase" not in git("status")


def test_a_protected_branch_says_so_and_takes_a_pull_request(
    origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(Path(), metrics__a_json="1\n")
    protect(origin)
    monkeypatch.setattr(patience.time, "sleep", lambda _: pytest.fail("no further try helps"))
    with pytest.raises(OutputError, match="GH006: Protected branch update failed") as told:
        pushing.push(MAIN)
    assert "--pull-request" in str(told.value) and "[remote rejected]" in str(told.value)
    pushing.propose(MAIN, "retrain/story-version-2")
    assert log(origin, "retrain/story-version-2")[0] == git("rev-parse", "HEAD")
    assert not pushing.landed(MAIN)
    commit(Path(), metrics__a_json="2\n")
    git("reset", "--quiet", "--soft", "HEAD~2")
    commit(Path())
    pushing.propose(MAIN, "retrain/story-version-2")  # again, with another commit
    assert log(origin, "retrain/story-version-2")[0] == git("rev-parse", "HEAD")


def test_a_remote_that_is_away_for_a_while_is_tried_again_and_not_for_ever(
    origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(Path(), metrics__a_json="1\n")
    away, pauses = origin.with_name("away.git"), []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == back:
            away.rename(origin)

    monkeypatch.setattr(patience.time, "sleep", wait)
    monkeypatch.setenv(patience.VARIABLE, "30")
    for back in (99, 3):
        pauses.clear()
        if origin.exists():
            origin.rename(away)
        if back == 99:
            with pytest.raises(OutputError, match="does not appear to be a git repository"):
                pushing.push(MAIN)
            assert sum(pauses) == pytest.approx(30)
        else:
            pushing.push(MAIN)
    assert len(log(origin)) == 2


def test_runs_are_delivered_before_others_can_restore_their_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that died in between left a model that no later clone could register."""
    done: list[str] = []
    monkeypatch.setattr(retrain, "_reproduce", lambda *_: done.append("all"))
    monkeypatch.setattr(retrain, "dvc", lambda *words: done.append(words[-1]))
    monkeypatch.setattr(retrain.remote, "push", lambda *_: done.append("push"))
    monkeypatch.setattr(retrain.remote_checkpoints, "kept", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(retrain.tracking, "sync", lambda: done.append("sync"))
    active = cast(Any, SimpleNamespace(retrain=SimpleNamespace(warm_start=False, checkpoint_minutes=None)))
    retrain._train(cast(Any, None), active, cast(Any, SimpleNamespace(model="student")), push=True)
    kept = ["sync", "push"]
    assert done == ["finetune", *kept, "distill", *kept, "all", *kept]
    done.clear()

    def refuse() -> None:
        raise TrackingError("the store cannot be used")

    monkeypatch.setattr(retrain.tracking, "sync", refuse)
    monkeypatch.setenv(patience.VARIABLE, "0.01")
    with pytest.raises(TrackingError):
        retrain._train(cast(Any, None), active, cast(Any, SimpleNamespace(model="student")), push=True)
    assert done == ["finetune"], "nothing is pushed whose runs are not delivered"


@pytest.mark.parametrize(
    ("words", "final"),
    [
        ("fatal: Authentication failed for 'https://host/a.git/'", True),
        ("fatal: could not read Username for 'https://host': terminal prompts disabled", True),
        ("git@host: Permission denied (publickey).", True),
        ("fatal: unable to access 'https://host/a.git/': The requested URL returned error: 403", True),
        ("remote: Repository not found.", True),
        ("fatal: unable to access 'https://host/a.git/': Could not resolve host: host", False),
        ("ssh: connect to host host port 22: Connection refused", False),
        ("fatal: Could not read from remote repository.", False),
    ],
)
def test_only_what_no_further_try_changes_ends_it_at_once(words: str, final: bool) -> None:
    assert bool(pushing.FINAL.search(words)) is final
