"""`preprocess.format`: how the raw files of texts are laid out."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from baton.params.fields import Section


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
    quote, if quotes are not doubled.
    """

    kind: Literal["delimited"]
    encoding: Encoding
    delimiter: Annotated[str, AfterValidator(_delimiter)]
    quote: Character | None
    escape: Character | None
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
    """One JSON object per line. `encoding` is as in the delimited format."""

    kind: Literal["jsonl"]
    encoding: Encoding


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


class SquadFormat(Section):
    """A JSON file in the format of SQuAD 1.1 or 2.0.

    The columns are `id`, `title`, `question`, `context` and `answers`.
    """

    kind: Literal["squad"]


Format = Annotated[
    DelimitedFormat
    | ParquetFormat
    | JsonLinesFormat
    | DocumentsFormat
    | LinesFormat
    | ConllFormat
    | TokenXmlFormat
    | SquadFormat,
    Field(discriminator="kind"),
]
