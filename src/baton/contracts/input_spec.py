"""What a model reads, as `input` in meta.json and baton.json: a union tagged by `kind`.

`tokenize` makes the description from params and the base model; every later stage, the gate and served models
read it. `match` on its type chooses what each package does for a kind of input. Served models carry this
module, so it imports neither torch nor params.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from baton.errors import DataError

HINT = "run `dvc repro`, which writes it again; if a later version of Baton wrote it, update Baton"


@dataclass(frozen=True)
class Head:
    """Read the first tokens of a document that is too long."""

    kind: Literal["head"] = "head"


@dataclass(frozen=True)
class Tail:
    """Read the last tokens of a document that is too long."""

    kind: Literal["tail"] = "tail"


@dataclass(frozen=True)
class HeadTail:
    """Read the first and the last tokens of a document that is too long; `head` is the share of the first."""

    head: float
    kind: Literal["head_tail"] = "head_tail"


@dataclass(frozen=True)
class Windows:
    """Read a document that is too long in at most `most` windows; neighbours share `overlap` tokens."""

    most: int
    overlap: int
    kind: Literal["windows"] = "windows"


Truncation = Head | Tail | HeadTail | Windows


@dataclass(frozen=True)
class TextInput:
    """Documents as token ids."""

    max_length: int  # tokens read at once, including special ones
    truncation: Truncation
    pad: int  # the padding token's id
    pair: bool = False  # whether each document is a pair of texts
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class ImageInput:
    """Images as pixels; heights come before widths."""

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]  # (channels,), of values from 0 to 1, as is `std`
    std: tuple[float, ...]
    interpolation: str
    crop_fraction: float  # the part of an image's shorter side that is read
    crop_mode: Literal["center", "squash", "border"]
    significant_bits: int = 16  # used by 16-bit images whose files do not say
    kind: Literal["images"] = "images"


@dataclass(frozen=True)
class AudioInput:
    """Clips of sound as the log-mel spectrogram of `seconds` of them (see `sounds.log_mel`).

    A spectrogram is stored as a grey image of `bands` x `frames` pixels, the lowest band first. With several
    `parts`, validation, test and a served model read as many as a longer clip fills, evenly spaced, and
    average the logits; training reads the `part`.
    """

    sample_rate: int  # Hz, to which clips are resampled
    seconds: float  # of a clip that are read; a shorter one is followed by silence
    part: Literal["head", "centre"]  # which part of a longer clip
    bands: int  # mel bands
    window: int  # samples of a Fourier transform
    hop: int  # samples between two of them
    parts: int = 1  # of `seconds`, at most, in which evaluation reads a longer clip
    kind: Literal["audio"] = "audio"

    @property
    def samples(self) -> int:
        """The number of samples that are read."""
        return round(self.seconds * self.sample_rate)

    @property
    def frames(self) -> int:
        """The width of a spectrogram."""
        return self.samples // self.hop

    @property
    def picture(self) -> ImageInput:
        """The spectrogram as an image that is neither resized nor cropped; values 0 to 1 become -1 to 1."""
        return ImageInput((self.bands, self.frames), 1, (0.5,), (0.5,), "bilinear", 1.0, "squash")


@dataclass(frozen=True)
class ImageTextInput:
    """An image and a text in each row, read by an encoder each."""

    image: ImageInput
    text: TextInput
    kind: Literal["image_text"] = "image_text"


InputSpec = TextInput | ImageInput | AudioInput | ImageTextInput

ENCODERS = ("image", "text")  # the folders of their files in a base model and in a model
OPTIONAL = {"significant_bits", "pair", "parts"}  # left out if it is the default


def described(spec: InputSpec) -> dict[str, Any]:
    """Return a description as it is written to JSON files."""
    match spec:
        case TextInput():
            raw = _tagged(spec) | {"truncation": _tagged(spec.truncation)}
            if not spec.pair:
                del raw["pair"]
            return raw
        case ImageInput():
            raw = _tagged(spec)
            if spec.significant_bits == ImageInput.significant_bits:
                del raw["significant_bits"]
            return raw
        case AudioInput():
            raw = _tagged(spec)
            if spec.parts == AudioInput.parts:
                del raw["parts"]
            return raw
        case ImageTextInput():
            return {"kind": spec.kind, "image": described(spec.image), "text": described(spec.text)}


def read(raw: Mapping[str, Any], source: str = "the description of a model's input") -> InputSpec:
    """Return the input that a JSON file describes.

    Args:
        raw: the result of `described`.
        source: the file and key, for the error message.

    Raises:
        DataError: The kind is unknown, or keys are missing or unknown.
    """
    match raw.get("kind"):
        case "text":
            own = _settings(TextInput, raw, source)
            return TextInput(**own | {"truncation": truncation(own["truncation"], f"{source}.truncation")})
        case "images":
            own = _settings(ImageInput, raw, source)
            return ImageInput(**own | {name: tuple(own[name]) for name in ("size", "mean", "std")})
        case "audio":
            return AudioInput(**_settings(AudioInput, raw, source))
        case "image_text":
            own = _settings(ImageTextInput, raw, source)
            image, text = (read(own[name], f"{source}.{name}") for name in ENCODERS)
            if not isinstance(image, ImageInput) or not isinstance(text, TextInput):
                got = f"image of kind {image.kind}, text of kind {text.kind}"
                raise DataError(f"{source} has unknown parts", got=got, expected="images and text", hint=HINT)
            return ImageTextInput(image, text)
        case kind:
            expected = "text, images, audio or image_text"
            raise DataError(f"{source} has an unknown kind", got=kind or "none", expected=expected, hint=HINT)


def truncation(raw: Mapping[str, Any], source: str = "the description of a truncation") -> Truncation:
    """Return the truncation that params or a JSON file describe, in the same keys.

    Raises:
        DataError: The kind is unknown, or keys are missing or unknown.
    """
    match raw.get("kind"):
        case "head":
            return Head(**_settings(Head, raw, source))
        case "tail":
            return Tail(**_settings(Tail, raw, source))
        case "head_tail":
            return HeadTail(**_settings(HeadTail, raw, source))
        case "windows":
            return Windows(**_settings(Windows, raw, source))
        case kind:
            expected = "head, tail, head_tail or windows"
            raise DataError(f"{source} has an unknown kind", got=kind or "none", expected=expected, hint=HINT)


def _tagged(spec: InputSpec | Truncation) -> dict[str, Any]:
    """Return the fields in the order of the files: `kind` first."""
    own = asdict(spec)
    return {"kind": own.pop("kind")} | {
        name: list(value) if isinstance(value, tuple) else value for name, value in own.items()
    }


def _settings(
    kind: type[InputSpec] | type[Truncation], raw: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """Return the values of the fields, if `raw` has all of them and no others."""
    names = {field.name for field in fields(kind)}
    if not names - OPTIONAL <= set(raw) <= names:
        raise DataError(
            f"{source} has an unknown layout",
            got=", ".join(sorted(raw)),
            expected=", ".join(sorted(names - OPTIONAL)),
            hint=HINT,
        )
    return dict(raw)
