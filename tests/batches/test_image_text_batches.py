"""Batches of images with texts: those of either part, side by side; and with one of the two blanked."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from baton import params, storage
from baton.arrays import image_text_arrays
from baton.batches import array_splits
from baton.batches.image_text_batches import ImageTextSplit
from baton.contracts import input_spec, task_spec
from baton.contracts.input_spec import ImageTextInput
from baton.errors import DataError
from baton.measure import blanking
from baton.texts import document_windows
from tests import tiny
from tests.photos import digits, write_table

READS = ImageTextInput(tiny.image_input(16), tiny.TEXT_INPUT)
TEXTS = [text for texts in tiny.TEXTS.values() for text in texts]
AUGMENTED = params.Augmentation.model_validate(
    {
        "crop": {"kind": "padded", "padding": 2},
        "flip": 0.5,
        "rotation": 0.0,
        "colour": None,
        "randaugment": None,
        "erasing": 0.5,
        "mixup": 0.0,
        "cutmix": 0.0,
    }
)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrays of 12 digits with a text each, and the text's base model."""
    folder = tmp_path_factory.mktemp("both")
    images, labels = digits(12)
    tokenizer = document_windows.open_tokenizer(tiny.write_base(folder / "base"), 16)
    for split in array_splits.SPLITS:
        path = write_table(folder / f"{split}.parquet", images, [label % 3 for label in labels])
        pq.write_table(pq.read_table(path).append_column("text", pa.array(TEXTS)), path)
        image_text_arrays.tokenize(path, tokenizer, READS, folder, (5, 5), lambda _: None, tiny.TASK)
    meta = {"task": task_spec.described(tiny.TASK), "input": input_spec.described(READS)}
    storage.write_json(folder / "meta.json", meta)
    return folder


def train(arrays: Path, augmentation: params.Augmentation | None = None) -> ImageTextSplit:
    split = array_splits.open_splits(arrays, augmentation)["train"]
    assert isinstance(split, ImageTextSplit)
    return split


def test_a_batch_has_the_image_and_the_text_of_each_row(arrays: Path) -> None:
    split, rows = train(arrays), np.array([7, 2, 11])
    pixels, ids, mask = split.batch(rows).inputs
    images, labels = digits(12)
    tokenizer = document_windows.open_tokenizer(arrays / "base", 16)
    for place, row in enumerate(rows):
        assert torch.equal(split.image.batch(rows[place : place + 1]).inputs[0][0], pixels[place])
        assert np.array_equal(split.image.arrays.image(row), images[row])
        assert ids[place][mask[place].bool()].tolist() == tokenizer.encode(TEXTS[row]).ids
    batch = split.batch(rows)
    assert (
        batch.targets.tolist() == [labels[row] % 3 for row in rows] and batch.rows.tolist() == rows.tolist()
    )
    assert len(batch) == 3 and len(split) == 12


def test_images_vary_with_seed_epoch_and_id_as_without_texts(arrays: Path) -> None:
    split, rows = train(arrays, AUGMENTED), np.arange(12)
    times = [(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    views = {time: split.training_batch(rows, rows, *time).inputs for time in times}
    for (seed, epoch), (pixels, ids, _) in views.items():
        assert torch.equal(pixels, split.image.training_batch(rows, rows, seed, epoch).inputs[0])
        assert torch.equal(ids, views[0, 0][1]), "texts are not varied"
        alone = split.training_batch(rows[4:5], rows, seed, epoch).inputs[0]
        assert torch.equal(alone[0], pixels[4]), "no bit depends on the rest of the batch"
    assert not torch.equal(views[0, 0][0], views[0, 1][0]) and not torch.equal(views[0, 0][0], views[1, 0][0])


def test_an_example_has_both_by_name(arrays: Path) -> None:
    (arrays / "model").mkdir()
    (arrays / "model/text").symlink_to(arrays / "base")
    first, second = array_splits.examples(train(arrays), arrays / "model", READS, 2)
    assert first.keys() == second.keys() == {"image", "text"}
    assert "wheat" in first["text"]


def test_arrays_that_do_not_match_are_refused(arrays: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(arrays, tmp_path / "arrays", symlinks=True)
    images, labels = digits(11)
    table = write_table(tmp_path / "train.parquet", images, [label % 3 for label in labels])
    image_text_arrays.image_arrays.tokenize(table, READS.image, copy / "image", 5, lambda _: None, tiny.TASK)
    with pytest.raises(DataError, match="11 images, 12 texts"):
        train(copy)


def test_a_blanked_text_is_read_as_an_empty_one(arrays: Path) -> None:
    split, rows = train(arrays), np.array([3, 9])
    tokenizer = document_windows.open_tokenizer(arrays / "base", 16)
    without = blanking.without_text(split, tokenizer.encode("").ids)
    pixels, ids, mask = without.batch(rows).inputs
    assert torch.equal(pixels, split.batch(rows).inputs[0])
    assert [row[own.bool()].tolist() for row, own in zip(ids, mask, strict=True)] == [[2, 3], [2, 3]]
    assert torch.equal(without.batch(rows).targets, split.batch(rows).targets)


def test_a_blanked_image_is_the_mean_colour(arrays: Path) -> None:
    split, rows = train(arrays), np.array([3, 9])
    without = blanking.without_image(split, READS)
    pixels, ids, _ = without.batch(rows).inputs
    assert pixels.shape == (2, 1, 16, 16)
    assert torch.equal(pixels, torch.full_like(pixels, round(255 * READS.image.mean[0])))
    assert torch.equal(ids, split.batch(rows).inputs[1])
