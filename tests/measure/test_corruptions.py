"""Corrupted images: stronger with severity, reproducible, independent of each other; and a model's hits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from baton import predict
from baton.batches import array_splits
from baton.measure import corruptions
from baton.models import model_folder
from tests import tiny, tiny_images
from tests.evaluate.images import HEAD, digits

PLACES = np.arange(6)


def grey() -> torch.Tensor:
    return torch.from_numpy(digits(6))


def photo(size: int = 24) -> torch.Tensor:
    """Return colour images (2, 3, size, size), as smooth as photographs."""
    y, x = torch.meshgrid(torch.linspace(0, 3, size), torch.linspace(0, 3, size), indexing="ij")
    waves = [torch.sin(x * (k + 1)) * torch.cos(y * (3 - k)) for k in range(3)]
    return ((torch.stack([torch.stack(waves), torch.stack(waves[::-1])]) + 1) * 110).round().to(torch.uint8)


@pytest.mark.parametrize("kind", list(corruptions.STRENGTHS))
@pytest.mark.parametrize("pixels", [grey(), photo()], ids=["grey", "colour"])
def test_each_severity_is_further_away(kind: str, pixels: torch.Tensor) -> None:
    before = pixels.clone()
    distances = []
    for strength in corruptions.STRENGTHS[kind]:
        changed = corruptions.corrupt(pixels, kind, strength, PLACES[: len(pixels)])
        assert changed.dtype == torch.uint8
        assert changed.shape == pixels.shape
        distances.append((changed.float() - pixels.float()).square().mean().item())
    assert distances == sorted(distances)
    assert distances[-1] > 1.5 * distances[1] > 0
    assert torch.equal(pixels, before)
    assert torch.equal(corruptions.corrupt(pixels, kind, 0.0, PLACES), pixels)


@pytest.mark.parametrize("kind", list(corruptions.STRENGTHS))
def test_a_picture_depends_on_itself_and_its_place_alone(kind: str) -> None:
    pixels, strength = grey(), corruptions.STRENGTHS[kind][2]
    together = corruptions.corrupt(pixels, kind, strength, PLACES)
    for place in range(6):
        assert torch.equal(
            corruptions.corrupt(pixels[place : place + 1], kind, strength, PLACES[place : place + 1])[0],
            together[place],
        )


def test_noise_has_its_deviation_and_is_drawn_by_place() -> None:
    flat = torch.full((3, 1, 64, 64), 128, dtype=torch.uint8)
    noisy = corruptions.corrupt(flat, "gaussian_noise", 0.08, np.array([0, 1, 0])).float()
    assert noisy.std().item() == pytest.approx(0.08 * 255, rel=0.03)
    assert noisy.mean().item() == pytest.approx(128, abs=0.5)
    assert torch.equal(noisy[0], noisy[2])
    assert np.corrcoef(noisy[0].flatten(), noisy[1].flatten())[0, 1] == pytest.approx(0, abs=0.06)


def test_blur_is_gaussian_and_shrinks_with_the_picture() -> None:
    pixels = photo(56)
    got = corruptions.corrupt(pixels, "gaussian_blur", 4.0, PLACES[:2]).numpy()
    # The deviation is 4 * sqrt(56 / 224) = 2.
    expected = gaussian_filter(pixels.numpy().astype(float), (0, 0, 2, 2), mode="mirror", truncate=3)
    assert np.abs(got - expected).max() <= 1


def test_brightness_raises_the_value_and_leaves_hue_and_saturation() -> None:
    pixels = torch.tensor([[100, 50, 0], [0, 0, 0], [250, 125, 250]], dtype=torch.uint8).reshape(3, 3, 1, 1)
    got = corruptions.corrupt(pixels, "brightness", 0.2, PLACES[:3]).reshape(3, 3)
    assert got.tolist() == [[151, 76, 0], [51, 51, 51], [255, 128, 255]]


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_smallest_pictures_too(side: int) -> None:
    pixels = torch.full((2, 3, side, side + 2), 7, dtype=torch.uint8)
    for kind, strengths in corruptions.STRENGTHS.items():
        assert corruptions.corrupt(pixels, kind, strengths[-1], PLACES[:2]).shape == pixels.shape


def test_an_unknown_kind_is_no_corruption() -> None:
    with pytest.raises(ValueError, match="snow"):
        corruptions.corrupt(grey(), "snow", 1.0, PLACES)


def test_the_same_rows_are_drawn_each_time() -> None:
    drawn = corruptions.draw(1000, 50)
    assert drawn.tolist() == corruptions.draw(1000, 50).tolist()
    assert len(set(drawn.tolist())) == 50
    assert drawn.tolist() == sorted(drawn.tolist()) != list(range(50))
    assert corruptions.draw(30, 50).tolist() == list(range(30))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("digits")
    tiny.write_image_base(made / "base")
    tiny_images.write_arrays(made, {"train": 8, "val": 8, "test": 30})
    return made


def test_hits_are_those_of_the_changed_pictures(folder: Path) -> None:
    split = array_splits.open_splits(folder / "arrays")["test"]
    model = model_folder.create(
        folder / "base", HEAD, 10, tiny.training(), "matmul", tiny.image_input()
    ).eval()
    places = np.array([3, 4, 9, 20, 29])
    strengths = {kind: values[:2] for kind, values in corruptions.STRENGTHS.items()}
    found = corruptions.hits(
        lambda own: predict.predict(model, own, tiny.machine(), 2), split, places, strengths
    )
    with torch.no_grad():
        for kind, levels in strengths.items():
            for row, strength in enumerate((0.0, *levels)):
                changed = corruptions.corrupt(split.batch(places).pixels, kind, strength, places)
                expected = model(changed).argmax(1).numpy() == split.targets.take(places)
                assert found[kind][row].tolist() == expected.tolist()


def test_examples_show_one_picture_at_every_severity(folder: Path) -> None:
    split = array_splits.open_splits(folder / "arrays")["test"]
    shown = corruptions.examples(split, 7, {"brightness": (0.1, 0.4)})["brightness"]
    assert shown.shape == (3, 8, 8, 1)
    assert np.array_equal(shown[0], split.arrays.image(7))
    assert shown[0].mean() < shown[1].mean() < shown[2].mean()
