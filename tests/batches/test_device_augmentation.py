"""Augmentation on the device, here "cpu": the same numbers give the same images as on the host.

Tolerances: integer operations give the host's bits. In resizing, torch's own weights for uint8 are rounded to
16 bits while ours are floats, so a pixel may be rounded differently in each of the two passes: a few pixels
differ, by two levels at most. Mixing does not add to that.
"""

import dataclasses
import pickle
from typing import Any

import pytest
import torch
from torch.nn import functional

from baton.batches import device_images, image_batch
from baton.batches.augmentation import device_augmentation
from baton.batches.augmentation.resampling import resampled
from baton.batches.image_batch import ImageBatch
from baton.batches.image_batches import ImageSplit
from baton.errors import ParamsError
from baton.images import enlarging
from tests.batches.test_image_batches import (
    ALIKE,
    EVERYTHING,
    INPUTS,
    PARTS,
    SEVERAL,
    augmentation,
    inputs,
    make,
    rows,
)

CPU = torch.device("cpu")
EXACT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "padded crop": {"crop": EVERYTHING["crop"]},
    "flip": {"flip": 0.5},
    "rotation": {"rotation": 20.0},
    "colour": {"colour": EVERYTHING["colour"]},
    "randaugment": {"randaugment": {"operations": 3, "magnitude": 12}},
    "erasing": {"erasing": 0.7},
    "masks": {"masks": {"time": 2, "frames": 3, "frequency": 1, "bands": 2}},
    "everything": EVERYTHING,
    "everything but mixup": EVERYTHING | {"mixup": 0.0},
}


def on_device(split: ImageSplit, kept: bool) -> ImageSplit:
    return dataclasses.replace(
        split, device=True, resident=device_images.Resident(split.arrays, CPU) if kept else None
    )


def both(
    split: ImageSplit, changes: dict[str, Any], kept: bool, epoch: int = 1
) -> tuple[ImageBatch, ImageBatch]:
    """Return a training batch made on the host, and the same batch made on the device."""
    own = dataclasses.replace(split, augmentation=augmentation(**changes))
    step = rows(*range(20))
    return own.training_batch(step[3:17], step, 5, epoch), on_device(own, kept).training_batch(
        step[3:17], step, 5, epoch
    )


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageSplit]:
    return {kind: make(tmp_path_factory.mktemp("alike"), ALIKE, reads) for kind, reads in INPUTS.items()}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageSplit]:
    return {kind: make(tmp_path_factory.mktemp("several"), SEVERAL, reads) for kind, reads in INPUTS.items()}


@pytest.mark.parametrize("kept", [False, True], ids=["travelling", "resident"])
@pytest.mark.parametrize("changes", EXACT)
def test_pictures_of_one_shape_have_the_host_s_bits(
    alike: dict[str, ImageSplit], changes: str, kept: bool
) -> None:
    host, device = both(alike["enlarged"], EXACT[changes], kept)
    assert (device.resident is not None) == kept
    moved = device.to(CPU)
    assert torch.equal(inputs(moved), inputs(host))
    assert torch.equal(moved.targets, host.targets)
    assert torch.equal(moved.rows, host.rows)
    assert (moved.shape, device.shape, len(moved)) == (host.shape, host.shape, 14)


@pytest.mark.parametrize("kept", [False, True], ids=["travelling", "resident"])
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("crop", ["resized", "padded", "none"])
def test_resized_pictures_are_the_host_s_to_two_levels(
    alike: dict[str, ImageSplit], several: dict[str, ImageSplit], kind: str, crop: str, kept: bool
) -> None:
    crops = {"resized": PARTS["resized crop"]["crop"], "padded": EVERYTHING["crop"], "none": None}
    for split in (alike[kind], several[kind]):
        host, device = both(split, {"crop": crops[crop], "flip": 0.5, "mixup": 0.3, "cutmix": 1.0}, kept)
        difference = (inputs(device.to(CPU)).float() - inputs(host).float()).abs()
        assert difference.max() <= 2.01
        assert difference.mean() < 0.05
        other = both(split, {"crop": crops[crop], "flip": 0.5, "mixup": 0.3, "cutmix": 1.0}, kept, epoch=2)[
            1
        ].to(CPU)
        assert (inputs(other).float() - inputs(host).float()).abs().mean() > 5  # another epoch differs


def test_groups_change_nothing(alike: dict[str, ImageSplit], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = both(alike["as stored"], EVERYTHING, True)[1].to(CPU)
    monkeypatch.setattr(device_augmentation, "AT_ONCE", 5 * 3 * 21 * 21)
    batch = both(alike["as stored"], EVERYTHING, True)[1]
    # 14 images and one partner.
    assert [len(part.flips) for part in batch.variations if part.flips is not None] == [5, 5, 5]
    assert torch.equal(inputs(batch.to(CPU)), inputs(whole))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("source", "target"), [((40, 31), (17, 12)), ((13, 9), (30, 41)), ((20, 20), (20, 20))]
)
def test_resampling_is_torch_s(interpolation: str, source: tuple[int, int], target: tuple[int, int]) -> None:
    pixels = torch.randint(
        0, 256, (3, 3, 50, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    corners = [(0, 0), (10, 4), (50 - source[0], 50 - source[1])]
    windows = torch.tensor([(*corner, *source) for corner in corners])
    found = resampled(pixels, windows, target, interpolation)
    for index, (top, left) in enumerate(corners):
        part = pixels[index : index + 1, :, top : top + source[0], left : left + source[1]].contiguous()
        expected = enlarging.resized(part, target, interpolation)[0]
        difference = (found[index].int() - expected.int()).abs()
        assert difference.max() <= (0 if interpolation == "nearest" or source == target else 2)
        assert (difference > 0).float().mean() < 0.03
        if (
            interpolation == "bilinear"
        ):  # also compare with torch's implementation for floats; ours rounds twice
            floats = functional.interpolate(part.double(), size=target, mode="bilinear", antialias=True)
            assert (found[index].double() - floats[0]).abs().max() <= 1.01


def test_what_lies_outside_of_a_picture_is_black() -> None:
    pixels = torch.full((1, 1, 4, 4), 200, dtype=torch.uint8)
    found = resampled(pixels, torch.tensor([[-2, 1, 4, 4]]), (4, 4), "bicubic", reach=2)[0, 0]
    assert found.tolist() == [[0] * 4, [0] * 4, [200, 200, 200, 0], [200, 200, 200, 0]]


# ---- shapes ----


@pytest.mark.parametrize("device", [False, True])
def test_a_small_batch_is_filled_up(alike: dict[str, ImageSplit], device: bool) -> None:
    for changes in ({}, EVERYTHING):
        plain = dataclasses.replace(alike["enlarged"], augmentation=augmentation(**changes), device=device)
        for split in (plain, dataclasses.replace(plain, augmentation=None)):
            own = split.training_batch(rows(1, 2, 3), rows(1, 2, 3, 4), 0, 0).to(CPU)
            filled = (
                dataclasses.replace(split, size=8)
                .training_batch(rows(1, 2, 3), rows(1, 2, 3, 4), 0, 0)
                .to(CPU)
            )
            assert inputs(filled).shape[0] == 8
            assert torch.equal(inputs(filled)[:3], inputs(own))
            assert (len(filled), filled.targets.shape, filled.rows.tolist()) == (
                3,
                own.targets.shape,
                [1, 2, 3],
            )


def test_pictures_reach_the_model_in_channels_last(alike: dict[str, ImageSplit]) -> None:
    for kept in (False, True):
        for changes in ({"flip": 0.5}, EVERYTHING):
            moved = both(alike["as stored"], changes, kept)[1].to(CPU)
            assert inputs(moved).is_contiguous(memory_format=torch.channels_last), changes


# ---- where images are kept ----


def test_pictures_are_kept_where_there_is_room() -> None:
    assert device_images.fits("auto", "cuda", 10**9, 4 * 10**9)[0]
    assert not device_images.fits("auto", "cuda", 10**9, 4 * 10**9 - 4)[0]
    assert device_images.fits(True, "cuda", 10**9, 10**9)[0]
    assert not device_images.fits(False, "cuda", 1, 10**9)[0]
    assert not device_images.fits("auto", "cpu", 1, 10**9)[0]
    with pytest.raises(ParamsError, match="do not fit on the device") as error:
        device_images.fits(True, "cuda", 10**9 + 1, 10**9)
    assert "runtime.data_on_device to auto or false" in str(error.value)


def test_evaluation_sees_the_same_bits_wherever_pictures_are_kept(
    alike: dict[str, ImageSplit], several: dict[str, ImageSplit]
) -> None:
    for split in (alike["enlarged"], several["enlarged"]):
        kept = on_device(split, True).batch(rows(3, 1))
        assert (kept.resident is None) == (split.arrays.shape is None)
        assert torch.equal(inputs(kept.to(CPU)), inputs(split.batch(rows(3, 1))))


def test_a_worker_hands_on_the_name_of_what_is_kept(alike: dict[str, ImageSplit]) -> None:
    batch = both(alike["enlarged"], EVERYTHING, True)[1]
    content = pickle.dumps(batch)
    again = pickle.loads(content)
    assert again.resident is batch.resident
    assert torch.equal(inputs(again.to(CPU)), inputs(batch.to(CPU)))


def test_a_batch_moves_whole_with_what_is_to_be_done(several: dict[str, ImageSplit]) -> None:
    batch = both(several["enlarged"], EVERYTHING, False)[1]
    moved: list[torch.Tensor] = []
    image_batch._mapped(batch, lambda tensor: moved.append(tensor) or tensor)

    def tensors(part: Any) -> list[torch.Tensor]:
        if isinstance(part, torch.Tensor):
            return [part]
        values = (
            part if isinstance(part, tuple) else vars(part).values() if dataclasses.is_dataclass(part) else ()
        )
        return [tensor for value in values for tensor in tensors(value)]

    assert {id(tensor) for tensor in moved} == {id(tensor) for tensor in tensors(batch)}
    assert len(moved) > 15


# ---- a GPU ----


@pytest.mark.gpu
@pytest.mark.parametrize("kept", [False, True], ids=["travelling", "resident"])
@pytest.mark.parametrize("changes", EXACT)
def test_a_gpu_varies_as_the_host_does_and_is_never_waited_for(
    alike: dict[str, ImageSplit], several: dict[str, ImageSplit], changes: str, kept: bool
) -> None:
    cuda = torch.device("cuda")
    for split in (alike["enlarged"], several["enlarged"]):
        host, device = both(split, EXACT[changes], kept)
        if kept:
            device = dataclasses.replace(device, resident=device_images.Resident(split.arrays, cuda))
        pinned = device.pin_memory()
        pinned.to(cuda)  # load everything that is only loaded once
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            seen = inputs(pinned.to(cuda))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        difference = (seen.float().cpu() - inputs(host).float()).abs()
        # Equalize and solarize may amplify a difference of one level; there are few such pixels.
        assert difference.mean() < 0.2
        assert (difference > 2.01).float().mean() < 0.02
