"""The command `baton tune`, which needs the extra `tune`."""

import importlib.util

from baton.errors import ParamsError


def tune(storage: str | None, status: bool, apply: bool) -> None:
    """Run `baton tune`."""
    if status and apply:
        raise ParamsError("--status and --apply are two commands", got="both", expected="one of them")
    if importlib.util.find_spec("optuna") is None:
        raise ParamsError(
            "baton tune needs Optuna",
            got="it is not installed",
            expected="the extra `tune`",
            hint="make install EXTRAS=tune",
        )
    from baton.tune import tune as job

    if status:
        job.status(storage)
    elif apply:
        job.apply(storage)
    else:
        job.search(storage)
