"""`baton retrain`: the CI job that leads from a fresh clone to a judged challenger, a report and a commit.

Every step can be repeated: a killed job resumes where it stopped when it is started again, and registers
nothing twice. It needs a DVC remote and an MLflow server, which outlive the job's machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from baton import console, params, storage, tracking
from baton.errors import OutputError, ParamsError
from baton.lifecycle import registration, registry, test_table
from baton.lifecycle.promotion import gate, promote, task_match
from baton.lifecycle.retraining import checkout, decision
from baton.sources import inbox
from baton.tracking.store import open_store, usable
from baton.workspace.commands import done, dvc, run
from baton.workspace.dvc_files import LOCK

REPORT, PLOTS = Path("retrain.md"), Path("dvc_plots")


@dataclass(frozen=True)
class Options:
    """The command line's options."""

    enabled: bool  # whether a challenger that passes becomes the champion
    overrides: Sequence[str]  # `finetune.epochs=3`
    push: bool  # commit and push
    base: str | None  # the commit that the report compares against


@dataclass(frozen=True)
class Result:
    """The result of the job."""

    passed: bool  # also true if nothing had to be trained
    report: str


def retrain(options: Options) -> Result:
    """Run the whole job, in order.

    Raises:
        ParamsError: the DVC remote, the server or git is missing; the message names everything that is
            missing.
        SourceError: inbox/ holds files that DVC cannot read.
        OutputError: DVC or git failed.
    """
    before = params.PATH.read_bytes()
    _begin(options, before)
    base = options.base or _reproduced()
    active = params.read()
    assert isinstance(active.tracking, params.MlflowTracking)  # `require` has checked it
    with usable(str(active.tracking.uri)):
        own = registry.Registry(open_store(active.tracking), active.promotion.name)
        why = _why(own, active)
        if why.startswith("not: "):
            promote.complete(own)
            text = f"# Retraining\n\nNot trained: {why.removeprefix('not: ')}.\n"
            _write(text)
            return Result(True, text)
        _say(f"training, because {why}")
        _train(own, active)
        _say("registry and gate")
        version, _ = registration.register(own, active.promotion, challenger=options.push)
        outcome = promote.judge(own, active.promotion, version, options.enabled)
        text = _report(base, why, outcome, own.client.tracking_uri)
        _write(text)
        if options.push and not checkout.commit(outcome):
            params.PATH.write_bytes(before)  # this job's changes are not the next one's
        # Commit before the alias moves: a champion without its commit would look as if the job were complete.
        promote.enact(own, outcome)
        return Result(outcome.passed, text)


def _why(own: registry.Registry, active: params.Params) -> str:
    """Bring the data here; return why to train on it, see `decision.decide`."""
    _say("data")
    if tracked := run("git", "ls-files", "-z", "--", "*.dvc").split("\0")[:-1]:
        dvc("pull", "--quiet", "--", *tracked)  # the user's own files
    inbox.check()
    _reproduce(["preprocess"], ["data/clean", decision.BASE])
    table = test_table.read(Path(active.promotion.test))  # checked before hours of training
    task_match.check(own, active, table)
    gate.check_metric(active.promotion, table.task)
    return decision.decide(own, active.retrain)


def _train(own: registry.Registry, active: params.Params) -> None:
    if active.retrain.warm_start:
        checkout.start_from_champion(own)
    _reproduce([], ["data/clean", "models/teacher", f"models/{active.promotion.model}"])
    # Before the model is announced, so that a registered model is always available.
    dvc("push", "--quiet", "--run-cache")
    tracking.sync()


def _begin(options: Options, before: bytes) -> None:
    """Change params.yaml as requested and check the prerequisites; restore params.yaml if one fails."""
    try:
        if options.overrides:
            checkout.override(options.overrides)
        require(options.push)
    except BaseException:
        params.PATH.write_bytes(before)
        raise


def require(push: bool) -> None:
    """Report everything that is missing in one error."""
    active, missing = params.read(), []
    if isinstance(active.tracking, params.NoTracking) or not (active.tracking.uri or "").startswith(
        ("http://", "https://")
    ):
        missing.append(
            "an MLflow server (`tracking.uri: http://HOST:PORT`): a store in this folder is lost with "
            "the job's machine"
        )
    if not run("dvc", "config", "core.remote", check=False).strip():
        missing.append(
            "a DVC remote (`dvc remote add --default NAME PATH_OR_URL`) for data, models and the run-cache"
        )
    if run("git", "rev-parse", "--verify", "HEAD", check=False).strip() == "":
        missing.append("a git repository with a commit")
    elif push and not run("git", "remote", check=False).strip():
        missing.append("a git remote to push to (or give --no-push)")
    if push and (
        edited := run(
            "git",
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            ".",
            *(f":(exclude){name}" for name in checkout.KEPT),
        )
    ):
        missing.append(
            f"a clean checkout: {edited.split()[1]} is not committed (commit or stash it, or give --no-push)"
        )
    if missing:
        raise ParamsError(
            "retraining needs more than is set up here\n" + "\n".join(f"  - {item}" for item in missing),
            hint="set these up as described in the README",
        )


def _report(base: str, why: str, outcome: promote.Outcome, server: str) -> str:
    """Return the report as Markdown: the verdict, then what changed since the base commit."""
    version, name = outcome.version, params.read().promotion.name
    parts = [
        "# Retraining",
        f"Trained because {why}. Compared with commit `{base[:8]}`.",
        f"## Verdict on version {version}",
        outcome.text,
    ]
    if outcome.to_move:
        parts.append(
            f"It becomes the champion; `baton promote --to {outcome.champion or version}` reverts this."
        )
    for title, words in (("Params", ("params", "diff")), ("Figures", ("metrics", "diff"))):
        parts += [f"## {title}", _difference(*words, base)]
    plots = run("dvc", "plots", "diff", base, "--out", str(PLOTS), check=False)
    parts += ["## Links", f"- version {version}: {server}/#/models/{name}/versions/{version}"]
    parts += [f"- plots of both commits: `{PLOTS}/index.html`"] if plots else []
    return "\n\n".join(parts) + "\n"


def _difference(*words: str) -> str:
    try:
        return run("dvc", *words, "--md").strip() or "No difference."
    except OutputError as error:  # must not end hours of training
        return f"They cannot be compared: {error}"


def _reproduced() -> str:
    """Return the remote's last commit with a reproduced `dvc.lock`; a killed job's commit is not there."""
    tip = run("git", "rev-parse", "--verify", "--quiet", "@{upstream}", check=False).strip() or "HEAD"
    return (
        run("git", "log", "-1", "--format=%H", tip, "--", LOCK.name).strip()
        or run("git", "rev-parse", tip).strip()
    )


def _reproduce(stages: Sequence[str], wanted: Sequence[str]) -> None:
    """Reproduce with the remote's outputs, rebuild those it lacks, and fetch the `wanted` ones."""
    dvc("repro", "--pull", "--allow-missing", *stages)
    if not done("dvc", "pull", "--quiet", *wanted):
        _say("the DVC remote lacks some outputs in dvc.lock; they are rebuilt")
        dvc("repro", "--pull", *stages)


def _write(text: str) -> None:
    with storage.atomic_file(REPORT) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    console.say(f"[bold]retrain:[/] {text}")
