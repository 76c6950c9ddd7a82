"""Models of images with texts when one of the two says nothing: what does each contribute?

Input: the test split -> the logits of teacher and student for the images alone (each text is empty) and for
the texts alone (each image is one colour, the mean of the encoder's data, which normalisation makes 0 but for
the rounding to one of the 256 levels of a pixel). A model is not trained for such rows, so a model trained on
one of the two may do better: baselines on one encoder's features show that.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baton import console
from baton.arrays.image_arrays import ImageArrays
from baton.arrays.text_arrays import TextArrays
from baton.batches.image_text_batches import ImageTextSplit
from baton.batches.text_batches import TextSplit
from baton.contracts.input_spec import ImageTextInput, TextInput
from baton.measure import result_cache
from baton.measure.measurements import MODELS, Subject
from baton.texts import document_windows

MEASURED = ("teacher", "student")
WHITE = 255


def logits(subject: Subject) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return model -> input that is left (image, text) -> its logits on test, of models that read both."""
    reads, test = subject.meta.input, subject.splits["test"]
    assert isinstance(reads, ImageTextInput)
    assert isinstance(test, ImageTextSplit)
    left = {"image": without_text(test, empty(reads.text)), "text": without_image(test, reads)}

    def measure() -> result_cache.Arrays:
        console.say(f"teacher and student on images alone, and on texts alone: {len(test):,} test rows")
        return {
            f"{name}.{part}": subject.logits(subject.load(name), split)
            for name in MEASURED
            for part, split in left.items()
        }

    known = subject.known(*(MODELS[name] for name in MEASURED), runtime=subject.machine.reasons)
    made = result_cache.arrays("blanking", known, measure)
    return {name: {part: made[f"{name}.{part}"] for part in left} for name in MEASURED}


def empty(reads: TextInput) -> list[int]:
    """Return the tokens that the teacher's tokenizer makes of an empty text: special ones."""
    tokenizer = document_windows.open_tokenizer(MODELS["teacher"] / "text", reads.max_length)
    (window,), _ = document_windows.frame(tokenizer).read([], reads.truncation)
    return window


def without_text(split: ImageTextSplit, tokens: Sequence[int]) -> ImageTextSplit:
    """Return the split with these tokens in place of every text."""
    rows = len(split)
    made = np.tile(np.array(tokens, np.int32), rows)
    arrays = TextArrays(made, np.arange(rows + 1) * len(tokens), split.targets)
    return dataclasses.replace(split, text=TextSplit(arrays, split.text.pad))


def without_image(split: ImageTextSplit, reads: ImageTextInput) -> ImageTextSplit:
    """Return the split with the mean colour in place of every image."""
    (height, width), rows = reads.image.size, len(split)
    colour = np.rint(WHITE * np.array(reads.image.mean)).astype(np.uint8)  # (channels,)
    pixels = np.broadcast_to(colour, (rows, height, width, len(colour)))  # a view: it takes no memory
    shapes = np.tile(np.array([height, width], np.int32), (rows, 1))
    arrays = ImageArrays(pixels, shapes, np.arange(rows + 1) * pixels[0].size, split.targets)
    return dataclasses.replace(split, image=dataclasses.replace(split.image, arrays=arrays))
