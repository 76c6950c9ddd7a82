"""What params may not ask of several tasks on one encoder."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from baton import params
from tests import test_token_params

Edit = Callable[[dict[str, Any]], object]
RECIPES = Path(__file__).parent.parent / "recipes"


def with_tasks(raw: dict[str, Any]) -> None:
    """Add a task of numbers on the same rows, and one of classes with a source of its own."""
    numbers, classes = (params.read_raw(RECIPES / f"{name}.yaml") for name in ("numbers-csv", "labels-csv"))
    head = {"kind": "linear", "pooling": "mean", "dropout": 0.0}
    raw["tasks"] = {
        "stars": {
            "source": None,
            "task": numbers["task"],
            "preprocess": numbers["preprocess"],
            "head": head,
            "weight": 0.5,
        },
        "topics": {
            "source": classes["source"],
            "task": classes["task"],
            "preprocess": classes["preprocess"],
            "head": {**head, "kind": "mlp", "width": 8},
            "weight": 1.0,
        },
    }
    raw["finetune"] |= {"strategy": {"kind": "full"}, "mixing": {"kind": "temperature", "temperature": 2.0}}


def problems(folder: Path, edit: Edit, recipe: str = "csv") -> str:
    return test_token_params.problems(folder, recipe, lambda raw: (with_tasks(raw), edit(raw)))


def test_several_tasks(tmp_path: Path) -> None:
    raw = params.read_raw(RECIPES / "csv.yaml")
    assert params.checked(copy.deepcopy(raw), Path("x")).tasks == {}
    with_tasks(raw)
    YAML(typ="safe", pure=True).dump(raw, tmp_path / "params.yaml")
    read = params.load("tasks", "finetune", path=tmp_path / "params.yaml")
    assert list(read.tasks) == ["stars", "topics"]
    assert read.tasks["stars"].source is None and read.tasks["topics"].task.kind == "labels"
    assert read.finetune.mixing == params.TemperatureMixing(kind="temperature", temperature=2.0)
    raw["preprocess"]["shots"], raw["tasks"]["topics"]["preprocess"]["shots"] = 8, None
    assert params.checked(raw, Path("x")).tasks


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda raw: raw.update(tasks={}), "finetune.mixing is set, but there is one task: set it to null"),
        (lambda raw: raw["finetune"].pop("mixing"), "finetune.mixing: missing, since there are tasks; add"),
        (
            lambda raw: raw["finetune"]["mixing"].update(temperature=0.5),
            "finetune.mixing.temperature: input should be greater than or equal to 1",
        ),
        *(
            (
                lambda raw, own=own: raw["finetune"].update(strategy=own),
                f"finetune.strategy.kind is {own['kind']}, but several tasks train an encoder together",
            )
            for own in (
                {"kind": "head"},
                {"kind": "probe"},
                {"kind": "prototypes"},
                {"kind": "auto", "rows": 9, "folds": 2, "among": [{"kind": "probe"}, {"kind": "full"}]},
            )
        ),
        (lambda raw: raw["runtime"].update(sharding="full"), "runtime.sharding is full, but there are tasks"),
        (
            lambda raw: raw["tasks"].update(main=raw["tasks"].pop("stars")),
            "tasks.main: the task of the pipeline's own sections is called main: choose another name",
        ),
        (lambda raw: raw["tasks"].update({"a/b": raw["tasks"].pop("stars")}), "tasks.a/b"),
        (lambda raw: raw["tasks"]["stars"].update(weight=0), "tasks.stars.weight: input should be greater"),
        (lambda raw: raw["tasks"]["stars"].pop("source"), "tasks.stars.source: missing"),
        (
            lambda raw: raw["tasks"]["topics"]["head"].update(pooling="cls"),
            "tasks.topics.head.pooling is cls, but all heads read the same features: set it to mean",
        ),
        (
            lambda raw: raw["tasks"]["stars"].update(
                task={"kind": "sequence", "target_length": 8, "beams": 1, "validation_rows": 9}
            ),
            "tasks.stars.task.kind is sequence: set it to classes, labels, numbers or tokens",
        ),
        (
            lambda raw: raw["tasks"]["stars"]["preprocess"].update(label_names={"1": "one"}),
            "tasks.stars.preprocess.label_names is set, but task.kind is numbers: set it to {}",
        ),
        (
            lambda raw: (
                raw["tasks"]["topics"]["preprocess"]["format"].clear()
                or raw["tasks"]["topics"]["preprocess"]["format"].update(kind="conll")
            ),
            "tasks.topics.preprocess.format",
        ),
        (
            lambda raw: raw["tasks"]["topics"]["preprocess"].update(label_column=["a", "b"]),
            "tasks.topics.preprocess.label_column: only numbers have several, task.kind is labels",
        ),
        (
            lambda raw: raw["tasks"]["topics"]["source"].update(unlabelled="inbox/more.csv"),
            "tasks.topics.source.unlabelled is set, but only the main task uses such files: set it to null",
        ),
        (
            lambda raw: raw["tasks"]["stars"].update(source={"kind": "digits", "licence": "x"}),
            "tasks.stars.source.kind is digits, but preprocess.kind is text",
        ),
    ],
)
def test_what_several_tasks_do_not_have(tmp_path: Path, edit: Edit, problem: str) -> None:
    assert problem in problems(tmp_path, edit)


def test_texts_without_labels_of_the_main_task_do_not_concern_the_others(tmp_path: Path) -> None:
    raw = params.read_raw(RECIPES / "csv.yaml")
    with_tasks(raw)
    raw["source"]["unlabelled"] = "inbox/more.csv"
    assert params.checked(raw, Path("x")).tasks


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ("image-folder", "tasks is set, but preprocess.kind is images: several tasks read texts alone"),
        ("sequence-csv", "tasks is set, but a model for task.kind sequence has no other heads"),
    ],
)
def test_other_main_tasks(tmp_path: Path, recipe: str, problem: str) -> None:
    found = problems(tmp_path, lambda raw: None, recipe)
    assert problem in found
