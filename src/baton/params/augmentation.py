"""`augmentation`: how training samples are varied, as a function of (seed, epoch, sample id).

A section for images and spectrograms, or one for texts: they are told apart by their keys.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from baton.params.fields import Count, Section

Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0)]


class PaddedCrop(Section):
    """Pad each side of the stored image by `padding` black pixels, then crop its original size at random."""

    kind: Literal["padded"]
    padding: Count


class ResizedCrop(Section):
    """A random crop, resized (Szegedy et al. 2015).

    `scale` is its share of the image's area, `ratio` its width over its height. It is cut from the stored
    image, which `tokenize` has already cropped to the input's aspect ratio if the data config's crop_mode is
    `center`.
    """

    kind: Literal["resized"]
    scale: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]
    ratio: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class ColourJitter(Section):
    """Random brightness, contrast, saturation (factors in 1 ± x) and hue (turned by up to x of a circle)."""

    brightness: Strength
    contrast: Strength
    saturation: Strength
    hue: Annotated[float, Field(ge=0, le=0.5)]


class RandAugment(Section):
    """`operations` per sample, drawn from a fixed list, at a `magnitude` of 0 to 30 (Cubuk et al. 2020)."""

    operations: Count
    magnitude: Annotated[int, Field(ge=0, le=30)]


class Masks(Section):
    """Masks of a spectrogram (SpecAugment, Park et al. 2019): stripes that become grey, the mean value.

    `time` of them are up to `frames` wide, and `frequency` of them up to `bands` high; each width is drawn
    uniformly from 0 to the most.
    """

    time: Annotated[int, Field(ge=0)]
    frames: Count
    frequency: Annotated[int, Field(ge=0)]
    bands: Count


class Augmentation(Section):
    """The augmentations of images and spectrograms, applied in this order.

    `mixup` (Zhang et al. 2018) and `cutmix` (Yun et al. 2019) are the alpha of their Beta distributions, 0
    for off; with both on, a fair coin picks one of them for each sample.
    """

    crop: Annotated[PaddedCrop | ResizedCrop, Field(discriminator="kind")] | None
    flip: Probability  # left to right
    rotation: Annotated[float, Field(ge=0, le=180)]  # degrees in either direction
    colour: ColourJitter | None
    randaugment: RandAugment | None
    erasing: Probability  # of erasing a random rectangle (Zhong et al. 2020)
    masks: Masks | None = None  # of spectrograms, only of them
    mixup: Strength
    cutmix: Strength


class TextAugmentation(Section):
    """The augmentations of texts with one answer each, in the order swap, delete, mask, mixup.

    The first three are probabilities of each token: `swap`, that it changes places with another of the same
    text; `delete`, that it is left out (both: EDA, Wei & Zou 2019, arXiv:1901.11196); `mask`, that the
    tokenizer's mask token, or without one its unknown token, takes its place. One token of a text always
    stays. `mixup` mixes the embeddings of a sample's tokens with those of another (wordMixup, Guo et al.
    2019, arXiv:1905.08941); it is the alpha of a Beta distribution, 0 for off.
    """

    delete: Annotated[float, Field(ge=0, lt=1)]
    swap: Probability
    mask: Annotated[float, Field(ge=0, lt=1)]
    mixup: Strength


def _of_what(value: Any) -> str:
    """Return what a section of `augmentation` is for, by its keys; one that only images have is enough."""
    if not isinstance(value, dict):
        return "texts" if isinstance(value, TextAugmentation) else "images"
    of_images = set(Augmentation.model_fields) - set(TextAugmentation.model_fields)
    return "images" if of_images & set(value) else "texts"


AnyAugmentation = Annotated[
    Annotated[Augmentation, Tag("images")] | Annotated[TextAugmentation, Tag("texts")],
    Discriminator(_of_what),
]
