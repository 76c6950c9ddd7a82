"""`baton retrain`: what a CI job runs, from a fresh clone to a judged challenger, a report and a commit.

Every step can be repeated: a job that was killed goes on where it was when it is started again, and registers nothing twice. Needs a DVC
remote and an MLflow server, which outlive the job's machine.
"""

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from baton import console, params, process, storage, tracking
from baton.errors import OutputError, ParamsError
from baton.lifecycle import drift, graph, promotion, registry
from baton.lifecycle.graph import Graph
from baton.tracking.dvcfiles import LOCK
from baton.tracking.store import open_store

REPORT, PLOTS = Path("retrain.md"), Path("dvc_plots")
TRAINING = ("finetune", "distill")
KEPT = (LOCK.name, params.PATH.name, "metrics", "reports/metrics.json")  # what a commit of a retraining holds
AUTHOR = ("-c", "user.name=baton retrain", "-c", "user.email=baton-retrain@localhost")


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    enabled: bool  # whether a challenger that passes becomes the champion
    overrides: Sequence[str]  # `finetune.epochs=3`
    push: bool  # commit and push
    base: str | None  # the commit that the report compares with


@dataclass(frozen=True)
class Result:
    """What came of it."""

    trained: bool
    passed: bool  # also where nothing had to be trained
    report: str


def retrain(options: Options) -> Result:
    """Everything, in order.

    Raises:
        ParamsError: there is no DVC remote, no server or no git; all that is missing is named.
        OutputError: DVC or git failed.
    """
    require(options.push)
    base = options.base or _reproduced()
    if options.overrides:
        _override(options.overrides)
    active = params.read()
    assert isinstance(active.tracking, params.MlflowTracking)  # `require` has seen to it
    settings = active.promotion
    _say("data")
    _dvc("repro", "--pull", "--allow-missing", "preprocess")
    _dvc("pull", "--quiet", "data/clean")
    own = registry.Registry(open_store(active.tracking), settings.name)
    why = decide(own, active.retrain)
    if why.startswith("not: "):
        text = f"# Retraining\n\nNot trained: {why.removeprefix('not: ')}.\n"
        _write(text)
        return Result(False, True, text)
    _say(f"training, because {why}")
    _dvc("repro", "--pull", "--allow-missing")
    _dvc("pull", "--quiet", f"models/{settings.model}", "data/clean")
    _dvc("push", "--quiet", "--run-cache")  # before anybody hears of the model: what is registered can be had
    tracking.sync()
    _say("registry and gate")
    version, _ = registry.register(own, settings)
    outcome = promotion.promote(own, settings, options.enabled)
    text = _report(base, why, outcome, registry.number(version), own.client.tracking_uri)
    _write(text)
    if options.push:
        _commit(outcome)
    return Result(True, outcome.passed, text)


def require(push: bool) -> None:
    """Say at once all that is missing."""
    active, missing = params.read(), []
    uri = os.environ.get("MLFLOW_TRACKING_URI") if isinstance(active.tracking, params.NoTracking) else active.tracking.uri
    if isinstance(active.tracking, params.NoTracking) or not (uri or "").startswith(("http://", "https://")):
        missing.append("an MLflow server (`tracking.uri: http://HOST:PORT`): a store in this folder goes with the job's machine")
    if not _run("dvc", "config", "core.remote", check=False).strip():
        missing.append("a DVC remote (`dvc remote add --default NAME PATH_OR_URL`), where data, models and the run-cache are kept")
    if _run("git", "rev-parse", "--verify", "HEAD", check=False).strip() == "":
        missing.append("a git repository with a commit")
    elif push and not _run("git", "remote", check=False).strip():
        missing.append("a git remote to push to (or give --no-push)")
    if missing:
        raise ParamsError(
            "retraining needs more than is here\n" + "\n".join(f"  - {item}" for item in missing), hint="set these up, see the README"
        )


def decide(own: registry.Registry, settings: params.Retrain) -> str:
    """Why to train; begins with `not: ` where nothing speaks for it."""
    champion = own.alias(registry.CHAMPION)
    if champion is None:
        return "there is no champion"
    if settings.drift is None:
        return "params ask for it every time (retrain.drift: null)"
    kept, rows, lock = own.read(champion, registry.PROFILE), own.training_rows(champion), own.read(champion, LOCK.name)
    now = graph.of_workspace()
    if kept is None or rows is None or lock is None or now is None:
        return f"version {registry.number(champion)} does not tell what it was trained on"
    if changed := _changed(Graph(lock, f"version {registry.number(champion)}"), now):
        return f"{changed} changed since version {registry.number(champion)}"
    found = drift.measure(registry.CLEAN, json.loads(kept), rows)
    beyond = found.beyond(settings.drift)
    if beyond:
        return f"{found.rows:,} new rows have drifted: {', '.join(beyond)}"
    return f"not: {found.rows:,} new rows are like those that version {registry.number(champion)} was trained on"


def _changed(then: Graph, now: Graph) -> str:
    """What the trainings depend on beside data, if it is not what it was."""
    raw = params.flatten({name: section for name, section in params.read_raw().items() if name in {*TRAINING, "tokenize"}})
    for stage in TRAINING:
        if stage not in then.stages or stage not in now.stages:
            return f"the stage {stage}"
        recorded = {key: value for key, value in then.params(stage).items() if key.partition(".")[0] in {*TRAINING, "tokenize"}}
        if moved := sorted(key for key, value in recorded.items() if raw.get(key) != value):
            return f"param {moved[0]}"
        code = {path: storage_md5(path) for path in then.code(stage)}
        if moved := sorted(path for path, digest in then.code(stage).items() if code[path] != digest):
            return moved[0]
    return ""


def storage_md5(path: str) -> str:
    """DVC's digest of a file; empty if it is gone."""
    import hashlib

    file = Path(path)
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() if file.is_file() else ""


def _report(base: str, why: str, outcome: promotion.Outcome, version: str, server: str) -> str:
    """Markdown: verdict, then what changed against the base commit."""
    parts = ["# Retraining", f"Trained because {why}. Compared with commit `{base[:8]}`.", f"## Verdict on version {version}", outcome.text]
    for title, words in (("Params", ("params", "diff")), ("Figures", ("metrics", "diff"))):
        table = _run("dvc", *words, base, "--md", check=False).strip()
        parts += [f"## {title}", table or "No difference."]
    plots = _run("dvc", "plots", "diff", base, "--out", str(PLOTS), check=False)
    parts += ["## Links", f"- version {version}: {server}/#/models/{outcome.record['name']}/versions/{version}"]
    parts += [f"- plots of both commits: `{PLOTS}/index.html`"] if plots else []
    return "\n\n".join(parts) + "\n"


def _commit(outcome: promotion.Outcome) -> None:
    """Commit what git keeps, if it changed, and push what is not pushed yet."""
    _run("git", "add", "--", *(name for name in KEPT if Path(name).exists()))
    if _run("git", "status", "--porcelain", "--untracked-files=no", "--", *KEPT).strip():
        _run(
            "git",
            *AUTHOR,
            "commit",
            "--quiet",
            "-m",
            f"Retrain: version {outcome.version} {'passed' if outcome.passed else 'refused'}",
            "--",
            *KEPT,
        )
    _run("git", "push", "--quiet")


def _override(overrides: Sequence[str]) -> None:
    from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]

    apply_overrides(params.PATH, list(overrides))
    params.read()


def _reproduced() -> str:
    """The commit with the last reproduced state, `dvc.lock`, that is on the remote: what a killed job committed is not."""
    tip = _run("git", "rev-parse", "--verify", "--quiet", "@{upstream}", check=False).strip() or "HEAD"
    return _run("git", "log", "-1", "--format=%H", tip, "--", LOCK.name).strip() or _run("git", "rev-parse", tip).strip()


def _dvc(*words: str) -> None:
    """Run DVC with its own output."""
    ends_with_us = functools.partial(process.die_with_parent, signal.SIGTERM, os.getpid())  # and its stage with it
    done = subprocess.run([sys.executable, "-m", "dvc", *words], check=False, preexec_fn=ends_with_us)
    if done.returncode:
        raise OutputError(f"`dvc {' '.join(words)}` failed", got=f"exit code {done.returncode}", hint="its own message is above")


def _run(*words: str, check: bool = True) -> str:
    """A command's output; `dvc` is the one of this environment."""
    command = [sys.executable, "-m", *words] if words[0] == "dvc" else list(words)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        got = (done.stderr or done.stdout).strip().splitlines()
        raise OutputError(f"`{' '.join(words[:3])} …` failed", got=got[-1] if got else f"exit code {done.returncode}")
    return done.stdout if done.returncode == 0 else ""


def _write(text: str) -> None:
    with storage.atomic_file(REPORT) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    console.say(f"[bold]retrain:[/] {text}")
