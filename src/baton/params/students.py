"""`distill.student`: the model that learns from the teacher."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from baton.params.fields import Argument, Section


def _ordered(layers: tuple[int, ...]) -> tuple[int, ...]:
    if not layers or list(layers) != sorted(set(layers)):
        raise ValueError(f"{list(layers)} must name at least one layer, each once, in ascending order")
    return layers


Layers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_ordered)]


class LayersStudent(Section):
    """Some of the teacher's layers, with its embeddings and head (as in DistilBERT, Sanh et al. 2019)."""

    kind: Literal["teacher_layers"]
    layers: Layers


class EncoderDecoderStudent(Section):
    """Some layers of the teacher's encoder and decoder (Shleifer & Rush 2020, arXiv:2010.13002)."""

    kind: Literal["encoder_decoder_layers"]
    encoder_layers: Layers
    decoder_layers: Layers


class TimmStudent(Section):
    """A timm architecture with its `arguments`, from scratch: a smaller ViT, or a convolutional network."""

    kind: Literal["timm"]
    architecture: str
    arguments: dict[str, Argument]


class BaseStudent(Section):
    """The model of `student_base`, with its own tokenizer; `layers` of its encoder, or all of them (null)."""

    kind: Literal["base"]
    layers: Layers | None


class WholeStudent(Section):
    """The teacher's encoder, with all its layers."""

    kind: Literal["whole"]


class ImageTextStudent(Section):
    """A student of each encoder of a teacher that reads images with texts."""

    kind: Literal["image_text"]
    image: Annotated[WholeStudent | LayersStudent | TimmStudent, Field(discriminator="kind")]
    text: Annotated[WholeStudent | LayersStudent, Field(discriminator="kind")]


Student = Annotated[
    LayersStudent | EncoderDecoderStudent | TimmStudent | BaseStudent | ImageTextStudent,
    Field(discriminator="kind"),
]
