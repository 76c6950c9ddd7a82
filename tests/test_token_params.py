"""What params may not ask for where words have tags, or only there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from baton import params
from baton.errors import ParamsError

RECIPES = Path(__file__).parent.parent / "recipes"


def problems(folder: Path, recipe: str, edit: Callable[[dict[str, Any]], object]) -> str:
    raw = params.read_raw(RECIPES / f"{recipe}.yaml")
    edit(raw)
    path = folder / "params.yaml"
    YAML(typ="safe", pure=True).dump(raw, path)
    with pytest.raises(ParamsError) as caught:
        params.read(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (
            lambda raw: raw["preprocess"].update(text_pair_column="b"),
            "preprocess.text_pair_column is b, but task.kind is tokens: set it to null",
        ),
        (
            lambda raw: raw["preprocess"].update(text_column=["title", "body"]),
            "preprocess.text_column: tags belong to one text, task.kind is tokens; name one",
        ),
        (
            lambda raw: raw["preprocess"].update(keep_columns=["tags"]),
            "keep_columns: tags is already a column",
        ),
        (
            lambda raw: raw["preprocess"]["checks"].update(small_class="train_only"),
            "small_class is train_only, but task.kind is tokens: set it to fail or keep or drop",
        ),
        (
            lambda raw: raw["finetune"].update(strategy={"kind": "probe"}),
            "finetune.strategy.kind is probe, but task.kind is tokens: set finetune.strategy.kind to",
        ),
        (
            lambda raw: raw["finetune"]["head"].update(pooling="pooler"),
            "head.pooling is pooler, but task.kind is tokens: set it to mean or cls",
        ),
        (
            lambda raw: raw["evaluate"]["baselines"].append(
                {"kind": "tfidf", "model": "svm", "min_df": 1, "max_ngram": 1, "stop_words": None, "C": [1]}
            ),
            "evaluate.baselines.2.kind is tfidf, but task.kind is tokens: remove it, or set",
        ),
        (lambda raw: raw["finetune"].update(metric="accuracy"), "set it to one of loss, entity_f1, macro_f1"),
        (lambda raw: raw["evaluate"]["baselines"][1].update(c1=[-1]), "evaluate.baselines.1"),
    ],
)
def test_what_words_do_not_have(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], problem: str
) -> None:
    assert problem in problems(tmp_path, "tokens-conll", edit)


def test_what_only_words_have(tmp_path: Path) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["preprocess"]["format"] = {"kind": "token_xml", "element": "a"}
        raw["evaluate"]["baselines"].append({"kind": "crf", "c1": [0.1], "c2": [0.1], "iterations": 9})

    found = problems(tmp_path, "csv", edit)
    assert (
        "preprocess.format.kind is token_xml, but task.kind is classes: set preprocess.format.kind to"
        in found
    )
    assert ".kind is crf, but task.kind is classes: remove it" in found
