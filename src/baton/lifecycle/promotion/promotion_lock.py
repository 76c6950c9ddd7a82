"""One promotion at a time, on any machine.

The store keeps names of registered models unique, so creating one is a claim.
"""

import contextlib
import json
import time
from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from baton.errors import TrackingError
from baton.processes.supervision import Process, this

HOLDER = "baton.holder"  # a tag: [process, its start, time of the claim], times in seconds since 1970
STALE_SECONDS = 600.0  # moving aliases takes less than a second


@contextlib.contextmanager
def claim(client: MlflowClient, name: str) -> Iterator[None]:
    """Keep out every other promotion of the registered model `name` while its aliases are moved.

    Whoever creates `NAME.promotion.0` holds the claim. If the holder's process is gone, another process takes
    over by creating the next number, which again only one can do.

    Raises:
        TrackingError: another promotion is moving aliases.
    """
    before = claims(client, name)
    if before and not _stale(before[max(before)]):
        raise _held(name, before[max(before)])
    mine = max(before, default=-1) + 1
    try:
        tags = {HOLDER: json.dumps([this().name, this().started, time.time()])}
        client.create_registered_model(
            _place(name, mine), tags, "A promotion is moving aliases; it removes this when it is done."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        raise _held(name, claims(client, name).get(mine, "")) from None
    try:
        if mine < max(now := claims(client, name)):  # another process has taken over the free claim
            raise _held(name, now[max(now)])
        for old in before:
            drop(client, name, old)
        yield
    finally:
        drop(client, name, mine)


def claims(client: MlflowClient, name: str) -> dict[int, str]:
    """Return number -> holder of each claim."""
    prefix = _place(name, "")
    found = {
        model.name.removeprefix(prefix): model.tags
        for model in client.search_registered_models(f"name LIKE '{prefix}%'")
    }
    return {int(place): tags.get(HOLDER, "") for place, tags in found.items() if place.isdigit()}


def drop(client: MlflowClient, name: str, place: int) -> None:
    """Release a claim."""
    with contextlib.suppress(MlflowException):  # the process that took it over has deleted it
        client.delete_registered_model(_place(name, place))


def _place(name: str, place: int | str) -> str:
    return f"{name}.promotion.{place}"


def _held(name: str, holder: str) -> TrackingError:
    process, _, since = json.loads(holder or '["one that has finished", 0, 0]')
    got = (
        f"process {process}, since {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(since))}"
        if since
        else process
    )
    hint = (
        "wait for it and run again; if it was killed on another machine, its claim expires after "
        f"{STALE_SECONDS / 60:.0f} minutes"
    )
    return TrackingError(
        f"another promotion of {name} is moving aliases", got=got, expected="one at a time", hint=hint
    )


def _stale(holder: str) -> bool:
    """Return whether the claim's promotion is gone: its local process ended, or the claim is too old."""
    process, started, since = json.loads(holder or '["", 0, 0]')
    return Process(process, started).ended() or time.time() - since > STALE_SECONDS
