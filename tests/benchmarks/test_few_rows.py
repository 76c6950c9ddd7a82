"""The few-rows benchmark: each draw's params, and the words for its result."""

import json
from pathlib import Path

import pytest

from baton import params
from benchmarks import few_rows


@pytest.mark.parametrize("name", few_rows.RECIPES)
def test_each_draw_is_a_valid_recipe_of_its_own(tmp_path: Path, name: str) -> None:
    made = few_rows.edited(name, 3, 100, 1000)
    (tmp_path / "params.yaml").write_text(json.dumps(made))
    read = params.read(tmp_path / "params.yaml")
    assert read.finetune.seeds == read.distill.seeds == (3,)
    assert (
        read.finetune.strategy.kind == "auto"
        and read.preprocess.limit.train == 100
        and read.preprocess.seed == 3
    )


def test_worse_beyond_noise_is_said() -> None:
    figures = {
        "test": {"strongest_baseline": "tfidf_svm"},
        "recommended": {"model": "teacher"},
        "teacher": {"accuracy": 0.8},
        "tfidf_svm": {"accuracy": 0.9},
        "comparison": {
            "teacher_vs_tfidf_svm": {
                "accuracy_difference": -0.1,
                "accuracy_difference_interval": [-0.12, -0.08],
            }
        },
    }
    assert few_rows.result(figures) == [
        "teacher",
        "80.0",
        "tfidf_svm",
        "90.0",
        "-10.0 (-12.0 to -8.0), worse",
    ]
    figures["recommended"] = {"model": "tfidf_svm"}
    assert few_rows.result(figures)[-1] == "the same model"
