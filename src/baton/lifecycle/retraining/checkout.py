"""Changes by a retraining job in the checkout: params.yaml, and a commit with `dvc.lock` and figures."""

from collections.abc import Sequence
from pathlib import Path

from baton import console, params, storage
from baton.errors import OutputError, ParamsError
from baton.lifecycle import registry
from baton.lifecycle.promotion import promote
from baton.params import yaml_text
from baton.tracking.stored_models import TEACHER_SHA256
from baton.workspace.commands import done, run
from baton.workspace.dvc_files import LOCK

WIDTH = 4096  # of a line in params.yaml, so that none is folded
KEPT = (LOCK.name, params.PATH.name, "metrics", "reports/metrics.json")  # what a retraining commit holds
AUTHOR = ("-c", "user.name=baton retrain", "-c", "user.email=baton-retrain@localhost")


def override(overrides: Sequence[str]) -> None:
    """Override params in params.yaml, as `dvc exp run -S` does."""
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]

    try:
        apply_overrides(params.PATH, list(overrides))
    except DvcException as error:
        got, hint = " ".join(overrides), "give a key of params.yaml and its value: -S finetune.epochs=3"
        raise ParamsError(
            f"an override cannot be applied: {error.__cause__ or error}", got=got, hint=hint
        ) from None


def start_from_champion(own: registry.Registry) -> None:
    """Write the champion's teacher into `base` as version and digest; keep an interrupted job's entry."""
    champion = own.alias(registry.CHAMPION)
    raw = params.parse(run("git", "show", f"HEAD:./{params.PATH.name}"), f"HEAD:{params.PATH.name}")
    if champion is None or params.read_raw().get("base") != raw.get("base"):
        return
    if (digest := champion.tags.get(TEACHER_SHA256)) is None:
        hint = "register a version together with its teacher, or set retrain.warm_start: false"
        raise ParamsError(
            f"version {registry.number(champion)} of {own.name} records no teacher to start from", hint=hint
        )
    licence = params.read().base.licence
    started = {
        "kind": "registered",
        "name": own.name,
        "version": int(registry.number(champion)),
        "sha256": digest,
        "licence": licence,
    }
    yaml = yaml_text.reader(round_trip=True)
    yaml.width = WIDTH
    raw = yaml.load(params.PATH)
    raw["base"] = started
    with storage.atomic_file(params.PATH) as temporary:
        yaml.dump(raw, temporary)


def commit(outcome: promote.Outcome) -> bool:
    """Commit what git tracks, if it changed, and push what is not pushed yet.

    Params that the job wrote are committed only together with their champion.

    Returns:
        whether there was anything to commit.
    """
    if run("git", "status", "--porcelain", "--", params.PATH.name).strip() and not outcome.to_move:
        console.say(
            "nothing is committed: this job changed params, and its model does not become the champion"
        )
        return False
    kept = [name for name in KEPT if Path(name).exists()]
    run("git", "add", "--", *kept)
    if run("git", "status", "--porcelain", "--untracked-files=no", "--", *kept).strip():
        text = f"Retrain: version {outcome.version} {'passed' if outcome.passed else 'refused'}"
        run("git", *AUTHOR, "commit", "--quiet", "--message", text, "--", *kept)
    if not done("git", "push", "--quiet"):  # somebody else has pushed in the meantime
        if not done("git", *AUTHOR, "pull", "--quiet", "--rebase", "--autostash"):
            run("git", "rebase", "--abort", check=False)
            hint = "the model is registered and its data pushed; merge by hand, or run again on the new state"
            raise OutputError(
                "the commit of dvc.lock and figures conflicts with what was pushed in the meantime", hint=hint
            )
        run("git", "push", "--quiet")
    return True
