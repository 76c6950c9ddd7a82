"""`baton retrain`: the CI job that leads from a fresh clone to a judged challenger, a report and a commit.

Every step can be repeated: a killed job resumes where it stopped when it is started again, and registers
nothing twice. It needs a DVC remote and an MLflow server, which outlive the job's machine.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rich.markup import escape

from baton import console, params, storage, tracking
from baton.errors import OutputError, TrackingError
from baton.evaluate.report.cards.markdown import code, escaped, fenced, paragraph, table
from baton.lifecycle import registration, registry, test_table, verified
from baton.lifecycle.promotion import gate, moving, promote, promotion_record, task_match
from baton.lifecycle.retraining import (
    checkout,
    decision,
    lent_files,
    overrides,
    prerequisites,
    pushing,
    remote_checkpoints,
    rules,
)
from baton.processes import patience
from baton.sources import inbox
from baton.tracking.store import open_store, usable
from baton.workspace import remote
from baton.workspace.commands import dvc, run
from baton.workspace.dvc_files import LOCK

REPORT, PLOTS = Path("retrain.md"), Path("dvc_plots")
LONG = ("finetune", "distill")  # stages whose outputs are pushed as soon as they are there


@dataclass(frozen=True)
class Options:
    """The command line's options."""

    enabled: bool  # whether a challenger that passes becomes the champion
    overrides: Sequence[str] = ()  # `finetune.epochs=3`
    push: bool = True  # commit and push; without it, nothing is written outside the MLflow server's runs
    base: str | None = None  # the commit that the report compares against, and whose rules judge
    branch: str | None = None  # the branch to push to, if HEAD is detached
    pull_request: bool = False  # push to a branch of its own


@dataclass(frozen=True)
class Result:
    """The result of the job."""

    passed: bool  # also true if nothing had to be trained
    report: str


def retrain(options: Options) -> Result:
    """Run the whole job, in order.

    Raises:
        ParamsError: the DVC remote, the server or git is missing, or an override is not allowed; the message
            names everything that is missing.
        SourceError: inbox/ holds files that DVC cannot read.
        ModelError: the champion's alias was lost, or moved without a record.
        OutputError: DVC or git failed.
    """
    overrides.check(options.overrides)
    with lent_files.lent():
        if options.overrides:
            lent_files.write(overrides.applied(options.overrides))
        prerequisites.require(options.enabled, options.push, options.branch)
        base, active = options.base or _reproduced(), params.read()
        agreed, note = rules.of_commit(
            options.base or _tip(options.branch), active.promotion, options.enabled
        )
        assert isinstance(active.tracking, params.MlflowTracking)  # `require` has checked it
        with usable(str(active.tracking.uri)):
            own = registry.Registry(open_store(active.tracking), agreed.name)
            with tracking.patient():
                promotion_record.check(own, options.push)  # before hours of training
                why = _why(own, active, agreed)
                if why.startswith("not: "):
                    moving.complete(own)
                    text = _not_trained(why)
                    _write(text)
                    return Result(True, text)
            _say(f"training, because {why}")
            _train(own, active, agreed, options.push)  # its stages do not wait
            with tracking.patient():
                return _judged(own, agreed, options, (base, why, note))


def _judged(
    own: registry.Registry, agreed: params.Promotion, options: Options, told: tuple[str, str, str]
) -> Result:
    """Register, judge, report, commit and promote; `told` is the base commit, why it trained, and a note."""
    _say("registry and gate")
    version, _ = registration.register(own, agreed, challenger=options.push)
    outcome = promote.judge(own, agreed, version, options.enabled)
    text = _report(own, told, outcome, options.pull_request)
    _write(text)
    where = pushing.target(options.branch) if options.push else None
    if where is None:
        return Result(outcome.passed, text)
    if outcome.to_move:
        promotion_record.append(own, version, outcome.champion)
    # Commit before the alias moves: a champion without its commit would look as if the job were complete.
    if checkout.commit(outcome, where, options.pull_request):
        promote.enact(own, outcome)
    return Result(outcome.passed, text)


def _why(own: registry.Registry, active: params.Params, agreed: params.Promotion) -> str:
    """Bring the data here; return why to train on it, see `decision.decide`."""
    _say("data")
    if tracked := run("git", "ls-files", "-z", "--", "*.dvc").split("\0")[:-1]:
        _pull_own(tracked)
    inbox.check()
    _reproduce(["preprocess"], ["data/clean", decision.BASE])
    rows = test_table.read(Path(agreed.test))  # checked before hours of training
    task_match.check(own, active, rows)
    gate.check_metric(agreed, rows.task)
    verified.check_champion(own)
    return decision.decide(own, active.retrain)


def _train(own: registry.Registry, active: params.Params, agreed: params.Promotion, push: bool) -> None:
    if active.retrain.warm_start:
        with tracking.patient():
            checkout.start_from_champion(own)
    # One after the other, so that a job that dies in the second costs no more than that.
    for stage in LONG:
        with remote_checkpoints.kept(stage, active.retrain.checkpoint_minutes if push else None):
            dvc("repro", "--pull", "--allow-missing", stage)
            _keep(push, "--with-deps", stage)
    _reproduce([], ["data/clean", "models/teacher", f"models/{agreed.model}"])
    _keep(push)


def _keep(push: bool, *targets: str) -> None:
    """Bring runs into the store and outputs to the remote, from where the next job restores them."""
    # First: outputs that others restore from the run-cache need their runs in the store, or no clone could
    # register the model.
    _deliver()
    if push:
        # Before the model is announced, so that a registered model is always available. A job that only
        # rehearses writes nothing there: others would restore its run-cache.
        remote.push(*targets)


def _deliver() -> None:
    """Call `tracking.sync` until the store answers, as long as a job is patient."""
    failed: list[TrackingError] = []

    def once() -> str | None:
        try:
            tracking.sync()
        except TrackingError as error:
            failed.append(error)
            return str(error).partition("\n")[0]
        return None

    if patience.persist(once):
        raise failed[-1]


def _pull_own(files: Sequence[str]) -> None:
    """Fetch the user's own files.

    Raises:
        OutputError: the remote lacks some, or cannot be reached.
    """
    if not remote.pull(*files):
        raise OutputError(
            "the DVC remote lacks files that git says it has",
            got="some of " + ", ".join(files[:5]),
            hint="`dvc push` where they were added",
        )


def _not_trained(why: str) -> str:
    return f"# Retraining\n\nNot trained: {escaped(why.removeprefix('not: '))}.\n"


def _report(
    own: registry.Registry, told: tuple[str, str, str], outcome: promote.Outcome, pull_request: bool
) -> str:
    """Return the report as Markdown: the verdict, then what changed since the base commit."""
    (base, why, note), version = told, outcome.version
    parts = [
        "# Retraining",
        f"Trained because {escaped(why)}. Compared with commit {code(base[:8])}.",
        f"## Verdict on version {version}",
        outcome.text,
    ]
    parts += [paragraph(note)] if note else []
    if outcome.to_move:
        becomes = "It becomes the champion" + (
            " when its pull request is merged and the job runs again" if pull_request else ""
        )
        parts.append(f"{becomes}; `baton promote --to {outcome.champion or version}` reverts this.")
    for title, words in (("Params", ("params", "diff")), ("Figures", ("metrics", "diff"))):
        parts += [f"## {title}", _difference(*words, base)]
    plots = run("dvc", "plots", "diff", base, "--out", str(PLOTS), check=False)
    server = own.client.tracking_uri
    parts += ["## Links", f"- version {version}: {server}/#/models/{quote(own.name)}/versions/{version}"]
    parts += [f"- plots of both commits: `{PLOTS}/index.html`"] if plots else []
    return "\n\n".join(parts) + "\n"


def _difference(*words: str) -> str:
    """Return what DVC found as a table of our own: DVC's Markdown does not escape."""
    try:
        found = json.loads(run("dvc", *words, "--json") or "{}")
    except (OutputError, ValueError) as error:  # must not end hours of training
        return f"They cannot be compared:\n\n{fenced(str(error))}"
    rows = [
        (code(path), code(key), *(_value(change.get(which)) for which in ("old", "new")))
        for path, changes in sorted(found.items())
        for key, change in sorted(changes.items())
        if isinstance(change, dict)
    ]
    return table(("file", "", "before", "after"), rows) if rows else "No difference."


def _value(value: object) -> object:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else value


def _tip(branch: str | None = None) -> str:
    """Return the remote's last commit of a branch, by default this one, as far as it is known here.

    Without any it is the commit that is checked out.
    """
    where = pushing.target(branch) if branch else None
    name = f"refs/remotes/{where}" if where else "@{upstream}"
    return run("git", "rev-parse", "--verify", "--quiet", name, check=False).strip() or "HEAD"


def _reproduced() -> str:
    """Return the remote's last commit with a reproduced `dvc.lock`; a killed job's commit is not there."""
    return (
        run("git", "log", "-1", "--format=%H", _tip(), "--", LOCK.name).strip()
        or run("git", "rev-parse", _tip()).strip()
    )


def _reproduce(stages: Sequence[str], wanted: Sequence[str]) -> None:
    """Reproduce with the remote's outputs, rebuild those it lacks, and fetch the `wanted` ones."""
    dvc("repro", "--pull", "--allow-missing", *stages)
    if not remote.pull(*wanted):
        _say("the DVC remote lacks some outputs in dvc.lock; they are rebuilt")
        dvc("repro", "--pull", *stages)


def _write(text: str) -> None:
    with storage.atomic_file(REPORT) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    console.say(f"[bold]retrain:[/] {escape(text)}")
