"""`tokenize`: from clean tables to token ids, or to pixels."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from baton.params.fields import Count, Section, Share


class Unknown(Section):
    """Shares of tokens that the tokenizer does not know: a split or class above `named` is; a split above `refused` stops the stage."""

    named: Annotated[float, Field(ge=0, le=1)]
    refused: Annotated[float, Field(ge=0, le=1)]


class HeadTruncation(Section):
    """The first `max_length` tokens."""

    kind: Literal["head"]


class TailTruncation(Section):
    """The last ones."""

    kind: Literal["tail"]


class HeadTailTruncation(Section):
    """The first and the last ones; `head` is the share of the first."""

    kind: Literal["head_tail"]
    head: Share


class WindowsTruncation(Section):
    """All of them: at most `most` windows of `max_length` tokens, of which neighbours share `overlap`; their features are averaged."""

    kind: Literal["windows"]
    most: Annotated[int, Field(ge=2)]
    overlap: Annotated[int, Field(ge=0)]


Truncation = Annotated[
    HeadTruncation | TailTruncation | HeadTailTruncation | WindowsTruncation, Field(discriminator="kind")
]


class AutoLength(Section):
    """From `least` to `most`, chosen so that `whole` of train's documents are not cut, if a pass over train is at most `tokens` tokens.

    Where that is too many, fewer windows and fewer tokens at once are read, but not less than `least` tokens of a document.
    """

    kind: Literal["auto"]
    whole: Annotated[float, Field(gt=0, le=1)]
    least: Annotated[int, Field(ge=16, multiple_of=16)]
    most: Annotated[int, Field(ge=16, multiple_of=16)]
    tokens: Count

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least is {self.least}, more than most, {self.most}")
        return self


def _is_auto(value: object) -> str:
    return "auto" if isinstance(value, dict | AutoLength) else "number"


Length = Annotated[
    Annotated[int, Field(ge=8), Tag("number")] | Annotated[AutoLength, Tag("auto")], Discriminator(_is_auto)
]


class TextTokenize(Section):
    """Clean text -> memory-mapped token ids. `max_length` counts special tokens; `chunk_size` is in documents."""

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
                f"truncation.overlap {self.truncation.overlap} must be at most half of max_length, {least // 2}"
            )
        return self


class ImageTokenize(Section):
    """Clean images -> memory-mapped pixels.

    `size` is the side in pixels of what the model reads, and `crop_fraction` the part of a picture's shorter side that it sees; null: as
    the base model's data config says. `chunk_size` is in images.
    """

    kind: Literal["images"]
    size: Count | None
    crop_fraction: Annotated[float, Field(gt=0, le=1)] | None
    channels: Literal[1, 3]
    chunk_size: Count


Tokenize = Annotated[TextTokenize | ImageTokenize, Field(discriminator="kind")]
