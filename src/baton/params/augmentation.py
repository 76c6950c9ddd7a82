"""`augmentation` of a training: how images are varied; what a sample gets is a function of (seed, epoch, sample id)."""

from typing import Annotated, Literal

from pydantic import Field

from baton.params.fields import Count, Section

Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0)]


class PaddedCrop(Section):
    """Pad each side by `padding` pixels of the stored picture, with black, and crop its own size at a random place."""

    kind: Literal["padded"]
    padding: Count


class ResizedCrop(Section):
    """A random part of the picture, of `scale` of its area and `ratio` of width to height, resized (Szegedy et al. 2015).

    Of the stored picture: where the data config's crop_mode is `center`, `tokenize` has cut it to the input's aspect already.
    """

    kind: Literal["resized"]
    scale: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]
    ratio: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class ColourJitter(Section):
    """Random brightness, contrast, saturation (factors from 1 - x to 1 + x) and hue (turned by up to x of a full circle)."""

    brightness: Strength
    contrast: Strength
    saturation: Strength
    hue: Annotated[float, Field(ge=0, le=0.5)]


class RandAugment(Section):
    """`operations` of a fixed list, drawn for each sample, at `magnitude` of 0 to 30 (Cubuk et al. 2020)."""

    operations: Count
    magnitude: Annotated[int, Field(ge=0, le=30)]


class Augmentation(Section):
    """How images are varied, in this order.

    `mixup` (Zhang et al. 2018) and `cutmix` (Yun et al. 2019) are the alpha of their Beta distribution, 0 for off; with both on, each
    sample gets one of them by a fair coin.
    """

    crop: Annotated[PaddedCrop | ResizedCrop, Field(discriminator="kind")] | None
    flip: Probability  # left to right
    rotation: Annotated[float, Field(ge=0, le=180)]  # degrees to either side
    colour: ColourJitter | None
    randaugment: RandAugment | None
    erasing: Probability  # of a random rectangle (Zhong et al. 2020)
    mixup: Strength
    cutmix: Strength
