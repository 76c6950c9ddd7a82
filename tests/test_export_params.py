"""What cannot be exported is refused with params, before hours of training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.errors import ParamsError
from tests.export.test_stage import SETTINGS

ROOT = Path(__file__).parent.parent
Edit = Callable[[dict[str, Any]], object]


def read(recipe: str, tmp_path: Path, *edits: Edit) -> params.Params:
    raw = params.read_raw(ROOT / recipe) | {"export": dict(SETTINGS)}
    for edit in edits:
        edit(raw)
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(raw))
    return params.read(path)


TEXT = "recipes/reuters-r8-minilm.yaml"
PROBLEMS: dict[str, tuple[str, Edit, str]] = {
    "texts": ("recipes/sequence-csv.yaml", lambda raw: None, "export: task.kind is sequence"),
    "bf16": (
        TEXT,
        lambda raw: raw["export"].update(precisions=["bf16"]),
        "export.precisions: onnxruntime does not compute bf16",
    ),
    "none": (
        TEXT,
        lambda raw: raw.update(export=None, promotion=raw["promotion"] | {"model": "export"}),
        "promotion.model is export, but export is null",
    ),
    "engine": (TEXT, lambda raw: raw["export"].update(engines=[]), "export.engines"),
    "same": (TEXT, lambda raw: raw["export"].update(same=1.5), "export.same"),
    "loss": (TEXT, lambda raw: raw["export"].update(loss=-0.1), "export.loss"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_cannot_be_exported_is_refused(name: str, tmp_path: Path) -> None:
    recipe, edit, said = PROBLEMS[name]
    with pytest.raises(ParamsError) as caught:
        read(recipe, tmp_path, edit)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "recipe",
    [
        TEXT,
        *(
            f"recipes/{name}.yaml"
            for name in ("digits-vit", "tokens-conll", "spans-squad", "audio-folder", "image-text-csv")
        ),
    ],
)
def test_what_can_is_not(recipe: str, tmp_path: Path) -> None:
    read(recipe, tmp_path, lambda raw: raw["promotion"].update(model="export"))
    both = {"engines": ["onnxruntime", "openvino"], "precisions": ["bf16"]}
    read(recipe, tmp_path, lambda raw: raw["export"].update(both))
