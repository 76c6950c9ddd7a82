"""Fetch labelled images: params `source` -> `{split}.parquet` in a raw folder, as `image_tables.RawImage`."""

import contextlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from baton import console, params, storage
from baton.errors import SourceError
from baton.sources import idx, image_folders, inbox_links, packages, torchvision_sets
from baton.tables.image_tables import Images, RawImage, Writer, numbered

ImageSource = (
    params.FolderSource
    | params.TableSource
    | params.IdxSource
    | params.DigitsSource
    | params.TorchvisionSource
)
WHITEST_DIGIT = 16  # scikit-learn's digits count the set pixels of 4x4 blocks


def fetch(source: ImageSource, folder: Path) -> dict[str, tuple[str, str]]:
    """Write one table per split into `folder`.

    Returns:
        split -> (file name, origin).

    Raises:
        SourceError: the images are unavailable or are not the pinned ones.
        DataError: a table of paths cannot be read.
    """
    with contextlib.ExitStack() as stack:
        match source:
            case params.FolderSource():
                found = _folders(source, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            case params.TableSource():
                found = image_folders.of_tables(source)
            case params.IdxSource():
                found = _idx(source)
            case params.DigitsSource():
                found = _digits()
            case params.TorchvisionSource():
                found = stack.enter_context(torchvision_sets.opened(source, folder))
        for split, images in found.items():
            _write(folder / f"{split}.parquet", split, images)
    return {split: (f"{split}.parquet", images.origin) for split, images in found.items()}


def _write(path: Path, split: str, images: Images) -> None:
    with (
        console.progress(f"files of {split}", images.total, "files") as advance,
        Writer(path, RawImage, listed=images.listed, content=images.column, texts=images.texts) as writer,
    ):
        for row in images.rows:
            writer.add(row)
            advance(1)


def _folders(source: params.FolderSource, scratch: Path) -> dict[str, Images]:
    """Return the images of each split; those of a package stay below `scratch`."""
    if source.package is None:
        return image_folders.of_folders(source)
    trees = list(source.folders.named().values())
    found = image_folders.of_folders(source, packages.unpack(source.package, trees, scratch))
    where = packages.origin(source.package)
    return {split: replace(images, origin=f"{where}{images.origin}") for split, images in found.items()}


# ---- IDX files -------------------------------------------------------------------------------------------


def _idx(source: params.IdxSource) -> dict[str, Images]:
    files = _locate(source)
    _check_pins(source, files)
    found = {}
    for split, name in source.images.named().items():
        images, labels = files[name], files[source.labels.named()[split]]
        count, pairs = idx.pairs(images, labels)
        found[split] = Images(f"{images}, {labels.name}", count, numbered(split, pairs))
    return found


def _locate(source: params.IdxSource) -> dict[str, Path]:
    """Return the path of each file in the first folder that has all of them, with or without `.gz`."""
    images, labels = source.images.named(), source.labels.named()
    if images.keys() != labels.keys():
        hint = "name both files of each split"
        raise SourceError(
            "source.images and source.labels differ", got=sorted(labels), expected=sorted(images), hint=hint
        )
    names = [*images.values(), *labels.values()]
    lacking = []
    for folder in map(Path, source.folders):
        there = {name: path for name in names if (path := _either(folder / name)) is not None}
        if len(there) == len(names):
            return there
        lacking.append(
            f"{folder}: "
            + (
                f"no {', '.join(name for name in names if name not in there)}"
                if folder.is_dir()
                else "no folder"
            )
        )
    hint = f"put them into {source.folders[0]}, or add their folder to source.folders"
    got = "".join(f"\n    {line}" for line in lacking)
    raise SourceError(
        "the IDX files were not found", got=got, expected=f"one folder with {', '.join(names)}", hint=hint
    )


def _either(path: Path) -> Path | None:
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    found = next((candidate for candidate in (path, other) if candidate.is_file()), None)
    return None if found is None else inbox_links.checked(found)


def _check_pins(source: params.IdxSource, files: dict[str, Path]) -> None:
    # DVC watches only inbox/: a change to a file outside shows only in its digest.
    outside = [
        path for path in files.values() if os.path.normpath(path).partition("/")[0] != inbox_links.INBOX.name
    ]
    got = {path: storage.sha256(path) for path in outside}
    wrong = {path: digest for path, digest in got.items() if source.sha256.get(path.name) != digest}
    if wrong:
        lines = "".join(f"\n    {path.name}: {digest}" for path, digest in wrong.items())
        expected = "".join(
            f"\n    {path.name}: {source.sha256.get(path.name) or 'no digest'}" for path in wrong
        )
        hint = (
            "if these are the right files, copy the digests to source.sha256; or copy the files into inbox/, "
            "where they need no digest"
        )
        where = f"files in {next(iter(wrong)).parent} are not the pinned ones"
        raise SourceError(where, got=lines, expected=expected, hint=hint)


# ---- digits ----------------------------------------------------------------------------------------------


def _digits() -> dict[str, Images]:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    pixels = np.rint(bunch.images * (255 / WHITEST_DIGIT)).astype(np.uint8)[..., np.newaxis]  # (n, 8, 8, 1)
    pairs = zip(pixels, map(str, bunch.target), strict=True)
    return {"train": Images("scikit-learn's load_digits", len(pixels), numbered("train", pairs))}
