"""Plots of images: small and large, grey and coloured, few and many; pixels stay sharp."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baton import params
from baton.evaluate.report import image_plots
from baton.evaluate.report.image_galleries import Gallery, Mistake, Sheet
from baton.evaluate.robustness import Measured, Robustness

LONG = "a very long name of a class that does not fit $x_1$ 日本語"


def gallery(count: int, height: int, width: int, channels: int, strength: float = 1.0) -> Gallery:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    mistakes = [
        Mistake(f"{'folder/' * 12}{k}.png", (LONG, 0.004), ("dog", 0.996 - k / 100)) for k in range(count)
    ]
    attributions = (strength * generator.normal(size=(count, height, width))).astype(np.float32)
    return Gallery(mistakes, pixels, attributions, count, 500)


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        assert not {"Software", "Creation Time"} & set(picture.info)
        return picture.size


@pytest.mark.parametrize(
    ("count", "height", "width", "channels"), [(0, 8, 8, 1), (1, 8, 8, 1), (6, 20, 40, 3)]
)
def test_galleries_are_pictures_of_a_sensible_size(
    tmp_path: Path, count: int, height: int, width: int, channels: int
) -> None:
    image_plots.gallery(tmp_path / "g.png", "teacher", gallery(count, height, width, channels))
    across, down = size(tmp_path / "g.png")
    assert 700 < across < 1600
    assert down == pytest.approx({0: 70, 1: 340, 6: 590}[count], abs=30)


def test_a_gallery_shows_which_way_an_attribution_goes(tmp_path: Path) -> None:
    shown = gallery(1, 8, 8, 1)
    colours = {}
    for name, sign in (("for", 1), ("against", -1)):
        part = np.zeros((1, 8, 8), np.float32)
        part[0, 2:6, 2:6] = sign
        image_plots.gallery(
            tmp_path / f"{name}.png", "student", Gallery(shown.mistakes, shown.pixels * 0, part, 1, 500)
        )
        with Image.open(tmp_path / f"{name}.png") as picture:
            red, _, blue = np.asarray(picture.convert("RGB")).astype(int).transpose(2, 0, 1)
        colours[name] = ((red > blue + 60).sum(), (blue > red + 60).sum())
    for own, other in (colours["for"], colours["against"][::-1]):
        assert own > 3000
        assert other < 100


def test_attributions_of_nothing_can_be_drawn(tmp_path: Path) -> None:
    image_plots.gallery(tmp_path / "g.png", "teacher", gallery(2, 8, 8, 1, strength=0.0))
    assert size(tmp_path / "g.png")[1] > 200


def test_pixels_stay_sharp(tmp_path: Path) -> None:
    """A chequered image of 8x8 pixels is black and white; smoothed, most of it would be grey."""
    chequered = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image_plots.sheet(tmp_path / "s.png", Sheet(["a", LONG], np.tile(chequered[..., None], (2, 4, 1, 1, 1))))
    with Image.open(tmp_path / "s.png") as picture:
        values = np.asarray(picture.convert("L"))
    inner = values[90:-20, 200:-20]
    assert (inner < 5).mean() > 0.3
    assert ((inner > 40) & (inner < 160)).mean() < 0.02


@pytest.mark.parametrize(("severities", "side", "channels"), [(1, 8, 1), (5, 60, 3)])
def test_robustness_is_a_picture_of_a_sensible_size(
    tmp_path: Path, severities: int, side: int, channels: int
) -> None:
    generator = np.random.default_rng(0)
    kinds = ("gaussian_noise", "gaussian_blur", "brightness")
    hits = {
        kind: {
            model: generator.random((1 + severities, 50)) < 0.8 for model in ("teacher", "student", "control")
        }
        for kind in kinds
    }
    examples = {
        kind: generator.integers(0, 256, (1 + severities, side, side, channels), dtype=np.uint8)
        for kind in kinds
    }
    measured = Measured({kind: [0.1] * severities for kind in kinds}, hits, examples)
    image_plots.robustness(
        tmp_path / "r.png", Robustness(measured, params.Bootstrap(resamples=50, confidence=0.95, seed=0))
    )
    across, down = size(tmp_path / "r.png")
    assert (across, down) == pytest.approx((1450, 550), abs=60)
    with Image.open(tmp_path / "r.png") as picture:
        strip = np.asarray(picture.convert("L"))[-120:]
    assert 0.1 < (strip < 128).mean() < 0.6  # the images under the panels are drawn, and not cut off
    assert (strip[-3:] == 255).all()
