"""Tests of which part of an image a model sees, and at which resolution it is stored."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform
from timm.models import get_pretrained_cfg

from baton import params
from baton.arrays.image_input import describe
from baton.contracts.input_spec import ImageInput
from baton.errors import ModelError
from baton.images.framing import framing, recoloured
from tests.photos import INPUT, photo


def timms(pixels: NDArray[np.uint8], reads: ImageInput) -> NDArray[np.uint8]:
    """Return the image as timm's transform for evaluation passes it to a model."""
    transform = create_transform(
        input_size=(3, *reads.size),
        interpolation=reads.interpolation,
        crop_pct=reads.crop_fraction,
        crop_mode=reads.crop_mode,
        mean=reads.mean,
        normalize=False,
    )
    return transform(Image.fromarray(pixels)).permute(1, 2, 0).numpy()


def seen(pixels: NDArray[np.uint8], reads: ImageInput) -> NDArray[np.uint8]:
    """Return the part of the stored canvas that evaluation keeps."""
    frame = framing(reads)
    stored = frame.stored(pixels)
    assert stored.shape[:2] == frame.stored_shape(*pixels.shape[:2]) == frame.canvas
    (top, left), (height, width) = frame.margin, frame.size
    return stored[top : top + height, left : left + width]


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [[64, 64], [48, 64], [33, 33]])
@pytest.mark.parametrize("fraction", [1.0, 0.9, 0.875, 0.5])
def test_images_that_are_large_enough_equal_those_of_timm(
    mode: str, size: tuple[int, int], fraction: float
) -> None:
    reads = replace(INPUT, size=size, crop_fraction=fraction, crop_mode=mode)
    for height, width in [(200, 200), (201, 152), (151, 399), (300, 171), (163, 163)]:
        pixels = photo(height, width)
        assert np.array_equal(seen(pixels, reads), timms(pixels, reads))


def test_the_comparison_tells_neighbouring_settings_apart() -> None:
    pixels = photo(201, 152)
    reads = replace(INPUT, size=(33, 33), crop_fraction=0.9)
    for other in ({"crop_fraction": 0.875}, {"crop_mode": "squash"}, {"interpolation": "bilinear"}):
        assert not np.array_equal(seen(pixels, reads), timms(pixels, replace(reads, **other)))


@pytest.mark.parametrize(
    ("mode", "source", "stored"),
    [
        ("center", (20, 20), (20, 20)),
        ("center", (20, 50), (20, 20)),
        ("center", (50, 21), (21, 21)),
        ("center", (63, 640), (63, 63)),
        ("squash", (20, 50), (20, 50)),
        ("squash", (20, 500), (20, 64)),
        ("border", (20, 50), (50, 50)),
        ("border", (1, 63), (63, 63)),
    ],
)
def test_nothing_is_enlarged(mode: str, source: tuple[int, int], stored: tuple[int, int]) -> None:
    frame = framing(replace(INPUT, size=(64, 64), crop_mode=mode))
    pixels = photo(*source)
    assert frame.stored_shape(*source) == stored
    result = frame.stored(pixels)
    assert result.shape == (*stored, 3)
    if mode == "squash":
        assert frame.shrinks(*source) == (source[1] > 64)
        return
    assert not frame.shrinks(*source)
    height, width = min(source[0], stored[0]), min(source[1], stored[1])
    middle, whole = (
        array[(array.shape[0] - height) // 2 :][:height, (array.shape[1] - width) // 2 :][:, :width]
        for array in (result, pixels)
    )
    assert np.array_equal(middle, whole)  # exactly the pixels of the source
    if mode == "border":
        assert (result[0] == [128, 102, 76]).all()  # the mean colour
        assert (result[-1] == [128, 102, 76]).all()


@pytest.mark.parametrize("source", [(1, 1), (1, 900), (900, 1), (2, 3)])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [[8, 8], [8, 12]])
def test_odd_shapes_end_within_the_canvas(source: tuple[int, int], mode: str, size: tuple[int, int]) -> None:
    frame = framing(replace(INPUT, size=size, crop_mode=mode))
    stored = frame.stored(photo(*source))
    assert stored.shape[:2] == frame.stored_shape(*source)
    assert 1 <= stored.shape[0] <= frame.canvas[0]
    assert 1 <= stored.shape[1] <= frame.canvas[1]


def test_colours_become_grey_and_grey_three_channels() -> None:
    colours, grey = photo(5, 4), photo(5, 4, channels=1)
    assert np.array_equal(recoloured(colours, 1)[..., 0], np.asarray(Image.fromarray(colours).convert("L")))
    assert np.array_equal(recoloured(grey, 3), np.concatenate([grey] * 3, axis=2))
    assert recoloured(colours, 3) is colours
    frame = framing(replace(INPUT, size=(3, 3), channels=1, mean=(0.5,)))
    # Converted to grey before resizing.
    assert np.array_equal(frame.stored(colours), frame.stored(recoloured(colours, 1)))


SETTINGS: dict[str, Any] = {
    "kind": "images",
    "size": None,
    "crop_fraction": None,
    "channels": 3,
    "chunk_size": 4,
}


def reads(config: dict[str, Any], **changes: Any) -> ImageInput:
    return describe(config, params.ImageTokenize.model_validate(SETTINGS | changes))


def test_settings_default_to_the_data_config() -> None:
    config = {
        "architecture": "vit_base_patch16_224",
        "pretrained_cfg": get_pretrained_cfg("vit_base_patch16_224.augreg_in21k").to_dict(),
    }
    expected = ImageInput(
        size=(224, 224),
        channels=3,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        crop_fraction=0.9,
        crop_mode="center",
    )
    assert reads(config) == expected
    assert reads(config, size=32, crop_fraction=1.0) == replace(expected, size=(32, 32), crop_fraction=1.0)
    assert reads({"architecture": "a", **config["pretrained_cfg"]}) == expected  # an older format


def test_a_data_config_without_values_has_those_of_timm() -> None:
    from timm.data import resolve_data_config

    ours, theirs = (
        reads({"architecture": "a", "pretrained_cfg": {}}),
        resolve_data_config({}, pretrained_cfg={"url": ""}),
    )
    assert (3, *ours.size) == theirs["input_size"]
    assert (ours.crop_fraction, ours.crop_mode, ours.interpolation) == tuple(
        theirs[name] for name in ("crop_pct", "crop_mode", "interpolation")
    )
    assert (ours.mean, ours.std) == (theirs["mean"], theirs["std"])


def test_means_fit_the_channels() -> None:
    config = {"architecture": "a", "pretrained_cfg": {"mean": [0.1, 0.2, 0.6], "std": [0.2, 0.3, 0.4]}}
    grey = reads(config, channels=1)
    assert (grey.mean, grey.std) == (pytest.approx((0.3,)), pytest.approx((0.3,)))
    assert reads({"architecture": "a", "pretrained_cfg": {"mean": [0.1], "std": [0.2]}}).mean == (0.1,) * 3


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"model_type": "bert"}, "is not a timm config\n  got:      bert"),
        (
            {"architecture": "a", "pretrained_cfg": {"interpolation": "cubist"}},
            "an unknown interpolation\n  got:      cubist",
        ),
        (
            {"architecture": "a", "pretrained_cfg": {"crop_mode": "corner"}},
            "an unknown crop_mode",
        ),
    ],
)
def test_bases_that_cannot_be_used_are_named(config: dict[str, Any], part: str) -> None:
    with pytest.raises(ModelError) as raised:
        reads(config)
    assert part in str(raised.value)
