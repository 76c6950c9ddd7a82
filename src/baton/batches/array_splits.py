"""Access to data/arrays for training, prediction and evaluation, with texts or images.

Input: the output of `tokenize`, whose `meta.json` states its kind. Output: a `Split` for each of train, val
and test.
"""

import base64
from functools import partial
from pathlib import Path
from typing import Any

from baton import params, storage
from baton.arrays import text_arrays
from baton.batches.sampler import Split
from baton.batches.text_batches import TextSplit
from baton.contracts import input_spec, task_spec
from baton.contracts.input_spec import ImageInput, InputSpec, TextInput
from baton.errors import DataError
from baton.texts import document_windows

SPLITS = text_arrays.SPLITS


def read_meta(folder: Path) -> dict[str, Any]:
    """Read meta.json: `task` (a `TaskSpec`) and `input` (an `InputSpec`).

    Raises:
        DataError: If the file is missing or was written by an earlier version.
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
    return meta | {
        "task": task_spec.read(meta),
        "input": input_spec.read(meta["input"], f"{path}: input"),
    }


def open_splits(folder: Path, augmentation: params.Augmentation | None = None) -> dict[str, Split]:
    """Memory-map every split; `augmentation` applies to training batches of images.

    Raises:
        DataError: If a file is missing or does not match the others.
    """
    meta = read_meta(folder)
    reads: InputSpec = meta["input"]
    match reads:
        case TextInput(pad=pad):
            return {
                split: TextSplit(text_arrays.open_arrays(folder, split, meta["task"]), pad)
                for split in SPLITS
            }
        case ImageInput():
            from baton.arrays import image_arrays
            from baton.batches import image_batches  # imports torchvision, which text does not need

            return {
                split: image_batches.ImageSplit(
                    image_arrays.open_arrays(folder, split, meta["task"]),
                    partial(read_ids, folder, split),
                    reads,
                    augmentation,
                )
                for split in SPLITS
            }


def read_ids(folder: Path, split: str) -> list[str]:
    """Return the row ids of one split, in the arrays' order."""
    return text_arrays.read_ids(folder, split)


def examples(split: Split, model: Path, reads: InputSpec, count: int = 2) -> list[str]:
    """Return a few samples as a served model takes them: texts decoded from tokens, or images as base64 PNG.

    Args:
        split: a split of data/arrays.
        model: the folder with the tokenizer.
        reads: the `input` of `read_meta`.
        count: the most samples to return.
    """
    match reads:
        case TextInput(max_length=max_length):
            assert isinstance(split, TextSplit)
            tokenizer, own = document_windows.open_tokenizer(model, max_length), split.arrays
            first = range(len(own)) if own.documents is None else own.documents  # documents' first windows
            return [
                tokenizer.decode(own.tokens[own.offsets[i] : own.offsets[i + 1]].tolist())
                for i in first[: min(count, len(own))]
            ]
        case ImageInput():
            from baton.batches import image_batches
            from baton.images import decoding

            assert isinstance(split, image_batches.ImageSplit)
            return [
                base64.b64encode(decoding.encode(split.arrays.picture(row))).decode()
                for row in range(min(count, len(split)))
            ]
