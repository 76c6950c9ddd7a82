"""`preprocess`: from raw files to one clean table a split."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from baton.params.fields import Count, Policy, Section, Seed, Share


def _encoding(value: str) -> str:
    if value != "auto":
        try:
            "".encode(value).decode(value)
        except LookupError:
            raise ValueError(
                "must be `auto` or an encoding that Python knows, such as utf-8, windows-1252, utf-16, shift_jis"
            ) from None
    return value


def _delimiter(value: str) -> str:
    if value != "auto" and (len(value) != 1 or value in "\r\n"):
        raise ValueError("must be one character, or `auto`")
    return value


Encoding = Annotated[str, AfterValidator(_encoding)]
Character = Annotated[str, Field(min_length=1, max_length=1)]


class DelimitedFormat(Section):
    """CSV or TSV. `columns` names the columns where the file itself does not; `skip_lines` jumps over foreign header lines.

    `delimiter: auto` takes the one under which the header has the columns. `encoding: auto` is UTF-8 (UTF-16 where the file says so), or a
    guess where that is certain. `escape` is the character before a quote that is text, where quotes are not doubled. Encoding and escape
    have a default, so that params from before them load; every recipe writes them out.
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
    """One JSON object a line. `encoding` is as in the delimited format, with the same default."""

    kind: Literal["jsonl"]
    encoding: Encoding = "auto"


Format = Annotated[DelimitedFormat | ParquetFormat | JsonLinesFormat, Field(discriminator="kind")]


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
    """Small classes become one, of this name."""

    other: Annotated[str, Field(min_length=1)]

    def __str__(self) -> str:
        return f"other: {self.other}"


class RowChecks(Section):
    """What happens to rows with a defect.

    `drop` removes them from train and validation, and from test only where a row cannot be scored at all (malformed, invalid_utf8,
    empty, unreadable, enormous, missing_label, unseen_label), each listed by id in `report.json`; `keep` only reports; `fail` stops the
    stage. A row that cannot be read or has no label cannot be kept. `similar_labels` are spellings that read alike (`spam` and `Spam`, 1
    and 01) or like a missing value (`nan`), `continuous_labels` numbers that look like a regression's; no row is dropped for them. These
    two, and `near_duplicate`, have a default, so that params from before them load; every recipe writes them out.

    `near_duplicate` finds rows that are nearly the same as an earlier one of their file, or as one of a later split. Whatever its policy,
    near duplicates are never parted where splits are cut, and `report.json` lists the rows of test that have one in train or val.

    `small_class` finds classes with too few different texts (or pictures) for every split that is cut to get one. `drop` removes the class
    from all files, `train_only` leaves all of it in train (nothing of it is cut; rows of the files for validation and test stay), and
    `{other: NAME}` merges such classes into one.
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
    """Of texts.

    `group_leakage` finds rows of train whose group is in val or test too, `time_leakage` those that are not earlier (where params
    name such a column). They are lost, so `max_dropped` counts them. A default for params from before them; every recipe writes them out.
    """

    invalid_utf8: Policy
    mojibake: Policy
    empty: Policy
    group_leakage: Policy = "drop"
    time_leakage: Policy = "drop"


class ImageChecks(RowChecks):
    """Of images.

    `unreadable` is what cannot be decoded whole, `enormous` what has more than `max_pixels`: neither can be kept. `misnamed` is a picture
    of another format than its name says, `animated` one of several frames, of which the first is taken, `transparent` one whose pixels are
    all transparent (`drop` where a recipe from before this check does not name it).
    """

    unreadable: Literal["drop", "fail"]
    enormous: Literal["drop", "fail"]
    misnamed: Policy
    animated: Policy
    transparent: Policy = "drop"


class Limit(Section):
    """At most this many rows (stratified, seeded), after cleaning; null for all. `train` counts what validation is then cut from."""

    train: Count | None
    test: Count | None


class MaxDropped(Section):
    """The largest share of a raw file's rows, and of the rows of one of its classes, that checks may drop before the stage stops.

    Rows that repeat others do not count, and one row never stops it. See `baton.tables.dropped_rows`.
    """

    rows: Annotated[float, Field(ge=0, le=1)] = 0.01
    rows_of_class: Annotated[float, Field(ge=0, le=1)] = 0.05


class Cutting(Section):
    """Raw files -> one clean table a split: what both modalities say of it."""

    label_column: str
    label_names: dict[str, str]
    validation: Portion
    test: Portion
    limit: Limit
    seed: Seed
    max_dropped: MaxDropped = MaxDropped()  # a default for params from before it; every recipe writes it out


TAKEN = {"id", "text", "label", "weight"}  # columns of the clean tables
OF_TABLES = ("keep_columns", "group_column", "time_column", "weight_column")


class TextPreprocess(Cutting):
    """Raw files of text."""

    kind: Literal["text"]
    format: Format
    text_column: (
        str | Annotated[tuple[str, ...], Field(min_length=1)]
    )  # several become one text, with an empty line between them
    keep_columns: tuple[str, ...] = ()  # carried to the clean tables, for figures by slice
    group_column: str | None = (
        None  # rows of one group (a patient, an author, a thread) never lie in two splits
    )
    time_column: str | None = None  # splits are cut by it: train is earlier than val, val than test
    weight_column: str | None = None  # of a row in training
    checks: Checks

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if self.group_column is not None and self.time_column is not None:
            raise ValueError(
                "group_column and time_column cannot both be kept: rows of one group lie at different times; set one to null"
            )
        if taken := sorted(TAKEN & set(self.keep_columns)):
            raise ValueError(
                f"keep_columns: {', '.join(taken)} is a column of the clean tables already; rename it in the file"
            )
        if len(set(self.keep_columns)) < len(self.keep_columns):
            raise ValueError("keep_columns names a column twice")
        return self


class ImagePreprocess(Cutting):
    """Raw Parquet tables of encoded images (bytes, or the hub's `{bytes, path}`).

    `max_pixels` is the most that is decoded. `significant_bits` says how many of the 16 bits that PNG and TIFF store the pictures use:
    `auto`, also where a recipe from before this key does not name it, finds the camera's 8, 10, 12, 14 or 16 by the greatest value in the
    train file.
    """

    kind: Literal["images"]
    image_column: str
    max_pixels: Count
    significant_bits: Literal["auto"] | Annotated[int, Field(ge=8, le=16)] = "auto"
    checks: ImageChecks

    @model_validator(mode="before")
    @classmethod
    def _no_columns(cls, values: Any) -> Any:
        if isinstance(values, dict) and (named := [key for key in OF_TABLES if key in values]):
            raise ValueError(
                f"{', '.join(named)}: only tables of text have other columns; give files for the splits instead"
            )
        return values


Preprocess = Annotated[TextPreprocess | ImagePreprocess, Field(discriminator="kind")]
