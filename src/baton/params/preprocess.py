"""`preprocess` and `tokenize`: from raw files to token ids."""

from typing import Annotated, Literal

from pydantic import Field

from baton.params.fields import Count, Policy, Section, Seed, Share


class DelimitedFormat(Section):
    """CSV or TSV. `columns` names the columns where the file itself does not; `skip_lines` jumps over foreign header lines."""

    kind: Literal["delimited"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)]
    quote: Annotated[str, Field(min_length=1, max_length=1)] | None
    skip_lines: Annotated[int, Field(ge=0)]
    columns: tuple[str, ...] | None


class ParquetFormat(Section):
    """Apache Parquet."""

    kind: Literal["parquet"]


class JsonLinesFormat(Section):
    """One JSON object a line."""

    kind: Literal["jsonl"]


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


class Checks(Section):
    """What happens to rows with a defect.

    `drop` removes them from train and validation, and from test only where a row cannot be scored at all (malformed, invalid_utf8,
    empty, missing_label, unseen_label), each listed by id in `report.json`; `keep` only reports; `fail` stops the stage.
    A row that cannot be read or has no label cannot be kept.
    """

    malformed: Literal["drop", "fail"]
    invalid_utf8: Policy
    mojibake: Policy
    empty: Policy
    missing_label: Literal["drop", "fail"]
    unseen_label: Policy
    duplicate: Policy
    leakage: Policy
    conflict: Policy
    small_class: Policy
    drift: Literal["keep", "fail"]


class Limit(Section):
    """At most this many rows (stratified, seeded), after cleaning; null for all. `train` counts what validation is then cut from."""

    train: Count | None
    test: Count | None


class Preprocess(Section):
    """Raw files -> one clean table a split."""

    format: Format
    text_column: str
    label_column: str
    label_names: dict[str, str]
    validation: Portion
    test: Portion
    limit: Limit
    seed: Seed
    checks: Checks


class Tokenize(Section):
    """Clean text -> memory-mapped token ids. `max_length` counts special tokens; `chunk_size` is in documents."""

    max_length: Annotated[int, Field(ge=8)]
    chunk_size: Count
