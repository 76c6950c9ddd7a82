"""Ranges of params.yaml as distributions, and values of trials in params.yaml."""

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from baton import params
from baton.errors import ParamsError
from baton.tune import space
from tests.tune import made_up

HEADS = (
    {"kind": "linear", "pooling": "mean", "dropout": 0.0},
    {"kind": "linear", "pooling": "cls", "dropout": 0.0},
)


def ranges(**own: Any) -> Any:
    return made_up.asked(ranges={key.replace("__", "."): value for key, value in own.items()}).ranges


def number(
    kind: str, low: float, high: float, log: bool = False, step: float | None = None
) -> dict[str, Any]:
    return {"kind": kind, "low": low, "high": high, "log": log, "step": step}


@pytest.fixture
def raw(root: Any) -> dict[str, Any]:
    return params.read_raw(root / "params.yaml")


def test_each_kind_has_its_distribution() -> None:
    own = ranges(
        finetune__learning_rate=number("float", 1e-5, 1e-3, log=True),
        finetune__epochs=number("int", 1, 4, step=1),
        finetune__head={"kind": "choice", "values": HEADS},
    )
    found = space.distributions(own)
    assert list(found) == sorted(found)
    assert found["finetune.learning_rate"] == FloatDistribution(1e-5, 1e-3, log=True)
    assert found["finetune.epochs"] == IntDistribution(1, 4)
    assert isinstance(found["finetune.head"], CategoricalDistribution)
    drawn = {"finetune.head": found["finetune.head"].choices[1], "finetune.epochs": 3}
    assert space.changes(drawn, own) == {"finetune.head": HEADS[1], "finetune.epochs": 3}


def test_a_grid_ends_at_its_last_value() -> None:
    found = space.distributions(ranges(finetune__dropout=number("float", 0.0, 0.25, step=0.1)))
    assert found["finetune.dropout"] == FloatDistribution(0.0, 0.2, step=0.1)


def test_trial_0_is_the_recipe(raw: dict[str, Any]) -> None:
    own = ranges(
        finetune__learning_rate=number("float", 1e-5, 1e-3, log=True),
        distill__alpha=number("float", 0.0, 1.0, step=0.1),
        finetune__head={"kind": "choice", "values": HEADS},
    )
    found = space.of_recipe(raw, own)
    assert (found["finetune.learning_rate"], found["distill.alpha"]) == (1e-4, 0.3)
    assert space.changes(found, own)["finetune.head"] == raw["finetune"]["head"]


@pytest.mark.parametrize(
    ("key", "own", "said"),
    [
        ("finetune__learning_rate", number("float", 1e-3, 1e-2), "does not hold the value"),
        ("distill__alpha", number("float", 0.0, 1.0, step=0.25), "in steps of 0.25"),
        ("finetune__batch_size", {"kind": "choice", "values": (8, 16)}, "one of 8, 16"),
        ("finetune__rate", number("float", 1e-3, 1e-2), "there is no finetune.rate"),
        ("finetune__dropout", number("float", 0.0, 1.5), r"finetune.dropout 1.5 \(tune.ranges\)"),
        ("finetune__schedule", {"kind": "choice", "values": ("linear", "round")}, "round"),
    ],
)
def test_ranges_that_do_not_fit(raw: dict[str, Any], key: str, own: Any, said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        space.check(raw, ranges(**{key: own}))


@pytest.mark.parametrize(
    ("key", "own", "said"),
    [
        ("finetune__seeds", number("int", 0, 4, step=1), "would not be judged alike"),
        ("preprocess__seed", number("int", 0, 4, step=1), "cannot be tuned"),
        ("finetune__dropout", number("float", 0.5, 0.1), "low must be below high"),
        ("finetune__learning_rate", number("float", 0.0, 0.1, log=True), "low above 0"),
        ("finetune__schedule", {"kind": "choice", "values": ("linear", "linear")}, "distinct"),
    ],
)
def test_ranges_that_are_not_valid(key: str, own: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ranges(**{key: own})


def test_a_budget_is_needed() -> None:
    with pytest.raises(ValueError, match="trials, minutes or both"):
        made_up.asked(trials=None)
