"""The description of a model's input: what is written is read back, and what is unknown is refused."""

import json
import re
from typing import Any

import pytest

from baton.contracts import input_spec
from baton.errors import DataError

IMAGES: dict[str, Any] = {
    "kind": "images",
    "size": [32, 48],
    "channels": 3,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "interpolation": "bicubic",
    "crop_fraction": 0.875,
    "crop_mode": "center",
}
TEXT: dict[str, Any] = {"kind": "text", "max_length": 256, "truncation": {"kind": "head"}, "pad": 1}
AUDIO: dict[str, Any] = {
    "kind": "audio",
    "sample_rate": 16_000,
    "seconds": 1.005,
    "part": "centre",
    "bands": 64,
    "window": 400,
    "hop": 160,
}
WRITTEN = [  # as earlier versions wrote them to meta.json
    *(
        TEXT | {"truncation": rule}
        for rule in (
            {"kind": "head"},
            {"kind": "tail"},
            {"kind": "head_tail", "head": 0.25},
            {"kind": "windows", "most": 8, "overlap": 0},
        )
    ),
    IMAGES,
    IMAGES | {"significant_bits": 12},
    {"kind": "image_text", "image": IMAGES, "text": TEXT},
    IMAGES | {"size": [8, 8], "channels": 1, "mean": [0.5], "std": [0.25], "crop_fraction": 1.0},
    AUDIO,
    AUDIO | {"parts": 4},
]


@pytest.mark.parametrize("raw", WRITTEN, ids=json.dumps)
def test_reading_and_writing_leaves_the_text(raw: dict[str, Any]) -> None:
    spec = input_spec.read(raw)
    assert json.dumps(input_spec.described(spec)) == json.dumps(raw), "the same keys, in the same order"
    assert input_spec.read(json.loads(json.dumps(input_spec.described(spec)))) == spec
    assert spec.kind == raw["kind"]
    hash(spec)  # no lists or dicts inside


def test_values_are_those_of_the_file() -> None:
    assert input_spec.read(TEXT) == input_spec.TextInput(max_length=256, truncation=input_spec.Head(), pad=1)
    assert input_spec.read(WRITTEN[3]) == input_spec.TextInput(256, input_spec.Windows(most=8, overlap=0), 1)
    rules: list[input_spec.Truncation] = [
        input_spec.Head(),
        input_spec.Tail(),
        input_spec.HeadTail(head=0.25),
        input_spec.Windows(most=8, overlap=0),
    ]
    assert [input_spec.truncation(raw["truncation"]) for raw in WRITTEN[:4]] == rules
    assert input_spec.read(IMAGES | {"significant_bits": 12}) == input_spec.ImageInput(
        size=(32, 48),
        channels=3,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bicubic",
        crop_fraction=0.875,
        crop_mode="center",
        significant_bits=12,
    )


def test_a_clip_is_read_as_a_grey_image_of_bands_and_frames() -> None:
    spec = input_spec.read(AUDIO)
    assert isinstance(spec, input_spec.AudioInput)
    assert (spec.samples, spec.frames) == (16_080, 100)
    assert spec.picture.size == (64, 100) and spec.picture.channels == 1


def test_sixteen_bits_are_not_written() -> None:
    assert input_spec.described(input_spec.read(IMAGES | {"significant_bits": 16})) == IMAGES


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (
            {"kind": "video"},
            ["arrays/meta.json: input has an unknown kind", "video", "text, images, audio or image_text"],
        ),
        ({"kind": "image_text", "image": TEXT, "text": TEXT}, ["input has unknown parts", "images and text"]),
        ({"kind": "image_text", "image": IMAGES}, ["input has an unknown layout"]),
        ({}, ["arrays/meta.json: input has an unknown kind", "none"]),
        (
            {"kind": "text", "max_length": 8, "pad": 0},
            ["input has an unknown layout", "kind, max_length, pad", "kind, max_length, pad, truncation"],
        ),
        (TEXT | {"stride": 4}, ["input has an unknown layout", "max_length, pad, stride, truncation"]),
        (TEXT | {"truncation": {"kind": "middle"}}, ["input.truncation has an unknown kind", "middle"]),
        (
            TEXT | {"truncation": {"kind": "windows", "most": 2}},
            ["input.truncation has an unknown layout", "kind, most", "kind, most, overlap"],
        ),
        (
            {name: value for name, value in IMAGES.items() if name != "crop_mode"},
            ["input has an unknown layout", "channels, crop_fraction, interpolation, kind"],
        ),
    ],
)
def test_what_is_unknown_is_refused(raw: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(DataError) as raised:
        input_spec.read(raw, "data/arrays/meta.json: input")
    for part in [*parts, "dvc repro"]:
        assert re.search(re.escape(part), str(raised.value))
