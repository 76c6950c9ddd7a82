"""`baton retrain`: what a CI job runs, from a fresh clone to a judged challenger, a report and a commit.

Every step can be repeated: a job that was killed goes on where it was when it is started again, and registers nothing twice. Needs a DVC
remote and an MLflow server, which outlive the job's machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from baton import console, params, storage, tracking
from baton.errors import OutputError, ParamsError
from baton.lifecycle import need, promotion, registry, tables
from baton.lifecycle.programs import done, dvc, run
from baton.tracking.dvcfiles import LOCK
from baton.tracking.registered import TEACHER_SHA256
from baton.tracking.store import open_store

WIDTH = 4096  # of a line in params.yaml: none is folded
REPORT, PLOTS = Path("retrain.md"), Path("dvc_plots")
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
    _begin(options)
    base = options.base or _reproduced()
    active = params.read()
    assert isinstance(active.tracking, params.MlflowTracking)  # `require` has seen to it
    settings = active.promotion
    _say("data")
    if tracked := run("git", "ls-files", "--", "*.dvc").split():
        dvc("pull", "--quiet", *tracked)  # the user's own files
    _reproduce(["preprocess"], ["data/clean", need.BASE])
    tables.read(Path(settings.test))  # before hours of training
    own = registry.Registry(open_store(active.tracking), settings.name)
    why = need.decide(own, active.retrain)
    if why.startswith("not: "):
        promotion.complete(own)
        text = f"# Retraining\n\nNot trained: {why.removeprefix('not: ')}.\n"
        _write(text)
        return Result(False, True, text)
    _say(f"training, because {why}")
    if active.retrain.warm_start:
        _start_from_champion(own)
    _reproduce([], ["data/clean", "models/teacher", f"models/{settings.model}"])
    dvc("push", "--quiet", "--run-cache")  # before anybody hears of the model: what is registered can be had
    tracking.sync()
    _say("registry and gate")
    version, _ = registry.register(own, settings, challenger=options.push)
    outcome = promotion.judge(own, settings, version, options.enabled)
    text = _report(base, why, outcome, own.client.tracking_uri)
    _write(text)
    if options.push:
        _commit(outcome)  # before the alias moves: a champion whose commit is not pushed would look as if nothing were left to do
    promotion.enact(own, outcome)
    return Result(True, outcome.passed, text)


def _begin(options: Options) -> None:
    """Change params.yaml as asked, and see whether all is there; params.yaml stays as it was if not."""
    before = params.PATH.read_bytes()
    try:
        if options.overrides:
            _override(options.overrides)
        require(options.push)
    except BaseException:
        params.PATH.write_bytes(before)
        raise


def _override(overrides: Sequence[str]) -> None:
    """As `dvc exp run -S` does it."""
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]

    try:
        apply_overrides(params.PATH, list(overrides))
    except DvcException as error:
        got, hint = " ".join(overrides), "give a key of params.yaml and its value: -S finetune.epochs=3"
        raise ParamsError(f"an override cannot be applied: {error.__cause__ or error}", got=got, hint=hint) from None


def require(push: bool) -> None:
    """Say at once all that is missing."""
    active, missing = params.read(), []
    if isinstance(active.tracking, params.NoTracking) or not (active.tracking.uri or "").startswith(("http://", "https://")):
        missing.append("an MLflow server (`tracking.uri: http://HOST:PORT`): a store in this folder goes with the job's machine")
    if not run("dvc", "config", "core.remote", check=False).strip():
        missing.append("a DVC remote (`dvc remote add --default NAME PATH_OR_URL`), where data, models and the run-cache are kept")
    if run("git", "rev-parse", "--verify", "HEAD", check=False).strip() == "":
        missing.append("a git repository with a commit")
    elif push and not run("git", "remote", check=False).strip():
        missing.append("a git remote to push to (or give --no-push)")
    if push and (edited := run("git", "status", "--porcelain", "--untracked-files=no", "--", ".", *(f":(exclude){name}" for name in KEPT))):
        missing.append(f"a clean checkout: {edited.split()[1]} is not committed (commit or stash it, or give --no-push)")
    if missing:
        raise ParamsError(
            "retraining needs more than is here\n" + "\n".join(f"  - {item}" for item in missing), hint="set these up, see the README"
        )


def _report(base: str, why: str, outcome: promotion.Outcome, server: str) -> str:
    """Markdown: verdict, then what changed against the base commit."""
    version, name = outcome.version, params.read().promotion.name
    parts = ["# Retraining", f"Trained because {why}. Compared with commit `{base[:8]}`.", f"## Verdict on version {version}", outcome.text]
    if outcome.to_move:
        parts.append(f"It becomes the champion; `baton promote --to {outcome.champion or version}` goes back.")
    for title, words in (("Params", ("params", "diff")), ("Figures", ("metrics", "diff"))):
        parts += [f"## {title}", _difference(*words, base)]
    plots = run("dvc", "plots", "diff", base, "--out", str(PLOTS), check=False)
    parts += ["## Links", f"- version {version}: {server}/#/models/{name}/versions/{version}"]
    parts += [f"- plots of both commits: `{PLOTS}/index.html`"] if plots else []
    return "\n\n".join(parts) + "\n"


def _difference(*words: str) -> str:
    try:
        return run("dvc", *words, "--md").strip() or "No difference."
    except OutputError as error:  # hours of training do not end here
        return f"They cannot be compared: {error}"


def _commit(outcome: promotion.Outcome) -> None:
    """Commit what git keeps, if it changed, and push what is not pushed yet; params that the job wrote only with their champion."""
    if run("git", "status", "--porcelain", "--", params.PATH.name).strip() and not outcome.to_move:
        _say("nothing is committed: params were changed for this job, and its model does not become the champion")
        return
    kept = [name for name in KEPT if Path(name).exists()]
    run("git", "add", "--", *kept)
    if run("git", "status", "--porcelain", "--untracked-files=no", "--", *kept).strip():
        text = f"Retrain: version {outcome.version} {'passed' if outcome.passed else 'refused'}"
        run("git", *AUTHOR, "commit", "--quiet", "--message", text, "--", *kept)
    if not done("git", "push", "--quiet"):  # somebody else has pushed meanwhile
        if not done("git", *AUTHOR, "pull", "--quiet", "--rebase", "--autostash"):
            run("git", "rebase", "--abort", check=False)
            hint = "the model is registered and its data pushed; merge by hand, or run again on the new state"
            raise OutputError("the commit of dvc.lock and figures conflicts with what was pushed meanwhile", hint=hint)
        run("git", "push", "--quiet")


def _start_from_champion(own: registry.Registry) -> None:
    """Write the champion's teacher into `base`, as version and digest. One that an interrupted job wrote stays."""
    champion = own.alias(registry.CHAMPION)
    raw = YAML(typ="safe", pure=True).load(run("git", "show", f"HEAD:./{params.PATH.name}"))
    if champion is None or params.read_raw().get("base") != raw.get("base"):
        return
    if (digest := champion.tags.get(TEACHER_SHA256)) is None:
        hint = "register a version together with its teacher, or set retrain.warm_start: false"
        raise ParamsError(f"version {registry.number(champion)} of {own.name} names no teacher to start from", hint=hint)
    licence = params.read().base.licence
    started = {"kind": "registered", "name": own.name, "version": int(registry.number(champion)), "sha256": digest, "licence": licence}
    yaml = YAML()
    yaml.width = WIDTH
    raw = yaml.load(params.PATH)
    raw["base"] = started
    with storage.atomic_file(params.PATH) as temporary:
        yaml.dump(raw, temporary)


def _reproduced() -> str:
    """The commit with the last reproduced state, `dvc.lock`, that is on the remote: what a killed job committed is not."""
    tip = run("git", "rev-parse", "--verify", "--quiet", "@{upstream}", check=False).strip() or "HEAD"
    return run("git", "log", "-1", "--format=%H", tip, "--", LOCK.name).strip() or run("git", "rev-parse", tip).strip()


def _reproduce(stages: Sequence[str], wanted: Sequence[str]) -> None:
    """Reproduce with what the remote has, and bring some outputs here; what `dvc.lock` names and the remote lacks is made anew."""
    dvc("repro", "--pull", "--allow-missing", *stages)
    if not done("dvc", "pull", "--quiet", *wanted):
        _say("the DVC remote does not have all that dvc.lock names; the rest is made anew")
        dvc("repro", "--pull", *stages)


def _write(text: str) -> None:
    with storage.atomic_file(REPORT) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    console.say(f"[bold]retrain:[/] {text}")
