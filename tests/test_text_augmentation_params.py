"""`augmentation` of texts: told from that of images by its keys, and refused where it has no meaning."""

import copy
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.errors import ParamsError

RECIPES = Path(__file__).parent.parent / "recipes"
TEXTS = {"delete": 0.1, "swap": 0.1, "mask": 0.05, "mixup": 0.2}
IMAGES = {
    "crop": None,
    "flip": 0.5,
    "rotation": 0.0,
    "colour": None,
    "randaugment": None,
    "erasing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}


def read(recipe: str, section: str = "finetune", teacher: str = "live", **own: Any) -> params.Params:
    """Return a recipe with an augmentation of these keys in a section."""
    raw = copy.deepcopy(params.read_raw(RECIPES / f"{recipe}.yaml"))
    raw[section]["augmentation"] = own
    if section == "distill":
        raw[section]["teacher"] = teacher
    return params.checked(raw, params.PATH)


@pytest.mark.parametrize("recipe", ["csv", "labels-csv", "numbers-csv"])
@pytest.mark.parametrize("section", ["finetune", "distill"])
def test_texts_with_one_answer_each_may_be_varied(recipe: str, section: str) -> None:
    found = getattr(read(recipe, section, **TEXTS), section)
    assert found.augmentation == params.TextAugmentation.model_validate(TEXTS)
    assert found.model_dump(mode="json")["augmentation"] == TEXTS, "as trackers and checkpoints record it"


@pytest.mark.parametrize("recipe", ["digits-vit", "image-text-csv", "audio-folder"])
def test_sections_of_images_are_what_they_were(recipe: str) -> None:
    raw = params.read_raw(RECIPES / f"{recipe}.yaml")
    found = params.checked(raw, params.PATH).finetune.augmentation
    assert isinstance(found, params.Augmentation) and found.flip == raw["finetune"]["augmentation"]["flip"]


@pytest.mark.parametrize(
    ("recipe", "own", "line"),
    [
        ("csv", TEXTS | {"mask": 1.0}, "finetune.augmentation.mask: input should be less than 1; got 1.0"),
        ("csv", TEXTS | {"delete": 1.0}, "finetune.augmentation.delete: input should be less than 1; got"),
        ("csv", TEXTS | {"swap": -0.1}, "finetune.augmentation.swap: input should be greater than or equal"),
        ("csv", TEXTS | {"mixup": "0.2"}, "finetune.augmentation.mixup: input should be a valid number"),
        (
            "csv",
            {**TEXTS, "delte": 0.1},
            "finetune.augmentation.delte: unknown key; did you mean `delete`?",
        ),
        ("csv", {"mixup": 0.1}, "finetune.augmentation.delete: missing\n  - finetune.augmentation.mask: mis"),
        ("digits-vit", {"flip": 0.5}, "finetune.augmentation.colour: missing"),
        (
            "csv",
            IMAGES,
            (
                "1 problem\n  - finetune.augmentation has the keys for images, but preprocess.kind is text: "
                "set it to null or {delete: 0.1, swap: 0.1, mask: 0.0, mixup: 0.0}\n"
            ),
        ),
        (
            "digits-vit",
            TEXTS,
            (
                "1 problem\n  - finetune.augmentation has the keys for texts, but preprocess.kind is images: "
                "set it to null or the section for images, as in recipes/digits-vit.yaml\n"
            ),
        ),
        (
            "image-text-csv",
            TEXTS,
            "finetune.augmentation has the keys for texts, but preprocess.kind is image_text",
        ),
        ("audio-folder", TEXTS, "has the keys for texts, but preprocess.kind is audio"),
        (
            "tokens-conll",
            TEXTS,
            "1 problem\n  - finetune.augmentation is set, but task.kind is tokens: set it to null\n",
        ),
        ("spans-squad", TEXTS, "finetune.augmentation is set, but task.kind is spans: set it to null"),
        ("sequence-csv", TEXTS, "finetune.augmentation is set, but task.kind is sequence: set it to null"),
        ("sequence-csv", IMAGES, "finetune.augmentation is set, but task.kind is sequence: set it to null"),
    ],
)
def test_what_is_wrong_is_named(recipe: str, own: dict[str, Any], line: str) -> None:
    with pytest.raises(ParamsError) as caught:
        read(recipe, **own)
    assert line in str(caught.value)


def test_a_cached_teacher_did_not_see_the_varied_texts() -> None:
    with pytest.raises(ParamsError, match="the teacher's cached logits are of samples without augmentation"):
        read("csv", "distill", "cached", **TEXTS)


def test_mixed_samples_have_no_class_by_which_to_pair_them() -> None:
    raw = copy.deepcopy(params.read_raw(RECIPES / "csv.yaml"))
    raw["finetune"]["strategy"] = {"kind": "pairs", "steps": 10, "learning_rate": 1e-4}
    raw["finetune"]["augmentation"] = TEXTS | {"mixup": 0.0}
    assert params.checked(raw, params.PATH).finetune.augmentation
    raw["finetune"]["augmentation"] = TEXTS
    with pytest.raises(
        ParamsError, match=r"finetune: strategy pairs asks whether two samples have one class"
    ):
        params.checked(raw, params.PATH)
