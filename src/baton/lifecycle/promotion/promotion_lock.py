"""One promotion at a time, on any machine.

The store keeps names of registered models unique, so creating one is a claim. How old a claim is, only the
store's clock says: it stamps each claim, and the newcomer's own stamp is the present.
"""

import contextlib
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from baton.errors import TrackingError
from baton.processes.identity import Process
from baton.processes.supervision import this

HOLDER = "baton.holder"  # a tag: [name and start of the process (`identity`), a random word]
STALE_SECONDS = 600.0  # moving aliases takes less than a second
PATIENCE_SECONDS = 5.0  # for promotions that are at it
PAUSES = (0.05, 0.25)  # seconds between two tries


@dataclass(frozen=True)
class Claim:
    """The right to move the aliases of a registered model; others may take it over when it is old."""

    client: MlflowClient
    name: str
    place: int
    since: int  # by the store's clock, ms since 1970
    holder: str

    def held(self) -> bool:
        """Return whether no other process has taken it over."""
        own = claims(self.client, self.name).get(self.place)
        return own is not None and own.tags.get(HOLDER) == self.holder


@contextlib.contextmanager
def claim(client: MlflowClient, name: str) -> Iterator[Claim]:
    """Keep out every other promotion of the registered model `name` while its aliases are moved.

    Each newcomer creates `NAME.promotion.N` with the next N and then looks: if any other claim is there, it
    withdraws its own. So of two that are there at once, the later one to look sees the other, whatever their
    clocks say. A claim whose process is gone, or which is much older than the newcomer's by the store's
    stamps, is removed. A holder that was only paused finds that out by `Claim.held`.

    Raises:
        TrackingError: another promotion is moving aliases.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not isinstance(mine := _tried(client, name), Claim):
        if time.monotonic() > deadline:
            raise _busy(name, mine)
        time.sleep(random.uniform(*PAUSES))  # noqa: S311  # so that two that meet do not meet again
    try:
        yield mine
    finally:
        if mine.held():
            drop(client, name, mine.place)


def claims(client: MlflowClient, name: str) -> dict[int, RegisteredModel]:
    """Return the number of each claim and the entry that stands for it."""
    prefix = _place(name, "")
    found = {
        model.name.removeprefix(prefix): model
        for model in client.search_registered_models(f"name LIKE '{prefix}%'")
    }
    return {int(place): model for place, model in found.items() if place.isdigit()}


def drop(client: MlflowClient, name: str, place: int) -> None:
    """Release a claim."""
    with contextlib.suppress(MlflowException):  # the process that took it over has deleted it
        client.delete_registered_model(_place(name, place))


def _tried(client: MlflowClient, name: str) -> Claim | RegisteredModel | None:
    """Return a claim, or what is in its way; None if that is gone by now."""
    before = claims(client, name)
    place = max(before, default=-1) + 1
    holder = json.dumps([this().name, this().started, uuid.uuid4().hex])
    try:
        made = client.create_registered_model(
            _place(name, place),
            {HOLDER: holder},
            "A promotion is moving aliases; it removes this when it is done.",
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        other = claims(client, name).get(place)
        if other is None or other.tags.get(HOLDER) != holder:
            return other
        made = other  # by the first try of this request, whose answer was lost
    mine = Claim(client, name, place, int(made.creation_timestamp), holder)
    others = {number: model for number, model in claims(client, name).items() if number != place}
    if living := [model for model in others.values() if not _stale(model, mine.since)]:
        drop(client, name, place)
        return living[0]
    for old in others:
        drop(client, name, old)
    return mine


def _place(name: str, place: int | str) -> str:
    return f"{name}.promotion.{place}"


def _busy(name: str, other: RegisteredModel | None) -> TrackingError:
    got = "one that has finished by now"
    if other is not None:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(other.creation_timestamp / 1000))
        got = f"process {_holder(other).name}, since {since} by the store's clock"
    hint = (
        "wait for it and run again; if it was killed on another machine, its claim expires after "
        f"{STALE_SECONDS / 60:.0f} minutes"
    )
    return TrackingError(
        f"another promotion of {name} is moving aliases", got=got, expected="one at a time", hint=hint
    )


def _holder(model: RegisteredModel) -> Process:
    process, started, *_ = json.loads(model.tags.get(HOLDER) or '["", 0]')
    return Process(process, started)


def _stale(model: RegisteredModel, now: int) -> bool:
    """Return whether the claim's promotion is gone: its local process ended, or the claim is too old.

    `now` is by the store's clock, as the claim's own stamp is; both in ms since 1970.
    """
    return _holder(model).ended() or now - int(model.creation_timestamp) > 1000 * STALE_SECONDS
