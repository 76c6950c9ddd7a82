"""What a version's card says about its training run."""

from types import SimpleNamespace
from typing import Any

import pytest

from baton.lifecycle import model_card
from tests import tiny


@pytest.mark.parametrize(
    ("model", "line"),
    [("student", "- seed 3, the best on validation of 2 seeds"), ("teacher", "- seed 3")],
)
def test_the_card_names_the_seed_that_validation_chose(model: str, line: str) -> None:
    run: Any = SimpleNamespace(
        data=SimpleNamespace(
            params={"finetune.seeds.0": "3", "distill.seeds.0": "1", "distill.seeds.1": "3"}, tags={}
        )
    )
    metric = SimpleNamespace(key=f"{model}/seed", value=3.0)
    logged: Any = SimpleNamespace(metrics=[metric], tags={"sha256": "0"}, model_type="text")
    settings: Any = SimpleNamespace(model=model, name="n")
    assert line in model_card.describe(logged, run, settings, tiny.TASK).splitlines()
