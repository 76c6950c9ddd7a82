"""Move the champion's alias, such that no other promotion is undone by it.

MLflow sets an alias unconditionally, so the claim and the champion are checked immediately before, and the
result after. A process that was paused in between has lost its claim when it goes on; it then puts back what
was promoted while it slept.
"""

from collections.abc import Mapping

from mlflow.entities.model_registry import ModelVersion

from baton.errors import TrackingError
from baton.lifecycle.promotion.promotion_lock import Claim, claim
from baton.lifecycle.registry import CHALLENGER, CHAMPION, GATE, PROMOTED, ROLLED_BACK, Registry, now, number

CLAIMED = "claimed"  # tag of a version: when the claim under which it became the champion was made
TRIES = 3  # at setting the alias while a paused promotion may still write it


def move(
    registry: Registry, version: ModelVersion, before: ModelVersion | None, by_hand: bool = False
) -> None:
    """Give the champion's alias to a version, unless the champion changed after the verdict.

    Raises:
        TrackingError: the champion changed, another promotion is moving aliases, or this process was paused
            for so long that another promotion took over.
    """
    with claim(registry.client, registry.name) as mine:
        _unchanged(registry, before)
        tag(registry, version, {"previous_champion": number(before) if before else "none"})
        if before and by_hand:  # first: otherwise a retraining could bring it back
            tag(registry, before, {ROLLED_BACK: now()})
        if not mine.held():
            raise _overtaken(registry)
        _unchanged(registry, before)
        registry.client.set_registered_model_alias(registry.name, CHAMPION, number(version))
        if _settled(registry, mine, version):
            return
    _put_back(registry, mine, version)


def complete(registry: Registry) -> None:
    """Finish what a killed promotion may have left undone: the champion's tags and its challenger alias."""
    champion, challenger = registry.alias(CHAMPION), registry.alias(CHALLENGER)
    if champion is None:
        return
    if champion.tags.get(GATE + ROLLED_BACK):
        registry.client.delete_model_version_tag(registry.name, number(champion), GATE + ROLLED_BACK)
    if champion.tags.get(f"{GATE}verdict") != PROMOTED:
        tag(registry, champion, {"verdict": PROMOTED})
    if challenger and number(challenger) == number(champion):
        registry.client.delete_registered_model_alias(registry.name, CHALLENGER)


def tag(registry: Registry, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Write tags of the gate to a version."""
    for key, value in tags.items():
        registry.client.set_model_version_tag(registry.name, number(version), f"{GATE}{key}", value)


def _unchanged(registry: Registry, before: ModelVersion | None) -> None:
    current = registry.alias(CHAMPION)
    if (current and number(current)) == (before and number(before)):
        return
    got, expected = (f"version {number(item)}" if item else "no champion" for item in (current, before))
    hint = "run again: the challenger is judged against the new champion"
    raise TrackingError(
        f"the champion of {registry.name} changed meanwhile", got=got, expected=expected, hint=hint
    )


def _settled(registry: Registry, mine: Claim, version: ModelVersion) -> bool:
    """Confirm the alias and complete the promotion; return False if the claim was lost.

    A promotion that was paused may overwrite the alias once more; whoever holds the claim prevails.
    """
    for _ in range(TRIES):
        if not mine.held():
            return False
        current = registry.alias(CHAMPION)
        if current and number(current) == number(version):
            tag(registry, version, {CLAIMED: str(mine.since)})
            complete(registry)
            return True
        registry.client.set_registered_model_alias(registry.name, CHAMPION, number(version))
    raise _overtaken(registry)


def _put_back(registry: Registry, mine: Claim, version: ModelVersion) -> None:
    """Under a new claim, restore the champion of a promotion that took over; without one, ours stands."""
    with claim(registry.client, registry.name) as again:
        later = {
            int(other.tags[GATE + CLAIMED]): other
            for other in registry.versions()
            if int(other.tags.get(GATE + CLAIMED, 0)) > mine.since
        }
        current = registry.alias(CHAMPION)
        if (
            not later
            and current
            and number(current) == number(version)
            and _settled(registry, again, version)
        ):
            return
        if later:
            registry.client.set_registered_model_alias(registry.name, CHAMPION, number(later[max(later)]))
            complete(registry)
    raise _overtaken(registry)


def _overtaken(registry: Registry) -> TrackingError:
    current = registry.alias(CHAMPION)
    return TrackingError(
        f"another promotion of {registry.name} took over while this one was paused",
        got=f"version {number(current)} is the champion" if current else "no champion",
        expected="one promotion at a time",
        hint="run again: the challenger is judged against the champion of now",
    )
