"""`tokenize`: from clean tables to token ids, to pixels, or to spectrograms."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from baton.params.fields import Count, Section, Share

MOST_PIXELS = 2**22  # of a spectrogram: Whisper's 30 s have 2**18


class Unknown(Section):
    """Shares of tokens unknown to the tokenizer.

    A split or class above `named` is reported; a split above `refused` stops the stage.
    """

    named: Annotated[float, Field(ge=0, le=1)]
    refused: Annotated[float, Field(ge=0, le=1)]


class HeadTruncation(Section):
    """Keep the first `max_length` tokens."""

    kind: Literal["head"]


class TailTruncation(Section):
    """Keep the last `max_length` tokens."""

    kind: Literal["tail"]


class HeadTailTruncation(Section):
    """Keep the first and the last tokens; `head` is the share of the first ones."""

    kind: Literal["head_tail"]
    head: Share


class WindowsTruncation(Section):
    """Read at most `most` windows of `max_length` tokens and average their features.

    Neighbouring windows share `overlap` tokens.
    """

    kind: Literal["windows"]
    most: Annotated[int, Field(ge=2)]
    overlap: Annotated[int, Field(ge=0)]


Truncation = Annotated[
    HeadTruncation | TailTruncation | HeadTailTruncation | WindowsTruncation, Field(discriminator="kind")
]


class AutoLength(Section):
    """A length from `least` to `most` that leaves a share `whole` of the train documents untruncated.

    A pass over train reads at most `tokens` tokens. If that would be exceeded, fewer windows and fewer tokens
    at once are read, but not fewer than `least` tokens of a document.
    """

    kind: Literal["auto"]
    whole: Annotated[float, Field(gt=0, le=1)]
    least: Annotated[int, Field(ge=16, multiple_of=16)]
    most: Annotated[int, Field(ge=16, multiple_of=16)]
    tokens: Count

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) must not be more than most ({self.most})")
        return self


def _is_auto(value: object) -> str:
    return "auto" if isinstance(value, dict | AutoLength) else "number"


Length = Annotated[
    Annotated[int, Field(ge=8), Tag("number")] | Annotated[AutoLength, Tag("auto")], Discriminator(_is_auto)
]


class TextTokenize(Section):
    """Clean text -> memory-mapped token ids.

    `max_length` includes special tokens; `chunk_size` is in documents.
    """

    kind: Literal["text"]
    max_length: Length
    truncation: Truncation
    unknown: Unknown
    chunk_size: Count

    @model_validator(mode="after")
    def _room(self) -> Self:
        least = self.max_length.least if isinstance(self.max_length, AutoLength) else self.max_length
        if isinstance(self.truncation, WindowsTruncation) and self.truncation.overlap > least // 2:
            raise ValueError(
                f"truncation.overlap {self.truncation.overlap} must be at most {least // 2}, "
                "half of max_length"
            )
        return self


class ImageTokenize(Section):
    """Clean images -> memory-mapped pixels.

    `size` is the side of the model's input in pixels, and `crop_fraction` the part of an image's shorter
    side that it sees; null takes them from the base model's data config. `chunk_size` is in images.
    """

    kind: Literal["images"]
    size: Annotated[int, Field(gt=0, le=4096)] | None
    crop_fraction: Annotated[float, Field(gt=0, le=1)] | None
    channels: Literal[1, 3]
    chunk_size: Count


class AudioTokenize(Section):
    """Clean clips -> memory-mapped log-mel spectrograms, which models read as grey images.

    Clips are resampled to `sample_rate` (Hz); `part` says which `seconds` of a longer clip are read, and a
    shorter one is followed by silence. With several `parts`, validation, test and a served model read as many
    of a longer clip as it fills, but no more than these, and average their logits. `window` is the length of
    a Fourier transform and `hop` the distance between two, in samples: a spectrogram is `bands` x (seconds *
    sample_rate / hop) pixels. `chunk_size` is in clips.
    """

    kind: Literal["audio"]
    sample_rate: Annotated[int, Field(ge=4000, le=192_000)]
    seconds: Annotated[float, Field(gt=0, le=600)]
    part: Literal["head", "centre"]
    parts: Annotated[int, Field(ge=1, le=100)]
    bands: Annotated[int, Field(ge=2, le=512)]
    window: Annotated[int, Field(ge=16, le=65_536)]
    hop: Count
    chunk_size: Count

    @model_validator(mode="after")
    def _frames(self) -> Self:
        if self.hop > self.window:
            raise ValueError(
                f"hop ({self.hop}) must not exceed window ({self.window}), or samples would be skipped"
            )
        if round(self.seconds * self.sample_rate) < self.window:
            raise ValueError(f"seconds ({self.seconds}) must be at least one window of {self.window} samples")
        if self.bands > self.window // 2:
            raise ValueError(f"bands ({self.bands}) must not exceed half of window ({self.window})")
        pixels = self.bands * (round(self.seconds * self.sample_rate) // self.hop)
        if pixels > MOST_PIXELS:
            raise ValueError(
                f"a spectrogram would have {pixels:,} pixels, more than {MOST_PIXELS:,}: lower seconds, "
                "sample_rate or bands, or raise hop"
            )
        return self


class ImageTextTokenize(Section):
    """Clean images with texts -> memory-mapped pixels and token ids, each as its own section says."""

    kind: Literal["image_text"]
    image: ImageTokenize
    text: TextTokenize


Tokenize = Annotated[
    TextTokenize | ImageTokenize | AudioTokenize | ImageTextTokenize, Field(discriminator="kind")
]
