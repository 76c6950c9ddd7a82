"""Bring MLflow in line with a study: a parent run, and a child run for each trial.

A store that is away neither stops nor slows the search: what is missing is delivered later.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from baton import console, params, tracking
from baton.errors import TrackingError
from baton.tune import space
from baton.tune.study import CURVE, ENDED, ERROR, EXPERIMENT, OF, SEED, Study

if TYPE_CHECKING:
    from baton.tracking.studies import Trial

DELIVERY = "mlflow"  # the lock of the worker that delivers


def deliver(study: Study, name: str, settings: params.Tracking, files: Sequence[Path] = ()) -> bool:
    """Deliver all that has ended; return False if the store cannot be used, which is said.

    If another worker delivers just now, it is left to it, unless there are `files`.
    """
    if isinstance(settings, params.NoTracking):
        return True
    tracking.prepare()
    from baton.tracking import studies

    with study.claims.held(DELIVERY) if files else _free(study) as mine:
        if mine is False:
            return True
        ended = [own for kept in (study.trials, study.repeats) for own in kept if own.state in ENDED]
        about = params.flatten({"tune": study.asked.model_dump(mode="json")})
        try:
            studies.deliver(settings, name, about, [_trial(own, study) for own in ended], study.done, files)
        except TrackingError as error:
            console.warn("tune", f"MLflow has to wait, the search goes on: {error}")
            return False
    return True


@contextmanager
def _free(study: Study) -> Iterator[bool]:
    """Hold the lock if no other worker has it; yield whether it is held."""
    release = study.claims.take(DELIVERY)
    try:
        yield release is not None
    finally:
        if release is not None:
            release()


def _trial(own: FrozenTrial, study: Study) -> "Trial":
    from baton.tracking.studies import Trial

    notes, repeat = own.user_attrs, SEED in own.user_attrs
    name = f"{notes[OF]:03}-seed{notes[SEED]}" if repeat else f"{own.number:03}"
    values = space.changes(own.params, study.asked.ranges) | ({"seed": notes[SEED]} if repeat else {})
    tags = {"baton.tune": "repeat" if repeat else "trial"}
    if notes.get(EXPERIMENT):
        tags["dvc.experiment"] = notes[EXPERIMENT]
    status = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED"}.get(own.state, "FAILED")
    return Trial(
        name=name,
        values=params.flatten(values),
        status=status,  # type: ignore[arg-type]
        value=own.value if own.state is TrialState.COMPLETE else None,
        curve=notes.get(CURVE) or (),
        start=_ms(own.datetime_start),
        end=_ms(own.datetime_complete),
        tags=tags,
        error=notes.get(ERROR),
    )


def _ms(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)
