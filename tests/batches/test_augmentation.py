"""Augmentation in training: each operation alone, and independence of the other images in a batch."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional

from baton import params
from baton.batches.augmentation import mixing, pipeline, randaugment
from baton.batches.augmentation import operations as on
from baton.batches.augmentation.random_streams import Generators, keys
from baton.images import enlarging
from tests.photos import photo

OFF: dict[str, Any] = {
    "crop": None,
    "flip": 0.0,
    "rotation": 0.0,
    "colour": None,
    "randaugment": None,
    "erasing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}
JITTER = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
KEYS = keys(f"train:{number}" for number in range(200))


def settings(**changes: Any) -> params.Augmentation:
    return params.Augmentation.model_validate(OFF | changes, strict=False)


def photos(count: int, height: int = 13, width: int = 11, channels: int = 3) -> torch.Tensor:
    """Return (count, channels, height, width); no image has a size that is a multiple of the vector width."""
    stacked = np.stack([photo(height, width, channels, seed=index) for index in range(count)])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)


# ---- numbers ----


def test_a_sample_s_numbers_are_its_own() -> None:
    drawn = Generators(3, 5, 0).uniform(KEYS, 40)
    assert np.array_equal(Generators(3, 5, 0).uniform(KEYS[::-1], 40), drawn[::-1])
    assert np.array_equal(Generators(3, 5, 0).uniform(KEYS[7:8], 10)[0], drawn[7, :10])
    for other in (Generators(4, 5, 0), Generators(3, 6, 0), Generators(3, 5, 1)):
        assert not np.isclose(other.uniform(KEYS, 40), drawn).any(axis=0).all()
        assert np.isclose(other.uniform(KEYS, 40), drawn).mean() < 0.01
    assert len(np.unique(drawn)) == drawn.size


def test_a_sample_s_numbers_are_those_of_numpy_s_philox() -> None:
    key, counter = np.array([KEYS[3], 9], np.uint64), np.array([0, 2, 1, 0], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=counter)).random(50)
    assert np.array_equal(Generators(9, 2, 1).uniform(KEYS[3:4], 50)[0], expected)


def test_numbers_are_spread_evenly() -> None:
    drawn = Generators(0, 0, 0).uniform(keys(map(str, range(4000))), 4)
    counts = np.stack([np.histogram(column, bins=20, range=(0, 1))[0] for column in drawn.T])
    assert (np.abs(counts - 200) < 5 * np.sqrt(200)).all()
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.08


def test_keys_are_the_beginnings_of_the_ids_digests() -> None:
    assert int(KEYS[7]) == int.from_bytes(hashlib.sha256(b"train:7").digest()[:8], "little")
    assert len(set(KEYS.tolist())) == len(KEYS)


# ---- operations on pixels, compared with torchvision's ----

Enhance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
ENHANCEMENTS: dict[str, tuple[Enhance, Callable[[torch.Tensor, float], torch.Tensor]]] = {
    "brightness": (on.brightened, functional.adjust_brightness),
    "contrast": (on.contrasted, functional.adjust_contrast),
    "saturation": (on.saturated, functional.adjust_saturation),
    "sharpness": (on.sharpened, functional.adjust_sharpness),
    "hue": (
        lambda pixels, factors: on.turned_hue(pixels, factors - 1),
        lambda pixels, factor: functional.adjust_hue(pixels, factor - 1),
    ),
}


def furthest(first: torch.Tensor, second: torch.Tensor) -> int:
    return int((first.int() - second.int()).abs().max())


@pytest.mark.parametrize("name", ENHANCEMENTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_picture_has_a_strength_of_its_own(name: str, channels: int) -> None:
    ours, theirs = ENHANCEMENTS[name]
    pixels, factors = photos(6, channels=channels), torch.tensor([0.5, 0.8, 1.0, 1.2, 1.49, 0.7])
    result = ours(pixels, factors)
    assert (result.dtype, result.shape) == (torch.uint8, pixels.shape)
    reference = torch.stack(
        [theirs(picture, float(factor)) for picture, factor in zip(pixels, factors, strict=True)]
    )
    assert furthest(result, reference) <= 2  # torchvision truncates fractions and rounds the mean
    assert torch.equal(result[2], pixels[2])
    unchanged = channels == 1 and name in {"saturation", "hue"}
    assert torch.equal(result, pixels) == unchanged
    if not unchanged:
        assert furthest(result, torch.stack([theirs(picture, 1.1) for picture in pixels])) > 2


def test_grey_is_pillow_s() -> None:
    from PIL import Image

    pixels = photos(1)
    expected = np.asarray(Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).convert("L"))
    assert np.array_equal(on.grey(pixels)[0, 0].numpy(), expected)


def test_sharpening_leaves_what_is_too_small() -> None:
    pixels = photos(2, 2, 9)
    assert torch.equal(on.sharpened(pixels, torch.tensor([0.1, 1.9])), pixels)


@pytest.mark.parametrize("shape", [(28, 28), (13, 22)])
def test_pictures_turn_as_torchvision_turns_them(shape: tuple[int, int]) -> None:
    pixels, degrees = photos(4, *shape), np.array([-30.0, 0.0, 12.5, 90.0])
    turned = on.warped(pixels, randaugment.rotations(degrees))
    for picture, angle, result in zip(pixels, degrees, turned, strict=True):
        expected = functional.rotate(
            picture, float(angle), interpolation=functional.InterpolationMode.BILINEAR
        )
        assert furthest(result, expected) <= 1
    assert torch.equal(turned[1], pixels[1])
    assert not torch.equal(turned[2], pixels[2])


def theirs(index: int, picture: torch.Tensor, sign: float, strength: float) -> torch.Tensor:
    """Apply torchvision's operation as its RandAugment does, except that shears keep the centre fixed."""
    bilinear = functional.InterpolationMode.BILINEAR
    height, width = picture.shape[-2:]

    def affine(translate: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
        return functional.affine(picture, 0.0, list(translate), 1.0, list(shear), interpolation=bilinear)

    shear = float(np.degrees(np.arctan(0.3 * strength * sign)))
    move, factor = 150 / 331 * strength * sign, 1 + 0.9 * strength * sign
    operations: list[Callable[[], torch.Tensor]] = [
        lambda: picture,
        lambda: affine(shear=(shear, 0.0)),
        lambda: affine(shear=(0.0, shear)),
        lambda: affine(translate=(int(move * width), 0)),
        lambda: affine(translate=(0, int(move * height))),
        lambda: functional.rotate(picture, 30 * strength * sign, interpolation=bilinear),
        lambda: functional.adjust_brightness(picture, factor),
        lambda: functional.adjust_saturation(picture, factor),
        lambda: functional.adjust_contrast(picture, factor),
        lambda: functional.adjust_sharpness(picture, factor),
        lambda: functional.posterize(picture, 8 - round(4 * strength)),
        lambda: functional.solarize(picture, 255 * (1 - strength)),
        lambda: functional.autocontrast(picture),
        lambda: functional.equalize(picture),
    ]
    return operations[index]()


@pytest.mark.parametrize("index", range(len(randaugment.OPERATIONS)))
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_randaugment_s_operations_are_torchvision_s(index: int, sign: float) -> None:
    pixels, signs = photos(3, 21, 30), np.full(3, sign, dtype=np.float32)
    for strength in (0.3, 1.0):
        result = randaugment.OPERATIONS[index](pixels, signs, strength)
        assert (result.dtype, result.shape) == (torch.uint8, pixels.shape)
        expected = [
            torch.stack([theirs(index, picture, way * sign, strength) for picture in pixels])
            for way in (1, -1)
        ]
        # Shears have the opposite direction of torchvision's; the direction is drawn.
        assert min(furthest(result, reference) for reference in expected) <= 2
        assert torch.equal(result, pixels) == (index == 0)


# ---- independence of the batch ----


def depends_on_the_batch(
    operation: Callable[[torch.Tensor, NDArray[np.float64]], torch.Tensor], pixels: torch.Tensor
) -> bool:
    """Return whether an image's bits change with the rest of the batch.

    That is, with the other images, their number, their order, the memory layout or the number of threads.
    """
    strengths = np.linspace(0.05, 0.95, len(pixels))
    threads = torch.get_num_threads()
    whole = operation(pixels.clone(), strengths)
    alone = torch.cat(
        [operation(pixels[row : row + 1].clone(), strengths[row : row + 1]) for row in range(len(pixels))]
    )
    order = np.random.default_rng(0).permutation(len(pixels))
    shuffled = operation(pixels[order].contiguous(), strengths[order])
    try:
        torch.set_num_threads(3 - min(threads, 2))  # switch between 1 and 2
        other = operation(pixels.clone(), strengths)
    finally:
        torch.set_num_threads(threads)
    return not all(
        torch.equal(result, expected)
        for result, expected in ((alone, whole), (shuffled, whole[order]), (other, whole))
    )


def operations() -> dict[str, Callable[[torch.Tensor, NDArray[np.float64]], torch.Tensor]]:
    found: dict[str, Callable[[torch.Tensor, NDArray[np.float64]], torch.Tensor]] = {
        name: lambda pixels, strengths, ours=ours: ours(pixels, torch.from_numpy(strengths + 0.5).float())
        for name, (ours, _) in ENHANCEMENTS.items()
    }
    found["turn"] = lambda pixels, strengths: on.warped(pixels, randaugment.rotations(40 * strengths - 20))
    for index, operation in enumerate(randaugment.OPERATIONS):
        found[f"randaugment {index}"] = lambda pixels, strengths, operation=operation: operation(
            pixels, np.where(strengths < 0.5, -1, 1).astype(np.float32), 0.7
        )
    for interpolation in enlarging.MODES:
        found[f"enlarge {interpolation}"] = lambda pixels, strengths, name=interpolation: enlarging.resized(
            pixels.float(), (31, 45), name
        )
    return found


@pytest.mark.parametrize("name", operations())
@pytest.mark.parametrize("shape", [(13, 11, 3), (7, 9, 1)])
def test_no_operation_depends_on_the_batch(name: str, shape: tuple[int, int, int]) -> None:
    assert not depends_on_the_batch(operations()[name], photos(9, *shape))


@pytest.mark.parametrize("name", ["contrast", "saturation", "sharpness", "hue", "turn"])
def test_nor_with_pictures_that_are_shared_by_threads(name: str) -> None:
    assert not depends_on_the_batch(operations()[name], photos(2, 301, 301))


def test_an_operation_that_depends_on_the_batch_is_found_out() -> None:
    def about_their_mean(pixels: torch.Tensor, strengths: NDArray[np.float64]) -> torch.Tensor:
        return on.blended(pixels, pixels.float().mean(), torch.from_numpy(strengths).float())

    assert depends_on_the_batch(about_their_mean, photos(9))


# ---- operations of params ----


def varied(pixels: torch.Tensor, epoch: int = 0, **changes: Any) -> torch.Tensor:
    chosen = settings(**changes)
    return pipeline.vary(pixels.clone(), chosen, pipeline.draw(KEYS[: len(pixels)], 0, epoch, chosen), 128)


VARIATIONS: dict[str, dict[str, Any]] = {
    "flip": {"flip": 0.5},
    "rotation": {"rotation": 20.0},
    "brightness": {"colour": JITTER | {"brightness": 0.5}},
    "contrast": {"colour": JITTER | {"contrast": 0.5}},
    "saturation": {"colour": JITTER | {"saturation": 0.5}},
    "hue": {"colour": JITTER | {"hue": 0.3}},
    "randaugment": {"randaugment": {"operations": 2, "magnitude": 15}},
    "erasing": {"erasing": 0.5},
}


@pytest.mark.parametrize("name", VARIATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_variation_does_something_and_keeps_the_form(name: str, channels: int) -> None:
    pixels = photos(40, 12, 17, channels)
    result = varied(pixels, **VARIATIONS[name])
    assert (result.dtype, result.shape) == (torch.uint8, pixels.shape)
    changed = (result != pixels).flatten(1).any(1).float().mean()
    if channels == 1 and name in {"saturation", "hue"}:
        assert changed == 0
    else:
        assert changed > 0.3
        assert not torch.equal(varied(pixels, epoch=1, **VARIATIONS[name]), result)
    assert torch.equal(varied(pixels, **VARIATIONS[name]), result)
    assert torch.equal(varied(pixels), pixels)


def test_pictures_in_groups_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, chosen = photos(40), {"flip": 0.5, "rotation": 9.0, "erasing": 0.5, **VARIATIONS["randaugment"]}
    whole = varied(pixels, **chosen)
    monkeypatch.setattr(pipeline, "AT_ONCE", 7 * pixels[0].numel())
    assert torch.equal(varied(pixels, **chosen), whole)


def test_a_flip_mirrors_left_and_right() -> None:
    pixels = photos(200)
    result = varied(pixels, flip=0.25)
    mirrored = (result == pixels.flip(-1)).flatten(1).all(1)
    assert ((result == pixels).flatten(1).all(1) ^ mirrored).all()
    assert 30 <= int(mirrored.sum()) <= 70
    assert torch.equal(varied(pixels, flip=1.0), pixels.flip(-1))


def test_what_is_switched_on_leaves_the_others() -> None:
    pixels = photos(60)
    flipped = varied(pixels, flip=0.5)
    both = varied(pixels, flip=0.5, erasing=0.3)
    kept = (both == flipped).flatten(1).all(1)
    assert 0.5 < kept.float().mean() < 0.9
    first, more = (settings(randaugment={"operations": count, "magnitude": 9}) for count in (1, 3))
    drawn = [pipeline.draw(KEYS, 0, 0, chosen).randaugment for chosen in (first, more)]
    assert np.array_equal(drawn[0], drawn[1][:, :2])


def test_an_erased_rectangle_is_noise_of_an_allowed_size() -> None:
    pixels = torch.full((200, 3, 40, 50), 256 // 2, dtype=torch.uint8)
    result = varied(pixels, erasing=1.0)
    for picture in result:
        rows, columns = ((picture != 128).any(0).any(axis) for axis in (1, 0))
        top, bottom = int(rows.int().argmax()), 40 - int(rows.flip(0).int().argmax())
        left, right = int(columns.int().argmax()), 50 - int(columns.flip(0).int().argmax())
        area = (bottom - top) * (right - left)
        assert 0.015 < area / 2000 < 0.42
        noise = picture[:, top:bottom, left:right].float()
        assert 90 < noise.mean() < 165
        assert noise.std() > 50
    assert not torch.equal(result[0], result[1])


def test_a_padded_crop_moves_and_black_comes_in() -> None:
    pictures = np.stack([photo(9, 7, seed=index).clip(1) for index in range(200)])
    drawn = pipeline.draw(KEYS, 0, 0, settings())
    moved = pipeline.padded_crop(pictures, 2, drawn.crop)
    seen = set()
    for picture, result in zip(pictures, moved, strict=True):
        padded = np.pad(picture, ((2, 2), (2, 2), (0, 0)))
        found = [
            (y, x) for y in range(5) for x in range(5) if np.array_equal(padded[y : y + 9, x : x + 7], result)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 25


def test_a_random_part_has_the_wanted_area_and_ratio() -> None:
    picture = np.arange(120 * 90 * 1, dtype=np.uint8).reshape(120, 90, 1)
    crop = params.ResizedCrop(kind="resized", scale=(0.2, 0.5), ratio=(0.5, 2.0))
    places, areas, ratios = set(), [], []
    for own in pipeline.draw(KEYS, 0, 0, settings()).crop:
        part = pipeline.random_part(picture, crop, own)
        assert np.shares_memory(part, picture)
        areas.append(part.size / picture.size)
        ratios.append(part.shape[1] / part.shape[0])
        places.add(int(part[0, 0, 0]))
    assert (min(areas), max(areas)) == (pytest.approx(0.2, abs=0.02), pytest.approx(0.5, abs=0.02))
    assert (min(ratios), max(ratios)) == (pytest.approx(0.5, abs=0.1), pytest.approx(2.0, abs=0.2))
    assert len(places) > 50


def test_a_picture_that_no_part_fits_gives_the_largest() -> None:
    crop = params.ResizedCrop(kind="resized", scale=(1.0, 1.0), ratio=(0.75, 1.25))
    drawn = pipeline.draw(KEYS[:1], 0, 0, settings()).crop[0]
    assert pipeline.random_part(photo(10, 100), crop, drawn).shape == (10, 12, 3)
    assert pipeline.random_part(photo(100, 10), crop, drawn).shape == (13, 10, 3)


# ---- mixing ----


def test_mixup_s_shares_are_those_of_the_beta_distribution() -> None:
    drawn = Generators(0, 0, 0).uniform(keys(map(str, range(4000))), mixing.DRAWS)
    for alpha in (0.2, 1.0, 5.0):
        mixed = mixing.mixing(settings(mixup=alpha), drawn, (8, 8))
        assert mixed.shares is not None
        assert torch.equal(mixed.shares, mixed.labels)
        assert not mixed.boxes.any()
        assert float(mixed.shares.mean()) == pytest.approx(0.5, abs=0.02)
        assert float(mixed.shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_a_coin_decides_between_mixup_and_cutmix() -> None:
    drawn = Generators(0, 0, 0).uniform(KEYS, mixing.DRAWS)
    mixed = mixing.mixing(settings(mixup=0.5, cutmix=1.0), drawn, (32, 20))
    assert mixed.shares is not None
    cut = mixed.shares == 1
    assert 70 < int(cut.sum()) < 130
    assert not mixed.boxes[~cut].any()
    assert torch.equal(mixed.labels[~cut], mixed.shares[~cut])


def test_cutmix_shares_labels_by_pixels() -> None:
    drawn = Generators(0, 0, 0).uniform(KEYS, mixing.DRAWS)
    mixed = mixing.mixing(settings(cutmix=1.0), drawn, (32, 20))
    assert mixed.shares is None
    own, partners = (
        torch.zeros(200, 3, 32, 20, dtype=torch.uint8),
        torch.ones(200, 3, 32, 20, dtype=torch.uint8),
    )
    pixels = mixed.pixels(own, partners)
    assert pixels.dtype == torch.uint8
    assert torch.allclose(1 - pixels.float().mean((1, 2, 3)), mixed.labels, atol=1e-6)
    assert 0.3 < float(mixed.labels.mean()) < 0.75  # boxes are clipped at the edges
    assert float(mixed.labels.min()) < 0.2
    top, left, bottom, right = mixed.boxes[5].tolist()
    inside = pixels[5, :, top:bottom, left:right]
    assert inside.numel() > 0
    assert bool(inside.all())


def test_mixed_pixels_and_labels_are_sums() -> None:
    own, partners = photos(3).float(), photos(6)[3:].float()
    mixed = mixing.Mixing(
        torch.tensor([1.0, 0.25, 0.5]), torch.zeros(3, 4, dtype=torch.int64), torch.tensor([1.0, 0.25, 0.5])
    )
    result = mixed.pixels(own.to(torch.uint8), partners.to(torch.uint8))
    assert torch.equal(result[0], own[0])
    assert torch.allclose(result[1], 0.25 * own[1] + 0.75 * partners[1])
    assert result.dtype == torch.float32
    labels = mixed.targets(torch.tensor([0, 1, 2]), torch.tensor([1, 3, 2]), 4)
    assert labels.tolist() == [[1, 0, 0, 0], [0, 0.25, 0, 0.75], [0, 0, 1, 0]]
