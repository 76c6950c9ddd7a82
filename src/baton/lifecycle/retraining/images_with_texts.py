"""Read new images with texts that have no labels, for `baton drift`.

They come as Parquet, with the columns that params.preprocess names, or like the source: a table of paths,
relative to its own folder, and texts; or a folder of images and files with their texts.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from baton import params
from baton.errors import DataError
from baton.sources import image_folders
from baton.tables import image_tables
from baton.tables.rows import plain


class Pair(NamedTuple):
    """A new image with its text, or what is wrong with the row."""

    image: bytes | None
    text: str | None
    problem: str | None = None


Reader = Callable[[], Iterator[Pair]]


def reader(path: Path, settings: params.ImageTextPreprocess, source: params.Source | None) -> Reader:
    """Return what reads the rows of a file or folder, any number of times.

    Raises:
        DataError: it has none of these forms.
    """
    names = (settings.image_column, settings.text_column)
    own = image_tables.names(path) if path.suffix == ".parquet" else ()
    if not (absent := [name for name in names if name not in own]):
        return lambda: _cells(path, names)
    form = f"a Parquet table with columns {' and '.join(names)}, as params.preprocess says"
    if isinstance(source, params.TableSource) and source.text_column:
        if path.is_file():
            return lambda: _files(path, source)
        form += f", or a table with columns {source.path_column} and {source.text_column}, as source says"
    if isinstance(source, params.FolderSource) and source.text:
        if path.is_dir():
            return lambda: _files(path, source)
        form += f", or a folder of images, each with its text in a {source.text.suffix} file, as source says"
    raise DataError(
        f"{path} has no images with texts",
        got="a folder" if path.is_dir() else f"no column {absent[0]}",
        expected=form,
        hint="write such a table",
    )


def _cells(path: Path, names: tuple[str, str]) -> Iterator[Pair]:
    for batch in image_tables.read(path, names):
        for image, text in zip(*(batch[name] for name in names), strict=True):
            cell = image.get("bytes") if isinstance(image, dict) else image
            yield Pair(cell if isinstance(cell, bytes) else None, plain(text))


def _files(path: Path, source: params.TableSource | params.FolderSource) -> Iterator[Pair]:
    for row in image_folders.unlabelled(path, source).rows:
        try:
            yield Pair(row.image, (row.text or b"").decode(), row.problem)
        except UnicodeDecodeError:
            yield Pair(row.image, None, "its text is no UTF-8")
