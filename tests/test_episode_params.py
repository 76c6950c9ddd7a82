"""What params may ask of novel classes, of episodes on them and of training by episodes."""

from collections.abc import Callable
from typing import Any

import pytest

from baton import params
from tests.test_token_params import RECIPES, problems

RECIPE = "20newsgroups-minilm"
NOVEL = {"validation": ["comp.graphics", "comp.windows.x"], "test": ["misc.forsale", "alt.atheism"]}
EPISODES = {"way": 2, "shots": 5, "queries": 25, "count": 1000, "seed": 0}
STRATEGY = {
    "kind": "episodes",
    "method": {"kind": "prototypes", "queries": 5},
    "way": 5,
    "shots": 5,
    "batch_size": 1,
    "steps": 100,
    "learning_rate": 2e-5,
    "evaluations": 2,
}


def with_episodes(raw: dict[str, Any], **strategy: Any) -> None:
    raw["preprocess"]["novel"] = NOVEL
    raw["finetune"] |= {"episodes": EPISODES, "strategy": STRATEGY | strategy}


@pytest.mark.parametrize(
    "method", [STRATEGY["method"], {"kind": "reptile", "steps": 3, "learning_rate": 0.1}]
)
def test_novel_classes_with_either_method_are_valid(method: dict[str, Any]) -> None:
    raw = params.read_raw(RECIPES / f"{RECIPE}.yaml")
    with_episodes(raw, method=method)
    checked = params.checked(raw, params.PATH)
    assert checked.finetune.strategy.kind == "episodes"
    assert checked.preprocess.novel.splits == {key: tuple(labels) for key, labels in NOVEL.items()}


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (
            lambda raw: raw["preprocess"].update(novel={"validation": [], "test": ["a"]}),
            "preprocess.novel: test names only 'a'; an episode needs at least 2 classes",
        ),
        (
            lambda raw: raw["preprocess"].update(novel={"validation": ["a", "b"], "test": ["b", "c"]}),
            "'b' is named twice; a label is for validation or for test",
        ),
        (
            lambda raw: raw["preprocess"].update(novel={"validation": [], "test": []}),
            "preprocess.novel: names no label",
        ),
        (
            lambda raw: raw["preprocess"].update(time_column="date"),
            "preprocess.novel is set, but preprocess.time_column",
        ),
        (
            lambda raw: raw["preprocess"].update(novel=None),
            "finetune.episodes is set, but preprocess.novel is null",
        ),
        (
            lambda raw: raw["finetune"]["episodes"].update(way=3),
            "finetune.episodes.way is 3, but preprocess.novel.validation has 2 classes: lower way",
        ),
        (lambda raw: raw["runtime"].update(sharding="full"), "an episode needs the whole model"),
        (lambda raw: raw["finetune"]["strategy"].update(way=1), "finetune.strategy.way"),
        (
            lambda raw: raw["finetune"].update(
                augmentation={"delete": 0.1, "swap": 0.0, "mask": 0.0, "mixup": 0.2}
            ),
            "strategy episodes asks whether two samples have one class, and mixed ones have several",
        ),
        (
            lambda raw: raw["finetune"]["strategy"].update(
                method={"kind": "reptile", "steps": 1, "learning_rate": 0.1}
            ),
            "finetune.strategy.method.steps: input should be greater than",
        ),
        (
            lambda raw: raw["finetune"].update(
                head={"kind": "mlp", "pooling": "mean", "dropout": 0.0, "width": 8}
            ),
            "strategy episodes makes a linear head",
        ),
        (
            lambda raw: raw.update(task={"kind": "labels", "separator": ";"}),
            "preprocess.novel is set, but task.kind is labels: set it to null",
        ),
    ],
)
def test_what_does_not_go_with_episodes(
    tmp_path: Any, edit: Callable[[dict[str, Any]], object], problem: str
) -> None:
    assert problem in problems(tmp_path, RECIPE, lambda raw: (with_episodes(raw), edit(raw)))


def test_images_have_no_novel_classes(tmp_path: Any) -> None:
    found = problems(tmp_path, "fashion-mnist-vit", with_episodes)
    assert "preprocess.novel: unknown key" in found
    found = problems(tmp_path, "fashion-mnist-vit", lambda raw: raw["finetune"].update(strategy=STRATEGY))
    assert "finetune.strategy.kind is episodes, but preprocess.kind is images" in found
