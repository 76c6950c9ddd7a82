"""`baton new --from DATA.csv`: look at a table, and say which columns, lengths and settings it asks for.

Each choice has its reason, which becomes the comment at its key in params.yaml.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from baton.cli import recipe_edits
from baton.errors import DataError, first_line
from baton.params import editing
from baton.tables import encodings

LOOKED_AT = 5000  # rows
LABELS = (
    "label",
    "labels",
    "class",
    "category",
    "target",
    "topic",
    "tag",
    "sentiment",
    "rating",
    "score",
    "y",
)
DELIMITERS = ",;\t|"
GROUPS = ("group", "user", "author", "patient", "speaker", "thread", "session", "document", "doc")
FORMATS = {".csv": "delimited", ".tsv": "delimited", ".txt": "delimited", ".parquet": "parquet"}
LENGTHS = (32, 64, 128, 256, 512)  # tokens
TOKENS_A_WORD = 1.4  # of a WordPiece vocabulary, in English
COVERED = 0.95  # of the texts are read whole
REPEATED = 0.9  # of the rows: fewer different values are groups
SHARE = 5  # a class has so many rows at least, on average


class Choice(NamedTuple):
    """A value of params.yaml, and why."""

    value: Any
    reason: str


def choices(path: Path) -> dict[str, Choice]:
    """Return the choices by dotted key.

    Raises:
        DataError: the file is of no known format, or has no column of texts or of labels.
    """
    if path.suffix.lower() not in FORMATS:
        raise DataError(
            f"{path} is no table that --from can look at",
            got=path.suffix or "no suffix",
            expected=", ".join(FORMATS),
            hint="`baton new PATH --recipe csv`, then set preprocess.format in params.yaml",
        )
    table = _read(path)
    label = _label(table, path)
    text = _text(table.drop(columns=label.value), path)
    words = _words(table[text.value])
    wanted = float(words.quantile(COVERED)) * TOKENS_A_WORD
    length = next((length for length in LENGTHS if wanted <= length), LENGTHS[-1])
    found = {
        "source.files": Choice({"train": f"inbox/{path.name}"}, f"a copy of {path.name}"),
        "preprocess.text_column": text,
        "preprocess.label_column": label,
        "preprocess.test": Choice(
            {"kind": "share", "share": 0.2}, "a fifth of the rows, unless you have a file for tests"
        ),
        "tokenize.max_length": Choice(
            length, f"tokens; 95% of the texts have at most {words.quantile(COVERED):,.0f} words"
        ),
    }
    if group := _group(table, {text.value, label.value}):
        found["preprocess.group_column"] = group
    if FORMATS[path.suffix.lower()] == "parquet":
        found["preprocess.format"] = Choice({"kind": "parquet"}, "by its suffix")
    return found


def written(text: str, found: Mapping[str, Choice]) -> str:
    """Return the text of a params file with these choices; the reasons are the comments of their lines."""
    yaml = editing.round_trip()
    content = yaml.load(text)
    recipe_edits.put(content, "task", editing.flow({"kind": "auto"}))
    for key, choice in found.items():
        section, name = key.split(".")
        recipe_edits.put(content[section], name, editing.flow(choice.value), choice.reason)
    made = io.StringIO()
    yaml.dump(content, made)
    return made.getvalue()


def _read(path: Path) -> pd.DataFrame:
    """Return the first rows, of the columns that hold one value a row."""
    try:
        if path.suffix.lower() == ".parquet":
            return _first_rows(path)
        with encodings.text(path, encodings.find(path, "auto", "preprocess.format.encoding")) as file:
            names, delimiter = _header(file.readline())
            file.seek(0)
            return pd.read_csv(
                file, sep=delimiter, names=names, skiprows=1, nrows=LOOKED_AT, on_bad_lines="skip"
            )
    except (csv.Error, pa.ArrowException, OSError, ValueError) as error:
        got = first_line(error)
        raise DataError(f"{path} cannot be read as a table", got=got, expected="a header and rows") from None


def _first_rows(path: Path) -> pd.DataFrame:
    with pq.ParquetFile(path) as file:
        batch = next(file.iter_batches(LOOKED_AT), None)
        names = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
    if batch is None:
        raise ValueError("no rows")
    return pd.DataFrame(batch.select(names).to_pandas())


def _header(line: str) -> tuple[list[str], str]:
    """Return the names of the columns, and the delimiter: the one that makes the most of them."""
    found = [(next(csv.reader([line], delimiter=own), []), own) for own in DELIMITERS]
    names, delimiter = max(found, key=lambda own: len(own[0]))
    if len(names) < 2 or len({*names}) < len(names) or not all(name.strip() for name in names):
        raise ValueError(f"the first line {line.strip()[:200]!r} does not name two or more different columns")
    return names, delimiter


def _label(table: pd.DataFrame, path: Path) -> Choice:
    """Return the column of labels: one that is named so, or else that of the fewest values."""
    for name in LABELS:
        for column in table.columns:
            if str(column).strip().lower() == name:
                return Choice(str(column), f"by its name; {table[column].nunique():,} values")
    most = max(2, len(table) // SHARE)
    counts = {column: table[column].nunique() for column in table.columns}
    few = {column: count for column, count in counts.items() if 2 <= count <= most}
    if not few:
        raise DataError(
            f"{path} has no column that looks like labels",
            got=", ".join(f"{column}: {count:,} values" for column, count in counts.items()),
            expected=f"one named {LABELS[0]}, or one with few values",
            hint="`baton new PATH --recipe csv`, then set preprocess.label_column in params.yaml",
        )
    column = min(few, key=lambda own: (few[own], -list(few).index(own)))
    return Choice(str(column), f"the column with the fewest values, {few[column]:,}")


def _group(table: pd.DataFrame, taken: set[str]) -> Choice | None:
    """Return the column whose rows belong together: it is named so, and its values repeat."""
    for column in table.columns:
        values, named = table[column].nunique(), str(column).lower().removesuffix("_id") in GROUPS
        if named and column not in taken and 1 < values < REPEATED * len(table):
            return Choice(str(column), f"by its name; {values:,} values, each in one split only")
    return None


def _text(table: pd.DataFrame, path: Path) -> Choice:
    """Return the column of texts: that of the most words."""
    words = {
        column: float(_words(table[column]).mean())
        for column in table.columns
        if not pd.api.types.is_numeric_dtype(table[column]) and table[column].notna().any()
    }
    if not words:
        raise DataError(
            f"{path} has no column that looks like texts",
            got=", ".join(map(str, table.columns)) or "one column",
            expected="a column of words beside the labels",
            hint="`baton new PATH --recipe csv`, then set preprocess.text_column in params.yaml",
        )
    column = max(words, key=lambda own: words[own])
    return Choice(str(column), f"the longest texts, {words[column]:,.0f} words on average")


def _words(column: "pd.Series[Any]") -> "pd.Series[int]":
    """Return the number of words of each cell that is not empty."""
    return column.dropna().map(lambda cell: len(str(cell).split()))
