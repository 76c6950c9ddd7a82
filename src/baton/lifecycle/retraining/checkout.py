"""Changes by a retraining job in the checkout: params.yaml, and a commit with `dvc.lock` and figures."""

import io
import re
from pathlib import Path

from baton import console, params
from baton.errors import ParamsError
from baton.lifecycle import registry
from baton.lifecycle.promotion import promote, promotion_record
from baton.lifecycle.retraining import lent_files, pushing
from baton.params import yaml_text
from baton.tracking.stored_models import TEACHER_SHA256
from baton.workspace.commands import AUTHOR, run
from baton.workspace.dvc_files import LOCK

WIDTH = 4096  # of a line in params.yaml, so that none is folded
# What a retraining commit holds.
KEPT = (LOCK.name, params.PATH.name, "metrics", "reports/metrics.json", promotion_record.RECORD.name)


def start_from_champion(own: registry.Registry) -> None:
    """Write the champion's teacher into `base` as version and digest; leave a `base` that was overridden."""
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
    made = io.StringIO()
    yaml.dump(raw, made)
    lent_files.write(made.getvalue())


def commit(outcome: promote.Outcome, where: pushing.Target, propose: bool) -> bool:
    """Commit what git tracks, if it changed, and push what is not pushed yet.

    Params that the job wrote are committed only together with their champion.

    Args:
        outcome: the verdict.
        where: the branch to push to.
        propose: push to a branch of its own, for a pull request, if anything is to be pushed.

    Returns:
        whether the branch holds the result; only then may the champion's alias move.
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
    if propose and not pushing.landed(where):
        name = re.sub(r"[^A-Za-z0-9]+", "-", outcome.record["name"]).strip("-")
        pushing.propose(where, f"retrain/{name}-version-{outcome.version}")
        return False
    pushing.push(where)
    return True
