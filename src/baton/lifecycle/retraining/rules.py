"""The rules by which a retraining job judges: `promotion` of the base commit, not of the job's own checkout.

Otherwise whatever changes the model could also change what it is measured by.
"""

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from baton import params
from baton.errors import ParamsError
from baton.workspace.commands import done, run


def of_commit(commit: str, own: params.Promotion, enabled: bool) -> tuple[params.Promotion, str]:
    """Return `promotion` of a commit, and a sentence for the report if it is not that of this checkout.

    Args:
        commit: the base commit.
        own: the section in this checkout's params.yaml.
        enabled: whether the verdict may move the alias.

    Raises:
        ParamsError: this code cannot read that section, and the verdict would count. A dry run is then judged
            by its own section, and says so.
    """
    if not done("git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"):
        if enabled:
            raise ParamsError(
                "the base commit, whose `promotion` judges, is not in this clone",
                got=commit[:40],
                expected="a commit that git can read",
                hint="fetch it (`git fetch --unshallow`), or correct --base",
            )
        return (
            own,
            f"The base commit {commit[:8]} is not in this clone, so this dry run is judged by its own rules.",
        )
    raw = _raw(commit)
    if raw is None:  # the commit has no params.yaml: nothing was agreed on
        return own, ""
    try:
        found = TypeAdapter[params.Promotion](params.Promotion).validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        places = ", ".join(sorted({".".join(str(part) for part in item["loc"]) for item in error.errors()}))
        if enabled:
            raise ParamsError(
                f"`promotion` in params.yaml of the base commit {commit[:8]} cannot be read by this code",
                got=f"problems with {places}",
                expected="rules that were agreed on before this job",
                hint="bring the change of `promotion` to the base branch first, on its own",
            ) from None
        return own, (
            f"`promotion` of the base commit {commit[:8]} cannot be read by this code ({places}), so this dry"
            " run is judged by its own rules."
        )
    if found == own:
        return own, ""
    then, now = (params.flatten(item.model_dump(mode="json")) for item in (found, own))
    moved = ", ".join(sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key)))
    return found, (
        f"This checkout changes `promotion` ({moved}); the verdict is by the rules of the base commit "
        f"{commit[:8]}."
    )


def _raw(commit: str) -> Any:
    name = f"{commit}:./{params.PATH.name}"
    text = run("git", "show", "--end-of-options", name, check=False)
    try:
        found = params.parse(text, name)
    except ParamsError:
        return None
    return found.get("promotion") if isinstance(found, dict) else None
