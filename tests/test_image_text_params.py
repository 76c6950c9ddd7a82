"""Params of images with texts: what fits together, and each thing that does not is named with its path."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from baton import params
from baton.errors import ParamsError
from baton.evaluate import baselines

RECIPE = Path(__file__).parent.parent / "recipes/image-text-csv.yaml"
Raw = dict[str, Any]


def read(tmp_path: Path, edit: Callable[[Raw], object], recipe: Path = RECIPE) -> params.Params:
    raw = params.read_raw(recipe)
    edit(raw)
    YAML(typ="safe", pure=True).dump(raw, tmp_path / "params.yaml")
    return params.read(tmp_path / "params.yaml")


def with_encoder(raw: Raw, encoder: str | None) -> None:
    raw["base"]["image"] = {
        "kind": "timm",
        "architecture": "resnet10t",
        "arguments": {},
        "weights": None,
        "licence": "none",
    }
    baselines = raw["evaluate"]["baselines"]
    raw["evaluate"]["baselines"] = [one for one in baselines if one["kind"] != "features"]
    probe = {"kind": "features", "model": "linear", "neighbours": 20, "encoder": encoder, "C": [1.0]}
    raw["evaluate"]["baselines"].append(probe)


def test_probes_of_one_encoder_have_its_name() -> None:
    wanted = params.read(RECIPE).evaluate.baselines
    names = ["majority", "tfidf_logistic", "pixels_logistic"]
    names += ["features_linear_image", "features_linear_text", "features_linear"]
    assert baselines.names(wanted) == names
    assert baselines.names([*wanted, wanted[-1], wanted[-2]])[-2:] == [
        "features_linear_2",
        "features_linear_text_2",
    ]


def test_a_drawn_encoder_has_features_only_of_the_other(tmp_path: Path) -> None:
    read(tmp_path, lambda raw: with_encoder(raw, "text"))
    for encoder in ("image", None):
        with pytest.raises(ParamsError, match=r"features\) needs a pretrained base model"):
            read(tmp_path, lambda raw, encoder=encoder: with_encoder(raw, encoder))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda raw: raw.update(base=raw["base"]["text"]), "base.kind is wheel"),
        (
            lambda raw: raw["distill"].update(student=raw["distill"]["student"]["text"]),
            "distill.student.kind is",
        ),
        (
            lambda raw: raw["source"].update(text_column=None),
            "source.text_column: missing, since preprocess.kind is image_text; add `text_column: COLUMN`",
        ),
        (
            lambda raw: raw["finetune"]["augmentation"].update(mixup=0.2),
            "finetune.augmentation.mixup is 0.2, but preprocess.kind is image_text",
        ),
        (
            lambda raw: raw["distill"]["augmentation"].update(cutmix=1.0),
            "distill.augmentation.cutmix is 1.0, but preprocess.kind is image_text",
        ),
        (
            lambda raw: raw["evaluate"].update(robustness={"samples": 9, "severities": 1}),
            "evaluate.robustness",
        ),
        (
            lambda raw: raw["runtime"].update(packing=True),
            "runtime.packing is true, but preprocess.kind is image_text: set it to auto or false",
        ),
        (
            lambda raw: raw["finetune"].update(batch_size=None, tokens=4096),
            "finetune.tokens is 4096, but preprocess.kind is image_text: set it to null",
        ),
        (lambda raw: raw["tokenize"]["image"].update(size=100_000), "tokenize.image.size"),
        (lambda raw: raw["finetune"].update(frozen=["sound"]), "finetune.frozen"),
        (lambda raw: raw["finetune"].update(frozen=["text", "image", "text"]), "text is named twice"),
        (
            lambda raw: (with_encoder(raw, "text"), raw["finetune"].update(frozen=["image"])),
            "finetune.frozen: the image encoder starts from random weights",
        ),
        (
            lambda raw: (
                raw["distill"]["student"].update(
                    image={"kind": "timm", "architecture": "resnet10t", "arguments": {}}
                ),
                raw["distill"].update(frozen=["image"]),
            ),
            "distill.frozen: the image encoder starts from random weights",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, edit: Callable[[Raw], object], said: str) -> None:
    with pytest.raises(ParamsError) as raised:
        read(tmp_path, edit)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            lambda raw: raw["finetune"].update(frozen=["image"]),
            "finetune.frozen is [image], but preprocess.kind is images: set it to []",
        ),
        (
            lambda raw: raw["source"].update(text={"suffix": ".txt", "mark": ""}),
            "source.text is set, but preprocess.kind is images: set it to null",
        ),
    ],
)
def test_what_only_two_encoders_have_is_refused_elsewhere(
    tmp_path: Path, edit: Callable[[Raw], object], said: str
) -> None:
    with pytest.raises(ParamsError) as raised:
        read(tmp_path, edit, RECIPE.with_name("image-folder.yaml"))
    assert said in str(raised.value)
