"""The user's own images or clips -> rows of a raw table, from one folder per class or a table with paths.

Every file of a class folder and every row of a table becomes a row; a row without one says why
(`problem`). Hidden files, files left by operating systems (`system_files`) and `.dvc` files are skipped.
Files are copied byte by byte; nothing is decoded here.
"""

import codecs
import contextlib
import fnmatch
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from baton import console, params
from baton.errors import SourceError, one_line
from baton.images import opening
from baton.sounds import audio_containers
from baton.sources import inbox_links, local_files, system_files
from baton.tables import readers
from baton.tables.columns import Columns
from baton.tables.extra_columns import ExtraColumns
from baton.tables.image_tables import AUDIO, IMAGE, NO_LABEL, Images, RawImage
from baton.tables.rows import NO_KEY, Cell, RawTable, is_null, one_name, plain

MOST_BYTES = 2**30  # of one file
MOST_TEXT_BYTES = 2**20  # of the file with an image's text
BEGINNING_BYTES = max(opening.BEGINNING_BYTES, audio_containers.BEGINNING_BYTES)
WORDS: dict[params.Content, str] = {"images": "images", "audio": "clips"}
COLUMNS: dict[params.Content, str] = {"images": IMAGE, "audio": AUDIO}
LIST = "\0"  # marks a label that was a list, until its row is written
SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}


def of_folders(source: params.FolderSource, base: Path = Path()) -> dict[str, Images]:
    """Return the images of each split, from one tree of class folders per split below `base`.

    Raises:
        SourceError: a folder is missing or has no class folders.
    """
    found = {}
    for split, name in source.folders.named().items():
        root = base / name
        if not root.is_dir():
            raise local_files.missing(
                root,
                f"source.folders.{split}",
                f"a folder with one folder of {WORDS[source.content]} per class",
            )
        listed = _listed(root, split, source)
        if not listed:
            raise SourceError(
                f"{root} has no file that is wanted",
                got="no file with such a name",
                expected=", ".join(source.only),
                hint=f"change source.only or source.folders.{split} in params.yaml",
            )
        files = [
            (path, label if label is None or source.label == "folder" else _text(path.stem))
            for path, label in listed
        ]
        rows, texts = _of_files(files, root, source.text), source.text is not None
        origin = f"{name}, one folder a class"
        found[split] = Images(origin, len(files), rows, column=COLUMNS[source.content], texts=texts)
    return found


def of_tables(source: params.TableSource) -> dict[str, Images]:
    """Return the images of each split, from tables of paths below `folder`.

    Raises:
        SourceError: a table or the folder is missing, or a link leads out of inbox/.
        DataError: a table cannot be read.
    """
    folder = Path(source.folder)
    texts = ExtraColumns(text=source.text_column)
    columns = Columns(source.path_column, source.label_column, "source", "path_column", texts)
    found = {}
    for split, name in source.files.named().items():
        if not Path(name).is_file():
            raise local_files.missing(Path(name), f"source.files.{split}", "a table with a column of paths")
        if not folder.is_dir():
            raise local_files.missing(folder, "source.folder", "the folder that the paths are relative to")
        table = readers.read(inbox_links.checked(Path(name)), split, source.format, columns, _label)
        for remark in table.remarks:
            console.say(escape(f"note: {remark}"))
        if table.blank_lines:
            console.say(escape(f"{name}: blank lines skipped: {table.blank_lines}"))
        listed = _mostly_lists(table)
        rows = _of_table(table, folder, listed=listed)
        origin, described = f"{name}, files in {source.folder}", source.text_column is not None
        found[split] = Images(origin, table.count, rows, listed, COLUMNS[source.content], described)
    return found


def unlabelled(path: Path, source: params.TableSource | params.FolderSource) -> Images:
    """Return the images with texts of a table or a folder that is like the source's; labels are not read.

    The paths in a table are relative to its own folder.

    Raises:
        DataError: the table cannot be read.
    """
    if isinstance(source, params.FolderSource):
        listed = sorted(local_files.files_of(path), key=os.fsencode)
        files: list[tuple[Path, str | None]] = [(one, NO_LABEL) for one in listed if _named(one, source.only)]
        return Images(str(path), len(files), _of_files(files, path, source.text), texts=True)
    form = params.ParquetFormat(kind="parquet") if path.suffix == ".parquet" else source.format
    columns = Columns(source.path_column, (), "source", "path_column", ExtraColumns(text=source.text_column))
    table = readers.read(inbox_links.checked(path), "new", form, columns, lambda _: Cell(NO_LABEL))
    return Images(str(path), table.count, _of_table(table, path.parent, listed=False), texts=True)


def read_file(path: Path, name: str, label: str | list[str] | None, most: int | None = None) -> RawImage:
    """Read a file of at most `most` (MOST_BYTES) bytes, or say what is wrong with it.

    Raises:
        SourceError: a link leads out of inbox/.
    """
    inbox_links.checked(path)
    name, most = _text(name), MOST_BYTES if most is None else most
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return RawImage(
                name,
                None,
                label,
                "a folder, not a file" if stat.S_ISDIR(status.st_mode) else "not a regular file",
            )
        if status.st_size > most:
            return RawImage(name, None, label, f"{status.st_size:,} bytes, more than {most:,}")
        return RawImage(name, path.read_bytes(), label)
    except FileNotFoundError:
        return RawImage(
            name,
            None,
            label,
            "a link to nothing" if path.is_symlink() else f"no such file: {path.parent}/{Path(name).name}",
        )
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        return RawImage(
            name, None, label, f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
        )


# ---- class folders ---------------------------------------------------------------------------------------


def _listed(root: Path, split: str, source: params.FolderSource) -> list[tuple[Path, str | None]]:
    """Return every file with its label, sorted by path; files next to the class folders have no label."""
    content, only, left_out = source.content, source.only, Counter[str]()
    shown = sorted(local_files.entries(root, left_out), key=os.fsencode)
    classes = [path for path in shown if path.is_dir()]
    if not classes:
        got = f"only files ({len(shown)})" if shown else "nothing"
        hint = (
            f"make a folder for each class and put its {WORDS[content]} there, or use a table of paths "
            "(source.kind: table)"
        )
        raise SourceError(
            f"{root} has no class folders",
            got=got,
            expected=f"one folder of {WORDS[content]} per class",
            hint=hint,
        )
    names = {path.name.lower() for path in classes}
    # A single such name among others may be a class: CIFAR-100 has "train".
    if names <= SPLIT_NAMES or len(names & SPLIT_NAMES) > 1:
        pairs = ", ".join(
            f"{name}: {root}/{name}"
            for name in sorted(path.name for path in classes if path.name.lower() in SPLIT_NAMES)
        )
        hint = (
            f"name one tree per split in params.yaml: `folders: {{{pairs}}}`, with the keys train, val, test"
        )
        raise SourceError(
            f"{root} contains splits, not classes",
            got=", ".join(map(one_line, sorted(names))),
            expected="class folders",
            hint=hint,
        )
    loose = [path for path in shown if not path.is_dir() and path.suffix != ".dvc" and _named(path, only)]
    files: list[tuple[Path, str | None]] = [(path, None) for path in loose if _may_belong(path, content)]
    left_out.update(path.name for path in loose if not _may_belong(path, content))
    for folder in classes:
        inside = [
            (path, _text(folder.name))
            for path in sorted(local_files.files_of(folder, left_out), key=os.fsencode)
            if _named(path, only)
        ]
        if not inside:
            what = f"{split} has no {WORDS[content]} of this class"
            console.say(escape(f"{one_line(str(folder))} contains no files: {what}"))
        files += inside
    if left_out:
        kinds = "hidden files, files left by operating systems, and other files next to the class folders"
        console.say(escape(f"{root}: skipped {kinds}: {system_files.described(left_out)}"))
    return files


def _named(path: Path, only: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.name, pattern) for pattern in only)


def _may_belong(path: Path, content: params.Content) -> bool:
    """Return whether a file next to the class folders may be one without a class rather than a README.

    Its name or its first bytes decide.
    """
    named, begins_as = (
        (opening.named_as_image, opening.begins_as)
        if content == "images"
        else (audio_containers.named_as_audio, audio_containers.begins_as)
    )
    if named(path.name) or not path.is_file():
        return True
    with contextlib.suppress(OSError), path.open("rb") as file:
        return begins_as(file.read(BEGINNING_BYTES)) != ""
    return True


def _of_files(
    files: list[tuple[Path, str | None]], root: Path, texts: params.TextBeside | None
) -> Iterator[RawImage]:
    for path, label in files:
        row = read_file(path, path.relative_to(root).as_posix(), label)
        yield row if texts is None else _with_text(row, path.with_suffix(texts.suffix), texts.mark)


def _with_text(row: RawImage, path: Path, mark: str) -> RawImage:
    """Return the row with the text that an image's text file has for it; an empty one if there is none.

    A file that cannot be read, or is too large, is the row's problem.
    """
    found = read_file(path, path.name, None, MOST_TEXT_BYTES)
    if found.image is None and os.path.lexists(path):
        return row._replace(image=None, problem=row.problem or f"its text {found.name}: {found.problem}")
    lines = (found.image or b"").removeprefix(codecs.BOM_UTF8).splitlines()
    marked = mark.encode()
    text = next((line.removeprefix(marked).strip() for line in lines if line.startswith(marked)), b"")
    return row._replace(text=text)


def _text(name: str) -> str:
    """Escape control characters and invalid UTF-8, so that tables and terminals can hold the name."""
    return one_line(name)


# ---- tables of paths -------------------------------------------------------------------------------------


def _label(value: Any) -> Cell | str:
    """Read a label, which may be a list (`task` says later whether it may): as JSON, behind a mark.

    No other label begins with such a mark, nor with that of a missing key, see `labels.normal`.
    """
    if value is NO_KEY:
        return Cell(NO_LABEL)
    if not isinstance(value, list):
        return one_name(value)
    items = [None if is_null(item) else plain(item) for item in value]
    if None in items:
        return "label has an item in its list that is not a name; names of labels are needed"
    return Cell(LIST + json.dumps(items, ensure_ascii=False))


def _mostly_lists(table: RawTable) -> bool:
    """Return whether most of the labels that are not empty are lists."""
    known = [row.label for row in table.rows if row.label not in ("", NO_LABEL)]
    return bool(2 * sum(label.startswith(LIST) for label in known) > len(known))


def _as_list(label: str) -> list[str] | None:
    """Return the list that a label of a table of lists is, perhaps as JSON; None if it is not a list."""
    if not label:
        return []
    try:
        value = json.loads(label.removeprefix(LIST))
    except (ValueError, RecursionError):
        return None
    known = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value if known else None


def _described(kept: tuple[str, ...]) -> bytes | None:
    """Return the text of an image as it is in the file, valid UTF-8 or not; None in a table without texts."""
    if not kept:
        return None
    try:
        return kept[-1].encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate in JSON, which stands for no byte
        return kept[-1].encode("utf-8", "surrogatepass")


def _of_table(table: RawTable, folder: Path, *, listed: bool) -> Iterator[RawImage]:
    rows = iter(table.rows)
    label: Any
    for number in range(1, table.count + 1):
        name = f"{table.split}/{number}"
        id_ = f"{table.split}:{number}"
        if reason := table.malformed.get(id_):
            label = table.rejected.get(id_)
            yield RawImage(name, None, None if listed or label == NO_LABEL else label, reason)
            continue
        row = next(rows)
        # An empty label counts as lost, a null label does not.
        label = None if id_ in table.unlabelled else row.label
        if label == NO_LABEL:
            label = [NO_LABEL] if listed else NO_LABEL
        elif listed and label is not None and (label := _as_list(row.label)) is None:
            yield RawImage(name, None, None, f"label {_text(row.label)!r} is not a list, as most others are")
            continue
        elif not listed and row.label.startswith(LIST):
            yield RawImage(name, None, None, "label is a list; one label a row is needed")
            continue
        if row.label.encode("utf-8", "ignore").decode() != row.label:
            yield RawImage(_text(row.text) or name, None, None, f"its label is no UTF-8: {_text(row.label)}")
        elif not row.text.strip():
            yield RawImage(name, None, label, "no path")
        elif os.path.isabs(row.text) or os.path.normpath(row.text).partition("/")[0] == "..":  # noqa: PTH117
            yield RawImage(_text(row.text), None, label, f"its path leaves {folder}")
        else:
            yield read_file(folder / row.text, row.text, label)._replace(text=_described(row.extras.kept))
