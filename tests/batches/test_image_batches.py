"""Batches of images: evaluation sees timm's; training is a pure function of (seed, epoch, sample id)."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform

from baton import params, storage
from baton.arrays import image_arrays
from baton.batches import array_splits as opening
from baton.batches.image_batch import ImageBatch, framed
from baton.batches.image_batches import ImageSplit
from baton.batches.sampler import TrainingBatches
from baton.contracts import input_spec, task_spec
from baton.contracts.input_spec import ImageInput
from baton.images.framing import framing
from tests import tiny
from tests.batches.test_augmentation import OFF
from tests.photos import INPUT, digits, photo, write_table

ALIKE, SEVERAL = [(21, 21)] * 24, [(21, 21), (40, 19), (9, 30), (64, 64)] * 6
LARGE = replace(INPUT, size=(21, 21))
EVERYTHING: dict[str, Any] = {
    "crop": {"kind": "padded", "padding": 2},
    "flip": 0.5,
    "rotation": 20.0,
    "colour": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "randaugment": {"operations": 2, "magnitude": 9},
    "erasing": 0.5,
    "mixup": 0.4,
    "cutmix": 1.0,
}
PARTS: dict[str, dict[str, Any]] = {
    "everything": {},
    "resized crop": {"crop": {"kind": "resized", "scale": [0.3, 1.0], "ratio": [0.75, 1.333]}},
    "mixup": {"cutmix": 0.0},
    "cutmix": {"mixup": 0.0},
    "unmixed": {"mixup": 0.0, "cutmix": 0.0},
}
INPUTS: dict[str, ImageInput] = {
    "as stored": LARGE,
    "enlarged": replace(LARGE, size=(29, 37)),
    "with a margin": replace(LARGE, size=(17, 17), crop_fraction=0.8),
}


def augmentation(**changes: Any) -> params.Augmentation:
    return params.Augmentation.model_validate(OFF | changes, strict=False)


def make(
    folder: Path,
    shapes: list[tuple[int, int]],
    reads: ImageInput,
    varied: params.Augmentation | None = None,
) -> ImageSplit:
    """Return a split of photos with three classes, written by `tokenize`."""
    photos = [photo(*shape, channels=reads.channels, seed=index) for index, shape in enumerate(shapes)]
    table = write_table(folder / "train.parquet", photos, [index % 3 for index in range(len(shapes))])
    image_arrays.tokenize(table, reads, folder, 8, lambda count: None, tiny.TASK)
    return ImageSplit(
        image_arrays.open_arrays(folder, "train", tiny.TASK),
        partial(opening.read_ids, folder, "train"),
        reads,
        varied,
    )


def rows(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


def inputs(batch: ImageBatch) -> torch.Tensor:
    (pixels,) = batch.inputs
    return pixels


# ---- evaluation ----


def timms(reads: ImageInput, pixels: NDArray[np.uint8]) -> torch.Tensor:
    transform = create_transform(
        input_size=(3, *reads.size),
        interpolation=reads.interpolation,
        crop_pct=reads.crop_fraction,
        crop_mode=reads.crop_mode,
        mean=reads.mean,
        normalize=False,
    )
    return transform(Image.fromarray(pixels)).float()


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("fraction", [1.0, 0.9])
def test_large_pictures_are_exactly_timm_s(tmp_path: Path, mode: str, fraction: float) -> None:
    shapes = [(61, 80), (90, 59), (75, 75)]
    reads = replace(INPUT, size=(48, 48), crop_fraction=fraction, crop_mode=mode)
    seen = inputs(make(tmp_path, shapes, reads).batch(rows(0, 1, 2)))
    assert seen.dtype == torch.uint8  # no computation was needed
    for index, shape in enumerate(shapes):
        assert torch.equal(seen[index].float(), timms(reads, photo(*shape, seed=index)))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize(
    "shapes", [[(20, 20), (20, 20)], [(20, 20), (31, 31)]], ids=["alike", "several shapes"]
)
def test_small_pictures_are_enlarged_as_timm_does(
    tmp_path: Path, interpolation: str, mode: str, shapes: list[tuple[int, int]]
) -> None:
    reads = replace(INPUT, size=(64, 64), crop_fraction=0.875, crop_mode=mode, interpolation=interpolation)
    seen = inputs(make(tmp_path, shapes, reads).batch(rows(0, 1)))
    assert seen.shape == (2, 3, 64, 64)
    for index, shape in enumerate(shapes):
        difference = (seen[index].float() - timms(reads, photo(*shape, seed=index))).abs()
        # Pillow rounds and clips between its two passes.
        assert difference.mean() <= (0 if interpolation == "nearest" else 0.35)
        assert difference.max() <= 5
        other = timms(replace(reads, interpolation="lanczos"), photo(*shape, seed=index))
        assert (seen[index].float() - other).abs().max() > 4


def test_the_middle_of_a_small_picture_is_timm_s_to_half_a_pixel(tmp_path: Path) -> None:
    reads = replace(INPUT, size=(60, 60))
    pixels = photo(20, 31)
    split = make(tmp_path, [(20, 31)], reads)
    near = [timms(reads, np.roll(pixels, shift, axis=1)) for shift in (0, 1, 5)]
    differences = [(inputs(split.batch(rows(0)))[0] - other).abs().mean() for other in near]
    assert max(differences[:2]) < differences[2] / 2


def test_labels_rows_and_shapes(tmp_path: Path) -> None:
    split = make(tmp_path, SEVERAL, LARGE)
    batch = split.batch(rows(5, 0, 7))
    assert (batch.targets.tolist(), batch.rows.tolist(), len(batch), batch.shape) == (
        [2, 0, 1],
        [5, 0, 7],
        3,
        (3, 21),
    )
    assert (batch.targets.dtype, batch.rows.dtype) == (torch.int64, torch.int64)
    assert (len(split), split.lengths.tolist(), split.targets.all.tolist()) == (24, [21] * 24, [0, 1, 2] * 8)
    # There is no augmentation.
    assert torch.equal(inputs(split.training_batch(rows(5), rows(5, 6), 0, 0)), inputs(split.batch(rows(5))))


def test_a_batch_moves_whole(tmp_path: Path) -> None:
    batch = make(tmp_path, ALIKE, LARGE, augmentation(**EVERYTHING)).training_batch(
        rows(0, 1), rows(0, 1, 2), 0, 0
    )
    assert batch.to(torch.device("cpu")) is batch
    moved = batch.to(torch.device("meta"))
    assert batch.mixing and moved.mixing
    assert batch.partners is not None and moved.partners is not None and moved.mixing.shares is not None
    tensors = (
        moved.pixels,
        moved.targets,
        moved.rows,
        moved.partners,
        moved.mixing.shares,
        moved.mixing.boxes,
        moved.mixing.labels,
    )
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert inputs(moved).shape == inputs(batch).shape
    assert moved.pixels.stride() == batch.pixels.stride()


@pytest.mark.gpu
@pytest.mark.parametrize("kind", INPUTS)
def test_a_gpu_sees_the_same(tmp_path: Path, kind: str) -> None:
    batch = make(tmp_path, ALIKE, INPUTS[kind], augmentation(**EVERYTHING)).training_batch(
        rows(0, 1, 2), rows(0, 1, 2, 3), 0, 0
    )
    pinned = batch.pin_memory()
    assert pinned.pixels.is_pinned()
    assert pinned.pixels.stride() == batch.pixels.stride()
    assert (inputs(pinned.to(torch.device("cuda"))).cpu() - inputs(batch)).abs().max() < 0.01


# ---- training ----


@pytest.fixture(scope="module", params=[ALIKE, SEVERAL], ids=["alike", "several shapes"])
def photos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageSplit]:
    """Return the same photos for each kind of input."""
    folder = tmp_path_factory.mktemp("photos")
    return {
        kind: make(folder / kind.replace(" ", "-"), request.param, reads) for kind, reads in INPUTS.items()
    }


def split_of(photos: dict[str, ImageSplit], kind: str, changes: dict[str, Any]) -> ImageSplit:
    plain = photos[kind]
    return ImageSplit(plain.arrays, plain.ids, plain.reads, augmentation(**EVERYTHING | changes))


def together(batches: list[ImageBatch]) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Map each row to its pixels and label."""
    return {
        row: (pixels, label)
        for batch in batches
        for row, pixels, label in zip(batch.rows.tolist(), inputs(batch), batch.targets, strict=True)
    }


def same(
    first: dict[int, tuple[torch.Tensor, torch.Tensor]], second: dict[int, tuple[torch.Tensor, torch.Tensor]]
) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(a, b) for row in first for a, b in zip(first[row], second[row], strict=True)
    )


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", INPUTS)
def test_parts_and_ranks_see_what_the_whole_batch_sees(
    photos: dict[str, ImageSplit], kind: str, part: str
) -> None:
    split = split_of(photos, kind, PARTS[part])
    whole = TrainingBatches(split, 9, 1, 3)
    assert sorted(whole.size(step) for step in range(3)) == [6, 9, 9]
    for step in (3, next(step for step in range(3) if whole.size(step) == 6)):
        expected = together([whole.micro_batches(step)[0][0]])
        assert len(expected) == whole.size(step)
        for accumulation, ranks in [(4, 1), (2, 3)]:
            seen = [
                TrainingBatches(split, 9, accumulation, 3, rank=rank, ranks=ranks).micro_batches(step)
                for rank in range(ranks)
            ]
            assert same(together([batch for parts in seen for batch, _ in parts]), expected)
    other = TrainingBatches(split, 9, 1, 4).split.training_batch(whole.rows(0), whole.rows(0), 4, 0)
    assert not same(together([other]), together([whole.micro_batches(0)[0][0]]))


def test_a_rule_that_depends_on_the_part_would_be_found_out(photos: dict[str, ImageSplit]) -> None:
    split, step = split_of(photos, "as stored", {}), rows(*range(9))
    expected = together([split.training_batch(step, step, 0, 0)])
    parts = [step[:4], step[4:]]
    assert same(together([split.training_batch(part, step, 0, 0) for part in parts]), expected)
    assert not same(together([split.training_batch(part, part, 0, 0) for part in parts]), expected)


@pytest.mark.parametrize("part", PARTS)
def test_what_a_sample_gets_depends_on_seed_epoch_and_id_only(
    photos: dict[str, ImageSplit], part: str
) -> None:
    split, step = split_of(photos, "as stored", PARTS[part]), rows(*range(12))
    first = together([split.training_batch(step, step, 0, 1)])
    fresh = split_of(photos, "as stored", PARTS[part])  # a resumed training run
    # The order within the step does not matter.
    assert same(together([fresh.training_batch(step[::-1].copy(), step, 0, 1)]), first)
    for other in (split.training_batch(step, step, 0, 2), split.training_batch(step, step, 1, 1)):
        changed = together([other])
        assert sum(torch.equal(changed[row][0], first[row][0]) for row in range(12)) <= 1
    renamed = ImageSplit(
        split.arrays,
        lambda: [f"other:{index}" for index in range(24)],
        split.reads,
        split.augmentation,
    )
    assert not same(together([renamed.training_batch(step, step, 0, 1)]), first)


def test_unmixed_samples_do_not_depend_on_the_step(photos: dict[str, ImageSplit]) -> None:
    split = split_of(photos, "as stored", PARTS["unmixed"])
    alone, among = (
        split.training_batch(rows(7), rows(7, 3), 0, 1),
        split.training_batch(rows(2, 7), rows(2, 7), 0, 1),
    )
    assert torch.equal(inputs(alone)[0], inputs(among)[1])


def test_workers_change_nothing(photos: dict[str, ImageSplit]) -> None:
    from baton.train import loader
    from tests import tiny

    batches = TrainingBatches(split_of(photos, "enlarged", {}), 9, 2, 0)
    alone, helped = (
        [
            together([batch for batch, _ in parts])
            for parts in loader.parts(batches, 0, 4, tiny.machine(loader_workers=workers))
        ]
        for workers in (0, 2)
    )
    assert len(alone) == 4
    assert all(same(first, second) for first, second in zip(alone, helped, strict=True))


def test_each_picture_is_made_once(photos: dict[str, ImageSplit]) -> None:
    split, step = split_of(photos, "as stored", {}), rows(4, 9, 2, 11, 0)
    whole = split.training_batch(step, step, 0, 0)
    assert len(whole.pixels) == 5
    assert whole.partners is not None
    assert whole.partners.tolist() == [1, 2, 3, 4, 0]
    part = split.training_batch(rows(9, 2), step, 0, 0)
    assert part.partners is not None
    assert (len(part.pixels), part.partners.tolist()) == (3, [1, 2])
    scattered = split.training_batch(rows(4, 2, 0), step, 0, 0)  # the last one's partner is the first
    assert scattered.partners is not None
    assert (len(scattered.pixels), scattered.partners.tolist()) == (5, [3, 4, 0])
    assert (
        len(split_of(photos, "as stored", PARTS["unmixed"]).training_batch(rows(9, 2), step, 0, 0).pixels)
        == 2
    )


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_rank_makes_its_own_pictures_and_one_partner(photos: dict[str, ImageSplit], ranks: int) -> None:
    split = split_of(photos, "as stored", PARTS["mixup"])
    made = [
        len(TrainingBatches(split, 16, 1, 3, rank=rank, ranks=ranks).micro_batches(0)[0][0].pixels)
        for rank in range(ranks)
    ]
    assert made == [16 // ranks + (ranks > 1)] * ranks


def test_a_step_of_one_sample_is_mixed_with_itself(photos: dict[str, ImageSplit]) -> None:
    mixed = split_of(photos, "as stored", PARTS["mixup"]).training_batch(rows(5), rows(5), 0, 0)
    plain = split_of(photos, "as stored", PARTS["unmixed"]).training_batch(rows(5), rows(5), 0, 0)
    assert torch.allclose(inputs(mixed), inputs(plain).float(), atol=1e-4)
    assert mixed.targets.tolist() == [[0, 0, 1]]


def test_labels_are_shares_where_samples_are_mixed(photos: dict[str, ImageSplit]) -> None:
    step = rows(0, 1, 2, 3)
    for part, changes in PARTS.items():
        labels = split_of(photos, "as stored", changes).training_batch(step, step, 0, 0).targets
        if part == "unmixed":
            assert (labels.dtype, labels.tolist()) == (torch.int64, [0, 1, 2, 0])
            continue
        assert (labels.dtype, labels.shape) == (torch.float32, (4, 3))
        assert torch.allclose(labels.sum(1), torch.ones(4))
        for row in range(4):  # its own class and the next one's
            assert labels[row, (row + 2) % 3] == 0
        assert (labels.max(1).values < 1).any()


def test_mixed_pixels_are_those_of_the_two_samples(photos: dict[str, ImageSplit]) -> None:
    step = rows(0, 1, 2)
    apart = inputs(split_of(photos, "enlarged", PARTS["unmixed"]).training_batch(step, step, 0, 0)).float()
    batch = split_of(photos, "enlarged", PARTS["mixup"]).training_batch(step, step, 0, 0)
    assert batch.mixing and batch.mixing.shares is not None
    shares = batch.mixing.shares.reshape(-1, 1, 1, 1)
    assert torch.allclose(inputs(batch), apart * shares + apart.roll(-1, 0) * (1 - shares), atol=1e-3)
    cut = inputs(split_of(photos, "enlarged", PARTS["cutmix"]).training_batch(step, step, 0, 0)).float()
    assert ((cut == apart) | (cut == apart.roll(-1, 0))).all()


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_have_the_model_s_size_and_range(photos: dict[str, ImageSplit], kind: str) -> None:
    step = rows(*range(12))
    height, width = INPUTS[kind].size
    for part, changes in PARTS.items():
        seen = inputs(split_of(photos, kind, changes).training_batch(step, step, 0, 0))
        assert seen.shape == (12, 3, height, width)
        assert float(seen.min()) >= 0
        assert float(seen.max()) <= 255
        as_it_is = part == "unmixed" and kind != "enlarged"
        assert seen.dtype == torch.uint8 or not as_it_is


def test_training_frames_as_evaluation_does(photos: dict[str, ImageSplit]) -> None:
    plain = photos["with a margin"]
    split = ImageSplit(plain.arrays, plain.ids, plain.reads, augmentation())
    assert torch.equal(
        inputs(split.training_batch(rows(1, 2), rows(1, 2), 0, 0)), inputs(plain.batch(rows(1, 2)))
    )


def test_a_padded_crop_is_of_the_stored_picture(tmp_path: Path) -> None:
    reads = replace(INPUT, size=(42, 42))
    split = make(tmp_path, ALIKE, reads, augmentation(crop={"kind": "padded", "padding": 2}))
    batch = split.training_batch(rows(0, 1, 2, 3), rows(0, 1, 2, 3), 0, 0)
    assert batch.pixels.shape == (4, 3, 21, 21)
    edge = batch.pixels.amax(1)  # (images, height, width)
    assert (
        (edge[:, :, 0] == 0).all(1)
        | (edge[:, :, -1] == 0).all(1)
        | (edge[:, 0] == 0).all(1)
        | (edge[:, -1] == 0).all(1)
    ).any()
    assert torch.equal(inputs(batch), framed(batch.pixels, framing(reads)))


# ---- the report's sheet, and end to end ----


def test_a_sheet_shows_the_picture_and_its_views(photos: dict[str, ImageSplit]) -> None:
    split = split_of(photos, "enlarged", PARTS["unmixed"])
    sheet = split.sheet(rows(3, 8), 0, [0, 1, 2])
    assert (sheet.shape, sheet.dtype) == ((2, 4, 29, 37, 3), np.uint8)
    assert np.array_equal(
        sheet[1, 0], inputs(split.batch(rows(8)))[0].round().byte().permute(1, 2, 0).numpy()
    )
    assert len({view.tobytes() for view in sheet.reshape(8, -1)}) == 8
    assert np.array_equal(split.sheet(rows(8), 0, [2])[0, 1], sheet[1, 3])
    mixed = split_of(photos, "enlarged", {}).sheet(rows(3, 8), 0, [0])
    assert not np.array_equal(mixed[:, 1], sheet[:, 1])


def test_digits_from_the_folder(tmp_path: Path) -> None:
    pictures, labels = digits(30)
    reads = replace(INPUT, size=(8, 8), channels=1, mean=(0.5,), std=(0.5,))
    for split in opening.SPLITS:
        table = write_table(tmp_path / "clean" / f"{split}.parquet", pictures, labels)
        image_arrays.tokenize(table, reads, tmp_path, 8, lambda count: None, tiny.TASK)
    storage.write_json(
        tmp_path / "meta.json",
        {"task": task_spec.described(tiny.task(*map(str, range(10)))), "input": input_spec.described(reads)},
    )
    varied = augmentation(crop={"kind": "padded", "padding": 1}, rotation=10.0)
    splits = opening.open_splits(tmp_path, varied)
    batch = splits["val"].batch(rows(4, 0))
    assert np.array_equal(batch.inputs[0][0].permute(1, 2, 0).numpy(), pictures[4])
    assert batch.targets.tolist() == [labels[4], labels[0]]
    step = rows(*range(30))
    first = splits["train"].training_batch(step, step, 0, 0).inputs[0]
    assert (first.dtype, first.shape) == (torch.uint8, (30, 1, 8, 8))
    assert (first.flatten(1) != splits["train"].batch(step).inputs[0].flatten(1)).any(1).all()
    assert not torch.equal(first, splits["val"].training_batch(step, step, 0, 0).inputs[0])  # other ids
