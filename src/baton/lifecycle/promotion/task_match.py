"""Whether params, the test table and the champion have the same kind of task: else nothing can be compared.

It is known before a training run and before any model is loaded: a version keeps the params it was made from.
"""

from mlflow.entities.model_registry import ModelVersion

from baton import params
from baton.errors import ModelError, ParamsError
from baton.lifecycle.registry import CHAMPION, Registry, number
from baton.lifecycle.test_table import Table

BEFORE = "classes"  # of params that name no task: the only kind of earlier versions


def check(registry: Registry, active: params.Params, table: Table) -> None:
    """Refuse to train a model that the gate could not judge.

    Raises:
        ParamsError: `promotion.test` is a table of another kind of task than `task`.
        ModelError: the champion has another kind of task than the table.
    """
    if table.task.kind != active.task.kind:
        raise ParamsError(
            f"promotion.test: {table.path} has another task than task.kind",
            got=table.task.kind,
            expected=active.task.kind,
            hint="set promotion.test to a table of this task, such as data/clean/test.parquet",
        )
    champion = registry.alias(CHAMPION)
    if champion and (found := other(registry, champion, table)):
        raise ModelError(
            found,
            hint="train with `baton repro`, then run `baton register` and `baton promote --to VERSION` with "
            "the version that it prints, or set promotion.name to a new name, which has no champion yet",
        )


def other(registry: Registry, champion: ModelVersion, table: Table) -> str | None:
    """Return in words why the champion cannot be scored on the table; None if it may have the same task."""
    text = registry.read(champion, params.PATH.name)
    if text is None:
        return None
    raw = params.parse(text, f"{params.PATH} of version {number(champion)} of {registry.name}")
    kind = raw["task"]["kind"] if "task" in raw else BEFORE
    if kind == table.task.kind:
        return None
    return (
        f"the champion, version {number(champion)} of {registry.name}, has the task {kind}, but {table.path} "
        f"has the task {table.task.kind}, so no model can be compared with it"
    )
