"""`augmentation`: how training images are varied, as a function of (seed, epoch, sample id)."""

from typing import Annotated, Literal

from pydantic import Field

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
