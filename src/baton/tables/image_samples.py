"""Read the rows of a raw table of images or sound: one that `download` wrote, or one of the hub's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from baton import params
from baton.errors import DataError
from baton.tables import image_tables
from baton.tables.checks import SURROGATE
from baton.tables.image_tables import NO_LABEL, RawImage
from baton.tables.rows import NO_KEY, plain


class Sample(NamedTuple):
    """A row as read from the table; `problem` is why it has no image or clip."""

    name: str
    image: bytes
    label: Any
    problem: str
    text: Any = None  # if each image has one


def batches(path: Path, split: str, settings: params.FilesPreprocess) -> Iterator[list[Sample]]:
    """Yield the rows of one raw file, a few at a time.

    Raises:
        DataError: The file is not Parquet, is damaged, or lacks a column.
    """
    there = image_tables.names(path)
    content = settings.content_column
    wanted_of = {settings.content_key: content, "label_column": settings.label}
    texts = settings.text_column if isinstance(settings, params.ImageTextPreprocess) else None
    wanted_of |= {} if texts is None else {"text_column": texts}
    for key, wanted in wanted_of.items():
        if wanted not in there:
            hint = f"set preprocess.{key} to one of them"
            raise DataError(
                f"{path} has no column {wanted!r}",
                got=", ".join(map(repr, there)),
                expected=f"a column {wanted!r}",
                hint=hint,
            )
    # Otherwise `name` and `problem` may mean anything.
    ours = [name for name in there if name != "text"] == image_tables.columns(RawImage, content)
    wanted_columns = dict.fromkeys(
        (
            content,
            settings.label,
            *(("name", "problem") if ours else ()),
            *(() if texts is None else (texts,)),
        )
    )
    number = 0
    for batch in image_tables.read(path, wanted_columns):
        images, labels = batch[content], batch[settings.label]
        names = (
            batch["name"] if ours else [f"{split}/{number + place}" for place in range(1, len(images) + 1)]
        )
        problems = batch["problem"] if ours else [None] * len(images)
        number += len(images)
        words = [None] * len(images) if texts is None else batch[texts]
        rows = zip(images, labels, names, problems, words, strict=True)
        yield [
            _sample(
                image,
                NO_KEY if ours and _missing(label) else label,
                plain(name) or "",
                plain(problem) or "",
                settings.thing,
            )._replace(text=text)
            for image, label, name, problem, text in rows
        ]


def _missing(label: Any) -> bool:
    """Return whether the record of a row had no key for its label."""
    return NO_LABEL in [plain(one) for one in (label if isinstance(label, list) else [label])]


def _sample(image: Any, label: Any, name: str, problem: str, thing: str) -> Sample:
    if isinstance(image, dict):  # {bytes, path}, as on the Hugging Face Hub
        path = plain(image.get("path"))
        name, image = SURROGATE.sub("\ufffd", path) if path else name, image.get("bytes")
        problem = problem or (f"no bytes, but the path {name}" if image is None and path else "")
    if not isinstance(image, bytes):
        return Sample(
            name,
            b"",
            label,
            problem
            or (f"no {thing}" if image is None else f"{type(image).__name__} instead of {_article(thing)}"),
        )
    return Sample(name, image, label, problem)


def _article(thing: str) -> str:
    return f"an {thing}" if thing[0] in "aeiou" else f"a {thing}"
