"""Params of clips of sound: what is only for images is refused, as are spectrograms that cannot be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from baton import params
from baton.errors import ParamsError

ROOT = Path(__file__).parent.parent


def problems(path: Path) -> str:
    with pytest.raises(ParamsError) as caught:
        params.read(path)
    return str(caught.value)


def audio(tmp_path: Path, *edits: Callable[[dict[str, Any]], object]) -> Path:
    """Write the recipe of clips of sound with edits to a file."""
    raw = params.read_raw(ROOT / "recipes/audio-folder.yaml")
    for edit in edits:
        edit(raw)
    path = tmp_path / "params.yaml"
    YAML(typ="safe", pure=True).dump(raw, path)
    return path


def test_what_is_not_for_sound_is_refused(tmp_path: Path) -> None:
    message = problems(
        audio(
            tmp_path,
            lambda raw: raw["source"].update(content="images"),
            lambda raw: raw["finetune"]["augmentation"].update(flip=0.5, rotation=10.0),
            lambda raw: raw["evaluate"].update(robustness={"samples": 10, "severities": 1}),
            lambda raw: raw["evaluate"]["baselines"].append({"kind": "pixels", "side": 8, "C": [1.0]}),
        )
    )
    for part in (
        "source.content is images, preprocess.kind is audio",
        "finetune.augmentation.flip is 0.5, but preprocess.kind is audio: set it to 0.0",
        "finetune.augmentation.rotation is 10.0, but preprocess.kind is audio: set it to 0.0",
        "evaluate.robustness is set, but preprocess.kind is audio: set it to null",
        "evaluate.baselines.2.kind is pixels, but preprocess.kind is audio: remove it",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"hop": 401}, "hop (401) must not exceed window (400)"),
        ({"seconds": 0.02}, "seconds (0.02) must be at least one window of 400 samples"),
        ({"sample_rate": 1000}, "tokenize.audio.sample_rate"),
        ({"part": "tail"}, "tokenize.audio.part"),
        ({"parts": 0}, "tokenize.audio.parts"),
        ({"seconds": 601.0}, "tokenize.audio.seconds"),
        ({"bands": 513, "window": 2048}, "tokenize.audio.bands"),
        ({"window": 65_537}, "tokenize.audio.window"),
        ({"bands": 201}, "bands (201) must not exceed half of window (400)"),
        ({"seconds": 600.0, "hop": 10}, "would have 61,440,000 pixels, more than 4,194,304"),
    ],
)
def test_spectrograms_that_cannot_be_are_refused(changes: dict[str, Any], part: str, tmp_path: Path) -> None:
    message = problems(audio(tmp_path, lambda raw: raw["tokenize"].update(changes)))
    assert part.replace(".audio", "") in message.replace(".audio", "")


def test_masks_are_for_sound(tmp_path: Path) -> None:
    raw = params.read_raw(ROOT / "recipes/image-folder.yaml")
    raw["finetune"]["augmentation"]["masks"] = {"time": 1, "frames": 4, "frequency": 1, "bands": 4}
    path = tmp_path / "params.yaml"
    YAML(typ="safe", pure=True).dump(raw, path)
    assert "finetune.augmentation.masks is set, but preprocess.kind is images" in problems(path)
