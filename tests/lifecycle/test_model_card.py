"""What a version's card says about its training run."""

from types import SimpleNamespace
from typing import Any

import pytest

from baton.contracts.input_spec import InputSpec
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
    logged: Any = SimpleNamespace(metrics=[metric], tags={"sha256": "0"})
    settings: Any = SimpleNamespace(model=model, name="n")
    card = model_card.describe(logged, run, settings, tiny.TASK, tiny.TEXT_INPUT)
    assert line in card.splitlines()


def test_the_card_names_the_licence_of_the_data_of_every_task() -> None:
    known = {"source.licence": "MIT", "tasks.stars.source.licence": "CC0", "tasks.topics.source": None}
    run: Any = SimpleNamespace(data=SimpleNamespace(params=known, tags={}))
    logged: Any = SimpleNamespace(metrics=[], tags={"sha256": "0"})
    settings: Any = SimpleNamespace(model="student", name="n")
    lines = model_card.describe(logged, run, settings, tiny.TASK, tiny.TEXT_INPUT).splitlines()
    assert [line for line in lines if "licence of the data" in line] == [
        "- licence of the data: MIT",
        "- licence of the data of the task stars: CC0",
    ]


@pytest.mark.parametrize(
    ("reads", "given"),
    [
        (tiny.TEXT_INPUT, '"raw text"'),
        (tiny.image_input(), 'Path("another.jpg").read_bytes()'),
    ],
    ids=["text", "images"],
)
def test_the_card_shows_how_its_kind_of_input_is_given(reads: InputSpec, given: str) -> None:
    run: Any = SimpleNamespace(data=SimpleNamespace(params={}, tags={}))
    logged: Any = SimpleNamespace(metrics=[], tags={"sha256": "0"})
    settings: Any = SimpleNamespace(model="student", name="n")
    card = model_card.describe(logged, run, settings, tiny.TASK, reads)
    code = card.partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")
    assert given in code and ("from pathlib import Path" in code) == ("Path(" in code)
