"""`preprocess`: from raw files to one clean table per split."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from baton.params.episodes import NovelClasses
from baton.params.fields import Count, Section, Seed, Share
from baton.params.formats import Format
from baton.params.row_checks import AudioChecks, Checks, ImageChecks, ImageTextChecks


class ByShare(Section):
    """A share of the rows."""

    kind: Literal["share"]
    share: Share


class ByCount(Section):
    """A number of rows."""

    kind: Literal["count"]
    count: Count


Portion = Annotated[ByShare | ByCount, Field(discriminator="kind")]


class Limit(Section):
    """The largest number of rows (stratified, seeded) after cleaning; null for all.

    `train` counts the rows from which validation is then cut.
    """

    train: Count | None
    test: Count | None


class MaxDropped(Section):
    """The largest shares of the rows of a raw file and of each of its classes that checks may drop.

    Above them the stage stops. Repeated rows do not count, and a single row never stops the stage. See
    `baton.tables.dropped_rows`.
    """

    rows: Annotated[float, Field(ge=0, le=1)]
    rows_of_class: Annotated[float, Field(ge=0, le=1)]


class Cutting(Section):
    """The keys that all kinds of input share: raw files -> one clean table per split."""

    # Several, for numbers, are the numbers of a row.
    label_column: str | Annotated[tuple[str, ...], Field(min_length=1)]
    label_names: dict[str, str]
    validation: Portion
    test: Portion
    limit: Limit
    # The rows of each class of train that keep their labels, after `limit`; validation is cut from these, and
    # a validation file is cut to as many. Other rows of train become rows without labels. null: all.
    shots: Annotated[int, Field(ge=2)] | None
    seed: Seed
    max_dropped: MaxDropped


TAKEN = {"id", "text", "text_pair", "label", "weight"}  # columns of the clean tables
OF_TABLES = ("text_pair_column", "keep_columns", "group_column", "time_column", "weight_column")


class TextPreprocess(Cutting):
    """Raw files of text."""

    kind: Literal["text"]
    format: Format
    # Several columns are joined into one text, with an empty line between them.
    text_column: str | Annotated[tuple[str, ...], Field(min_length=1)]
    text_pair_column: str | None  # the second text, if rows are pairs of texts
    keep_columns: tuple[str, ...]  # copied to the clean tables, for figures by slice
    # Rows of one group (a patient, an author, a thread) are never in two splits.
    group_column: str | None
    time_column: str | None  # splits are cut by time: train is earlier than val, val than test
    weight_column: str | None  # weight of a row in training
    novel: NovelClasses | None = None  # classes whose rows are only for episodes
    checks: Checks

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if self.group_column is not None and self.time_column is not None:
            raise ValueError(
                "group_column and time_column cannot both be respected: rows of one group have different "
                "times; set one to null"
            )
        texts = [self.text_column] if isinstance(self.text_column, str) else list(self.text_column)
        texts += [self.text_pair_column] if self.text_pair_column is not None else []
        labels = [self.label_column] if isinstance(self.label_column, str) else list(self.label_column)
        if both := sorted(set(texts) & set(labels)):
            raise ValueError(
                f"label_column: {', '.join(both)} is also a text that the model reads; name another column"
            )
        if len(set(texts)) < len(texts):
            raise ValueError(f"text_column and text_pair_column name a column twice: {', '.join(texts)}")
        if taken := sorted(TAKEN & set(self.keep_columns)):
            raise ValueError(
                f"keep_columns: {', '.join(taken)} is already a column of the clean tables; rename it"
            )
        if len(set(self.keep_columns)) < len(self.keep_columns):
            raise ValueError("keep_columns names a column twice")
        return self


class FilesPreprocess(Cutting):
    """Raw tables of encoded files: images or sound."""

    kind: str
    content_key: ClassVar[str]  # the key of the column of files
    thing: ClassVar[str]  # what a file is, for messages

    @property
    def content_column(self) -> str:
        """The name of the column of files."""
        column: str = getattr(self, self.content_key)
        return column

    @property
    def label(self) -> str:
        """The label column; params refuse several for files."""
        assert isinstance(self.label_column, str)
        return self.label_column

    @model_validator(mode="before")
    @classmethod
    def _no_columns(cls, values: Any) -> Any:
        if isinstance(values, dict) and (named := [key for key in OF_TABLES if key in values]):
            raise ValueError(
                f"{', '.join(named)}: only tables of text have other columns; give one file per split instead"
            )
        return values


class OfImages(FilesPreprocess):
    """Raw Parquet tables of encoded images (bytes, or the hub's `{bytes, path}`).

    Images with more than `max_pixels` are not decoded. `significant_bits` is the number of bits used out of
    the 16 that PNG and TIFF store; `auto` derives the camera's 8, 10,
    12, 14 or 16 bits from the greatest value in the train file.
    """

    content_key: ClassVar[str] = "image_column"
    thing: ClassVar[str] = "image"

    image_column: str
    max_pixels: Count
    significant_bits: Literal["auto"] | Annotated[int, Field(ge=8, le=16)]


class ImagePreprocess(OfImages):
    """Tables of images."""

    kind: Literal["images"]
    checks: ImageChecks


class ImageTextPreprocess(OfImages):
    """Tables of images with a text each, in the column `text_column`."""

    kind: Literal["image_text"]
    text_column: str
    checks: ImageTextChecks


class AudioPreprocess(FilesPreprocess):
    """Raw Parquet tables of encoded clips of sound (bytes, or the hub's `{bytes, path}`).

    Clips that last longer than `max_seconds` are not decoded.
    """

    content_key: ClassVar[str] = "audio_column"
    thing: ClassVar[str] = "clip"

    kind: Literal["audio"]
    audio_column: str
    max_seconds: Annotated[float, Field(gt=0)]
    checks: AudioChecks


Preprocess = Annotated[
    TextPreprocess | ImagePreprocess | AudioPreprocess | ImageTextPreprocess, Field(discriminator="kind")
]
