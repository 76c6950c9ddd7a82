"""The history of a test table: its champions' figures, its baselines' figures, and how often it was used.

A table is identified by its digest. Champions and looks are tags of the registered model,
`gate.champions.DIGEST` and `gate.looks.DIGEST`; baselines are the figures of the `evaluate` runs whose test
table has that digest.
"""

import json
from collections.abc import Mapping

from baton.lifecycle.promotion.verdicts import Mark, Marks
from baton.lifecycle.registry import CLEAN, Registry, number
from baton.tasks.figure_scale import Scale
from baton.tracking import pipelines

CHAMPIONS, LOOKS = "gate.champions.", "gate.looks."
DIGITS = 16  # of a digest in a tag
TRANSFORMERS = ("teacher", "student", "control")


def marks(registry: Registry, table: str, metric: Scale, ignored: str) -> Marks:
    """Return the best champion so far and the best baseline on the table with this sha256.

    Champions with the tag `ignored`, which were rolled back by hand, do not count.
    """
    withdrawn = {number(version) for version in registry.versions() if ignored in version.tags}
    reached = [
        Mark(f"version {version}", own[metric.name])
        for version, own in _champions(registry, table).items()
        if version not in withdrawn
    ]
    return Marks(metric.best(reached, lambda mark: mark.value), _baseline(registry, table, metric))


def note_champion(registry: Registry, table: str, version: str, figures: Mapping[str, float]) -> None:
    """Record the figures of a champion by which the gate may decide."""
    champions = _champions(registry, table) | {version: dict(figures)}
    registry.client.set_registered_model_tag(registry.name, CHAMPIONS + table[:DIGITS], json.dumps(champions))


def look(registry: Registry, table: str) -> int:
    """Count a verdict on the table; return the number of verdicts including this one."""
    count = int(_tag(registry, LOOKS + table[:DIGITS]) or 0) + 1
    registry.client.set_registered_model_tag(registry.name, LOOKS + table[:DIGITS], str(count))
    return count


def _champions(registry: Registry, table: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(_tag(registry, CHAMPIONS + table[:DIGITS]) or "{}")
    return found


def _tag(registry: Registry, key: str) -> str | None:
    found: str | None = registry.client.get_registered_model(registry.name).tags.get(key)
    return found


def _baseline(registry: Registry, table: str, metric: Scale) -> Mark | None:
    path = CLEAN / "test.parquet"
    condition = (
        f"tags.`{pipelines.STAGE}` = 'evaluate' AND tags.`sha256.{path.as_posix()}` = '{table}' AND "
        "attributes.status = 'FINISHED'"
    )
    reached, suffix = [], f"/test_{metric.name}"
    for run in registry.store.runs(condition):
        own = {
            key.removesuffix(suffix): value for key, value in run.data.metrics.items() if key.endswith(suffix)
        }
        reached += [
            Mark(name, value) for name, value in own.items() if name.partition("/")[0] not in TRANSFORMERS
        ]
    return metric.best(reached, lambda mark: mark.value)
