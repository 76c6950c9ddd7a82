"""Masks hide what was drawn, on host and device alike, and depend on seed, epoch and id alone."""

import dataclasses

import numpy as np
import pytest
import torch

from baton import params
from baton.arrays.image_arrays import ImageArrays
from baton.batches.augmentation import masking, pipeline, random_streams
from baton.batches.image_batches import ImageSplit
from tests import tiny

MASKS = params.Masks(time=2, frames=10, frequency=1, bands=4)


def settings(masks: params.Masks | None = MASKS, **changes: object) -> params.Augmentation:
    off = {"crop": None, "flip": 0.0, "rotation": 0.0, "colour": None, "randaugment": None, "erasing": 0.0}
    return params.Augmentation.model_validate(off | {"mixup": 0.0, "cutmix": 0.0, "masks": masks} | changes)


def test_stripes_are_uniform_within_the_image() -> None:
    """Park et al. 2019: the width is uniform from 0 to the most, then the position."""
    drawn = np.random.default_rng(0).random((20_000, masking.draws(MASKS)))
    found = masking.stripes(MASKS, drawn, (16, 40))
    widths = found[..., 1] - found[..., 0]
    assert found.min() == 0 and (found[:, :2, 1] <= 40).all() and (found[:, 2, 1] <= 16).all()
    for stripe, most in enumerate((10, 10, 4)):
        counts = np.bincount(widths[:, stripe], minlength=most + 1)
        assert len(counts) == most + 1
        np.testing.assert_allclose(counts / 20_000, 1 / (most + 1), atol=0.01)
    starts = found[widths[:, 0] == 10][:, 0, 0]
    np.testing.assert_allclose(np.bincount(starts) / len(starts), 1 / 31, atol=0.02)


def test_a_mask_wider_than_the_image_may_hide_all_of_it() -> None:
    wide = params.Masks(time=1, frames=99, frequency=0, bands=1)
    found = masking.stripes(wide, np.array([[0.999, 0.5]]), (4, 8))
    np.testing.assert_array_equal(found, [[[0, 8]]])


def test_hidden_places_are_grey_and_others_unchanged() -> None:
    pixels = torch.randint(0, 100, (2, 1, 6, 8), dtype=torch.uint8)
    stripes = torch.tensor([[[1, 3], [5, 5], [0, 1]], [[0, 0], [7, 8], [2, 4]]])
    masked = masking.masked(pixels, stripes, MASKS, 114)
    expected = pixels.clone()
    expected[0, :, :, 1:3] = expected[0, :, 0:1] = 114
    expected[1, :, :, 7:8] = expected[1, :, 2:4] = 114
    assert torch.equal(masked, expected) and masked.dtype == torch.uint8


@pytest.mark.parametrize("mean", [0.449, 0.5, 0.1])
@pytest.mark.parametrize("device", [False, True], ids=["host", "device"])
def test_what_is_hidden_is_zero_to_the_model(mean: float, device: bool) -> None:
    """To half of a grey level, of which there are 255: what SpecAugment's masks are after normalisation."""
    reads = dataclasses.replace(tiny.image_input(16), mean=(mean,), std=(0.2,))
    shapes, ends = np.array([[16, 16]], np.int32), np.array([0, 256])
    arrays = ImageArrays(np.full(256, 250, np.uint8), shapes, ends, tiny.targets([0]))
    varied = settings(params.Masks(time=4, frames=9, frequency=0, bands=1))
    split = ImageSplit(arrays, lambda: ["train:1"], reads, varied, device)
    pixels = split.training_batch(np.array([0]), np.array([0]), 0, 1).to(torch.device("cpu")).inputs[0]
    seen = (pixels.float() / 255 - mean) / 0.2
    hidden = seen[pixels != 250]
    assert len(hidden) and hidden.abs().max() <= 0.5 / 255 / 0.2 + 1e-6


def test_masks_depend_on_seed_epoch_and_id_and_leave_other_draws_alone() -> None:
    keys = random_streams.keys(["train:1", "train:2", "train:3"])
    first = pipeline.draw(keys, 0, 1, settings())
    alone = pipeline.draw(keys[2:], 0, 1, settings())
    np.testing.assert_array_equal(first.masks[2:], alone.masks)
    assert not np.array_equal(first.masks, pipeline.draw(keys, 1, 1, settings()).masks)
    assert not np.array_equal(first.masks, pipeline.draw(keys, 0, 2, settings()).masks)
    without = pipeline.draw(keys, 0, 1, settings(None))
    np.testing.assert_array_equal(first.mixing, without.mixing)
    np.testing.assert_array_equal(first.crop, without.crop)


def test_the_pipeline_masks() -> None:
    pixels = torch.zeros(8, 1, 16, 40, dtype=torch.uint8)
    drawn = pipeline.draw(random_streams.keys(map(str, range(8))), 0, 0, settings())
    varied = pipeline.vary(pixels.clone(), settings(), drawn, 114)
    assert set(varied.unique().tolist()) == {0, 114}
    assert torch.equal(pipeline.vary(pixels.clone(), settings(None), drawn, 114), pixels)
