"""`preprocess`: from raw files to one clean table per split."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from baton.params.fields import Count, Policy, Section, Seed, Share


def _encoding(value: str) -> str:
    if value != "auto":
        try:
            "".encode(value).decode(value)
        except LookupError:
            raise ValueError(
                "must be `auto` or an encoding that Python knows, such as utf-8, windows-1252 or shift_jis"
            ) from None
    return value


def _delimiter(value: str) -> str:
    if value != "auto" and (len(value) != 1 or value in "\r\n"):
        raise ValueError("must be one character, or `auto`")
    return value


Encoding = Annotated[str, AfterValidator(_encoding)]
Character = Annotated[str, Field(min_length=1, max_length=1)]


class DelimitedFormat(Section):
    """CSV or TSV.

    `columns` names the columns if the file itself does not; `skip_lines` skips foreign header lines.
    `delimiter: auto` picks the one with which the header yields the columns. `encoding: auto` is UTF-8 (or
    UTF-16 if the file declares it), or a guess if it is certain. `escape` is the character before a literal
    quote, if quotes are not doubled. `encoding` and `escape` have defaults so that older params still load;
    every recipe sets them.
    """

    kind: Literal["delimited"]
    encoding: Encoding = "auto"
    delimiter: Annotated[str, AfterValidator(_delimiter)]
    quote: Character | None
    escape: Character | None = None
    skip_lines: Annotated[int, Field(ge=0)]
    columns: tuple[str, ...] | None

    @model_validator(mode="after")
    def _told_apart(self) -> "DelimitedFormat":
        used = [one for one in (self.delimiter, self.quote, self.escape) if one is not None]
        if len(set(used)) < len(used):
            raise ValueError("delimiter, quote and escape must be different characters")
        return self


class ParquetFormat(Section):
    """Apache Parquet."""

    kind: Literal["parquet"]


class JsonLinesFormat(Section):
    """One JSON object per line. `encoding` is as in the delimited format, with the same default."""

    kind: Literal["jsonl"]
    encoding: Encoding = "auto"


class DocumentsFormat(Section):
    """One text per file, in a folder of files: the column `text`.

    `folder` is the folder of the text, such as its class, and `file` its name without suffix. `encoding:
    auto` is UTF-8, or UTF-16 or UTF-32 if a file declares it.
    """

    kind: Literal["documents"]
    encoding: Encoding


def _pattern(value: str) -> str:
    try:
        names = re.compile(value).groupindex
    except re.error as error:
        raise ValueError(f"is not a regular expression of Python: {error}") from None
    if not names:
        raise ValueError("must have named groups, such as (?P<label>[a-z]+), which are the columns")
    return value


class LinesFormat(Section):
    """One row per line, whose named groups in the regular expression `pattern` are its columns.

    A line that the pattern does not match from its beginning is malformed.
    """

    kind: Literal["lines"]
    encoding: Encoding
    skip_lines: Annotated[int, Field(ge=0)]
    pattern: Annotated[str, AfterValidator(_pattern)]


class ConllFormat(Section):
    """One token per line, with its tag in one of the `columns`; a blank line ends a text.

    `text_column` and `label_column` name those of tokens and tags. `separator` stands between columns; null:
    any white space.
    """

    kind: Literal["conll"]
    encoding: Encoding
    separator: Annotated[str, Field(min_length=1)] | None
    columns: Annotated[tuple[str, ...], Field(min_length=2)]


class TokenXmlFormat(Section):
    """An XML element per text, in which an element per token has the tag as its name.

    The columns are `token` and `tag`.
    """

    kind: Literal["token_xml"]
    element: Annotated[str, Field(min_length=1)]


Format = Annotated[
    DelimitedFormat
    | ParquetFormat
    | JsonLinesFormat
    | DocumentsFormat
    | LinesFormat
    | ConllFormat
    | TokenXmlFormat,
    Field(discriminator="kind"),
]


class ByShare(Section):
    """A share of the rows."""

    kind: Literal["share"]
    share: Share


class ByCount(Section):
    """A number of rows."""

    kind: Literal["count"]
    count: Count


Portion = Annotated[ByShare | ByCount, Field(discriminator="kind")]


class OtherClass(Section):
    """Merge small classes into one with this name."""

    other: Annotated[str, Field(min_length=1)]

    def __str__(self) -> str:
        return f"other: {self.other}"


class RowChecks(Section):
    """The policies for rows with a defect.

    `drop` removes them from train and validation, and from test only if a row cannot be scored at all
    (malformed, invalid_utf8, empty, unreadable, enormous, missing_label, unseen_label); `report.json` lists
    each by id. `keep` only reports them; `fail` stops the stage. A row that cannot be read or has no label
    cannot be kept. `similar_labels` are spellings that look alike (`spam` and `Spam`, 1 and 01) or like a
    missing value (`nan`); `continuous_labels` are numbers that look like regression targets; neither drops
    rows. These two and `near_duplicate` have defaults so that older params still load; every recipe sets
    them.

    `near_duplicate` finds rows that are nearly identical to an earlier row of their file or to a row of a
    later split. Under any policy, near duplicates stay together when splits are cut, and `report.json` lists
    the test rows that have one in train or val.

    `small_class` finds classes with too few distinct texts (or images) to put one into every split that is
    cut. `drop` removes the class from all files, `train_only` leaves it in train (none of it is moved to
    other splits; rows of the validation and test files stay), and `{other: NAME}` merges such classes into
    one.
    """

    malformed: Literal["drop", "fail"]
    missing_label: Literal["drop", "fail"]
    similar_labels: Literal["keep", "fail"] = "fail"
    continuous_labels: Literal["keep", "fail"] = "fail"
    unseen_label: Policy
    duplicate: Policy
    leakage: Policy
    near_duplicate: Policy = "keep"
    conflict: Policy
    small_class: Policy | Literal["train_only"] | OtherClass
    drift: Literal["keep", "fail"]


class Checks(RowChecks):
    """The checks of texts.

    `group_leakage` finds train rows whose group is also in val or test; `time_leakage` finds those that are
    not earlier than val and test (if params name such a column). Dropping them loses data, so `max_dropped`
    counts them. Both have defaults so that older params still load; every recipe sets them.
    """

    invalid_utf8: Policy
    mojibake: Policy
    empty: Policy
    group_leakage: Policy = "drop"
    time_leakage: Policy = "drop"


class ImageChecks(RowChecks):
    """The checks of images.

    `unreadable` finds images that cannot be decoded completely, `enormous` those with more than `max_pixels`;
    neither can be kept. `misnamed` finds images in a different format than their name says, `animated` those
    with several frames (the first is used), and `transparent` those whose pixels are all transparent (`drop`
    if an older recipe does not set it).
    """

    unreadable: Literal["drop", "fail"]
    enormous: Literal["drop", "fail"]
    misnamed: Policy
    animated: Policy
    transparent: Policy = "drop"


class AudioChecks(RowChecks):
    """The checks of clips of sound.

    `unreadable` finds clips that cannot be decoded completely, `enormous` those longer than `max_seconds`;
    neither can be kept. `misnamed` finds clips in a different format than their name says, `silent` those
    without sound, and `clipped` those that were recorded too loud.
    """

    unreadable: Literal["drop", "fail"]
    enormous: Literal["drop", "fail"]
    misnamed: Policy
    silent: Policy
    clipped: Policy


class ImageTextChecks(ImageChecks):
    """The checks of images with a text each.

    A row is a `duplicate` of another, or in `conflict` with it, if both its image and its text are the same.
    `leakage` and `near_duplicate` go by the image alone: rows of one image stay in one split.
    """

    invalid_utf8: Policy
    mojibake: Policy
    empty: Policy


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

    rows: Annotated[float, Field(ge=0, le=1)] = 0.01
    rows_of_class: Annotated[float, Field(ge=0, le=1)] = 0.05


class Cutting(Section):
    """The keys that all kinds of input share: raw files -> one clean table per split."""

    # Several, for numbers, are the numbers of a row.
    label_column: str | Annotated[tuple[str, ...], Field(min_length=1)]
    label_names: dict[str, str]
    validation: Portion
    test: Portion
    limit: Limit
    seed: Seed
    max_dropped: MaxDropped = MaxDropped()  # a default so that older params still load; every recipe sets it


TAKEN = {"id", "text", "text_pair", "label", "weight"}  # columns of the clean tables
OF_TABLES = ("text_pair_column", "keep_columns", "group_column", "time_column", "weight_column")


class TextPreprocess(Cutting):
    """Raw files of text."""

    kind: Literal["text"]
    format: Format
    # Several columns are joined into one text, with an empty line between them.
    text_column: str | Annotated[tuple[str, ...], Field(min_length=1)]
    text_pair_column: str | None  # the second text, if rows are pairs of texts
    keep_columns: tuple[str, ...] = ()  # copied to the clean tables, for figures by slice
    # Rows of one group (a patient, an author, a thread) are never in two splits.
    group_column: str | None = None
    time_column: str | None = None  # splits are cut by time: train is earlier than val, val than test
    weight_column: str | None = None  # weight of a row in training
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
    the 16 that PNG and TIFF store; `auto`, also the default for older recipes, derives the camera's 8, 10,
    12, 14 or 16 bits from the greatest value in the train file.
    """

    content_key: ClassVar[str] = "image_column"
    thing: ClassVar[str] = "image"

    image_column: str
    max_pixels: Count
    significant_bits: Literal["auto"] | Annotated[int, Field(ge=8, le=16)] = "auto"


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
