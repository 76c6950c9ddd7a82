"""data/arrays as training, prediction and evaluation see it, whatever it holds: the place that knows both modalities.

Input: what `tokenize` wrote, whose `meta.json` says of what kind it is. Output: a `Split` for each of train, val and test.
"""

import base64
from functools import partial
from pathlib import Path
from typing import Any

from baton import params, storage
from baton.arrays import text_arrays
from baton.batches.sampler import Split
from baton.batches.text_batches import TextSplit
from baton.errors import DataError

SPLITS = text_arrays.SPLITS


def read_meta(folder: Path) -> dict[str, Any]:
    """`labels`, and `input`: what a model must know of its input.

    Raises:
        DataError: there is none, or it was written by an earlier version.
    """
    path = folder / "meta.json"
    hint = "run `dvc repro tokenize`"
    if not path.is_file():
        raise DataError(f"{path} is missing", expected="what `tokenize` writes", hint=hint)
    meta: dict[str, Any] = storage.read_json(path)
    if "input" not in meta or (meta["input"]["kind"] == "text" and "truncation" not in meta["input"]):
        raise DataError(
            f"{path} has another layout", got=", ".join(meta), expected="labels and input", hint=hint
        )
    return meta


def open_splits(folder: Path, augmentation: params.Augmentation | None = None) -> dict[str, Split]:
    """Memory-map every split; images are varied by `augmentation` where training asks for batches.

    Raises:
        DataError: a file is missing or does not fit the others.
    """
    meta = read_meta(folder)
    if meta["input"]["kind"] == "text":
        return {
            split: TextSplit(text_arrays.open_arrays(folder, split), meta["input"]["pad"]) for split in SPLITS
        }
    from baton.arrays import image_arrays
    from baton.batches import image_batches  # torchvision, which text does not need

    return {
        split: image_batches.ImageSplit(
            image_arrays.open_arrays(folder, split),
            partial(read_ids, folder, split),
            meta["input"],
            augmentation,
            len(meta["labels"]),
        )
        for split in SPLITS
    }


def read_ids(folder: Path, split: str) -> list[str]:
    """Row ids of one split, in the arrays' order."""
    return text_arrays.read_ids(folder, split)


def examples(split: Split, model: Path, described: dict[str, Any], count: int = 2) -> list[str]:
    """A few samples as a served model takes them: texts decoded from their tokens, or pictures as PNG in base64.

    Args:
        split: of data/arrays.
        model: the folder with the tokenizer.
        described: the `input` of `read_meta`.
        count: how many at most.
    """
    if isinstance(split, TextSplit):
        tokenizer, own = text_arrays.open_tokenizer(model, described["max_length"]), split.arrays
        first = range(len(own)) if own.documents is None else own.documents  # window of each
        return [
            tokenizer.decode(own.tokens[own.offsets[i] : own.offsets[i + 1]].tolist())
            for i in first[: min(count, len(own))]
        ]
    from baton.batches import image_batches
    from baton.images import decoding

    assert isinstance(split, image_batches.ImageSplit)
    return [
        base64.b64encode(decoding.encode(split.arrays.picture(row))).decode()
        for row in range(min(count, len(split)))
    ]
