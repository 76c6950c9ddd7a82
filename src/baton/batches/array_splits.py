"""Access to data/arrays for training, prediction and evaluation, with texts, images, both or sound.

Input: the output of `tokenize`, whose `meta.json` states its kind. Output: a `Split` for each of train, val
and test, and for `transfer` if there are rows without labels.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton import params, storage
from baton.arrays import text_arrays
from baton.batches.augmentation import text_variation
from baton.batches.augmentation.text_variation import TextVariation
from baton.batches.sampler import Split
from baton.batches.sequence_batches import SequenceSplit
from baton.batches.text_batches import TextSplit
from baton.contracts import input_spec, novel_classes, task_spec, transfer_set
from baton.contracts.input_spec import AudioInput, ImageInput, ImageTextInput, InputSpec, TextInput
from baton.contracts.task_spec import TaskSpec
from baton.errors import DataError
from baton.texts import document_windows, pair_windows

SPLITS = text_arrays.SPLITS  # what models are predicted and evaluated on
TRANSFER = transfer_set.TRANSFER  # rows of train, then those without labels; not in all arrays
EXAMPLE_SECONDS = 2.0  # the most, of a clip: MLflow shows the example


@dataclass(frozen=True)
class Meta:
    """The description of arrays: what a model predicts and what it reads."""

    task: TaskSpec
    input: InputSpec


Example = str | dict[str, str]  # what a served model takes; of several columns, each by its name


Varied = params.Augmentation | TextVariation | None  # how training samples are varied


class _Kind(NamedTuple):
    """The functions for one kind of input."""

    open_split: Callable[[Path, str, TaskSpec, Varied], Split]
    examples: Callable[[Split, Path, int], Sequence[Example]]


def read_meta(folder: Path) -> Meta:
    """Read meta.json.

    Raises:
        DataError: If the file is missing or was written by another version.
    """
    path = folder / "meta.json"
    hint = "run `dvc repro tokenize`"
    if not path.is_file():
        raise DataError(f"{path} is missing", expected="a file written by `tokenize`", hint=hint)
    meta: dict[str, Any] = storage.read_json(path)
    if "input" not in meta or "task" not in meta:
        raise DataError(
            f"{path} has an unknown layout", got=", ".join(meta), expected="task and input", hint=hint
        )
    return Meta(task_spec.read(meta), input_spec.read(meta["input"], f"{path}: input"))


def open_splits(
    folder: Path, augmentation: params.AnyAugmentation | None = None, tokenizer: Path | None = None
) -> dict[str, Split]:
    """Memory-map every split, `transfer` only if it is there.

    Args:
        folder: the arrays.
        augmentation: applies to training batches.
        tokenizer: the folder with the tokenizer by which texts were read; only their augmentation needs it.

    Raises:
        DataError: If a file is missing or does not match the others.
        ModelError: If the tokenizer lacks what augmentation needs.
    """
    meta = read_meta(folder)
    varied: Varied
    if isinstance(augmentation, params.TextAugmentation):
        assert isinstance(meta.input, TextInput), "params refuse it for other kinds of input"
        assert tokenizer is not None, "texts are varied by their tokenizer"
        varied = text_variation.of(augmentation, tokenizer, meta.input)
    else:
        varied = augmentation
    open_split = _kind(meta.input).open_split
    there = (*SPLITS, TRANSFER) if transfer_set.mask_path(folder, TRANSFER).is_file() else SPLITS
    return {split: open_split(folder, split, meta.task, varied) for split in there}


def labelled(folder: Path, split: str) -> NDArray[np.bool_]:
    """Return which rows of one split have labels, (rows,), in the arrays' order; of most splits all have.

    Targets of the others are zeros that say nothing.

    Raises:
        DataError: If the file does not match the others.
    """
    rows = len(read_ids(folder, split))
    found = transfer_set.mask(folder, split, rows)
    if found.dtype != np.bool_ or found.shape != (rows,):
        raise DataError(
            f"{transfer_set.mask_path(folder, split)} does not match the other arrays",
            got=f"{found.dtype} {found.shape}",
            expected=f"bool ({rows},)",
            hint="run `dvc repro --force tokenize`",
        )
    return found


def open_novel(folder: Path) -> dict[str, Split]:
    """Memory-map the splits of novel classes, if there are any; the targets of each are its own classes.

    Raises:
        DataError: If a file is missing or does not match the others.
    """
    open_split = _kind(read_meta(folder).input).open_split
    return {
        split: open_split(folder, split, task, None) for split, task in novel_classes.read(folder).items()
    }


def read_ids(folder: Path, split: str) -> list[str]:
    """Return the row ids of one split, in the arrays' order."""
    return text_arrays.read_ids(folder, split)


def examples(split: Split, model: Path, reads: InputSpec, count: int = 2) -> list[Example]:
    """Return a few samples as a served model takes them.

    They are texts (or lists of both texts of a pair) decoded from tokens, images as base64 PNG, or sounds as
    base64 WAV, made again from their spectrograms.

    Those of images with texts have both, by the names of their columns.

    Args:
        split: a split of data/arrays.
        model: the folder with the tokenizer.
        reads: the input of the arrays.
        count: the most samples to return.
    """
    return [*_kind(reads).examples(split, model, min(count, len(split)))]


def _kind(reads: InputSpec) -> _Kind:
    match reads:
        case TextInput():
            return _Kind(partial(_open_texts, reads), partial(_texts, reads))
        case ImageInput():
            return _Kind(partial(_open_images, reads), _images)
        case AudioInput():
            return _Kind(partial(_open_clips, reads), partial(_clips, reads))
        case ImageTextInput():
            return _Kind(partial(_open_images_with_texts, reads), partial(_images_with_texts, reads))


def _open_texts(
    reads: TextInput, folder: Path, split: str, task: TaskSpec, varied: Varied
) -> TextSplit | SequenceSplit:
    arrays = text_arrays.open_arrays(folder, split, task)
    if task.outputs == "text":
        return SequenceSplit(arrays, reads.pad)
    variation = varied if isinstance(varied, TextVariation) else None
    return TextSplit(arrays, reads.pad, variation=variation, ids=partial(read_ids, folder, split))


def _open_images(reads: ImageInput, folder: Path, split: str, task: TaskSpec, varied: Varied) -> Split:
    from baton.arrays import image_arrays
    from baton.batches import image_batches  # imports torchvision, which text does not need

    assert not isinstance(varied, TextVariation), "params refuse it"
    arrays = image_arrays.open_arrays(folder, split, task)
    return image_batches.ImageSplit(arrays, partial(read_ids, folder, split), reads, varied)


def _open_clips(reads: AudioInput, folder: Path, split: str, task: TaskSpec, varied: Varied) -> Split:
    if reads.parts == 1 or split == "train":
        return _open_images(reads.picture, folder, split, task, varied)
    from baton.arrays import image_arrays
    from baton.batches import clip_batches

    return clip_batches.ClipSplit(image_arrays.open_arrays(folder, split, task), reads.frames)


def _clips(reads: AudioInput, split: Split, _: Path, count: int) -> list[str]:
    from baton.batches import clip_batches, image_batches
    from baton.sounds import resynthesis

    assert isinstance(split, image_batches.ImageSplit | clip_batches.ClipSplit)
    frames = max(1, round(EXAMPLE_SECONDS * reads.sample_rate / reads.hop))  # silence follows, as in training
    pictures = [split.arrays.image(row)[:, :frames] for row in range(count)]
    return [base64.b64encode(resynthesis.wav(picture, reads)).decode() for picture in pictures]


def _open_images_with_texts(
    reads: ImageTextInput, folder: Path, split: str, task: TaskSpec, varied: Varied
) -> Split:
    from baton.arrays import image_text_arrays
    from baton.batches import image_batches, image_text_batches

    assert not isinstance(varied, TextVariation), "params refuse it"
    arrays = image_text_arrays.open_arrays(folder, split, task)
    image = image_batches.ImageSplit(arrays.image, partial(read_ids, folder, split), reads.image, varied)
    return image_text_batches.ImageTextSplit(image, TextSplit(arrays.text, reads.text.pad))


def _texts(reads: TextInput, split: Split, model: Path, count: int) -> list[Any]:
    assert isinstance(split, TextSplit | SequenceSplit)
    tokenizer, own = document_windows.open_tokenizer(model, reads.max_length), split.arrays
    first = range(len(own)) if own.documents is None else own.documents  # each document's first window
    windows = [own.tokens[own.offsets[window] : own.offsets[window + 1]].tolist() for window in first[:count]]
    if reads.pair:
        frame = pair_windows.pair_frame(tokenizer)
        return [[tokenizer.decode(side) for side in frame.sides(window)] for window in windows]
    return [tokenizer.decode(window) for window in windows]


def _images(split: Split, _: Path, count: int) -> list[str]:
    from baton.batches import image_batches
    from baton.images import decoding

    assert isinstance(split, image_batches.ImageSplit)
    return [base64.b64encode(decoding.encode(split.arrays.image(row))).decode() for row in range(count)]


def _images_with_texts(reads: ImageTextInput, split: Split, model: Path, count: int) -> list[dict[str, str]]:
    from baton.batches import image_text_batches

    assert isinstance(split, image_text_batches.ImageTextSplit)
    texts = _texts(reads.text, split.text, model / "text", count)
    images = _images(split.image, model, count)
    return [{"image": image, "text": text} for image, text in zip(images, texts, strict=True)]
