"""The command `baton tune`, which needs the extra `tune`."""

from baton import extras
from baton.errors import ParamsError


def tune(storage: str | None, status: bool, apply: bool) -> None:
    """Run `baton tune`."""
    if status and apply:
        raise ParamsError("--status and --apply are two commands", got="both", expected="one of them")
    extras.require("tune", "baton tune", {"optuna": "Optuna"})
    from baton.tune import tune as job

    if status:
        job.status(storage)
    elif apply:
        job.apply(storage)
    else:
        job.search(storage)
