"""Clean images with texts -> memory-mapped pixels and token ids.

The folder holds the arrays of `text_arrays`, ids and targets among them; those of `image_arrays` are in its
folder `image`, since both have offsets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from baton.arrays import image_arrays, text_arrays
from baton.arrays.image_arrays import ImageArrays
from baton.arrays.text_arrays import TextArrays
from baton.contracts.input_spec import ENCODERS, ImageTextInput
from baton.contracts.task_spec import TaskSpec
from baton.errors import DataError

IMAGE, TEXT = ENCODERS


@dataclass(frozen=True)
class ImageTextArrays:
    """One split, memory-mapped: row i is an image and a document."""

    image: ImageArrays
    text: TextArrays


def open_arrays(folder: Path, split: str, task: TaskSpec) -> ImageTextArrays:
    """Memory-map one split.

    Raises:
        DataError: If a file is missing or they do not match.
    """
    image = image_arrays.open_arrays(folder / IMAGE, split, task)
    text = text_arrays.open_arrays(folder, split, task)
    if len(image) != len(text):
        raise DataError(
            f"{folder}: the images and texts of {split} do not match",
            got=f"{len(image)} images, {len(text)} texts",
            expected="one of each in every row",
            hint="run `dvc repro --force tokenize`",
        )
    return ImageTextArrays(image, text)


def tokenize(
    table: Path,
    tokenizer: Tokenizer,
    reads: ImageTextInput,
    target: Path,
    chunk_sizes: tuple[int, int],
    advance: Callable[[int], object],
    task: TaskSpec,
) -> dict[str, Any]:
    """Write the arrays of one split into `target` and return the statistics of both parts.

    Args:
        table: `{split}.parquet`; its stem names the split.
        tokenizer: from `open_tokenizer`, of the text's encoder.
        reads: the model's input.
        target: an existing folder.
        chunk_sizes: images, and documents, at a time.
        advance: called with the number of rows done.
        task: the task, which names the column of targets.

    Raises:
        DataError: If an image cannot be decoded, which `preprocess` should have found.
    """
    (target / IMAGE).mkdir(exist_ok=True)
    images, documents = chunk_sizes
    seen = image_arrays.tokenize(table, reads.image, target / IMAGE, images, advance, task)
    read = text_arrays.tokenize(
        table, tokenizer, target, documents, lambda _: None, task, reads.text.truncation
    )
    return seen | read
