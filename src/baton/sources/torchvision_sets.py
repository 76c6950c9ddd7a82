"""Torchvision's data sets -> rows of raw tables.

`cifar` reads CIFAR's pickles, and `idx` reads IDX files. For the sets of image files, torchvision's classes
find the files in a temporary copy, and each file is kept byte by byte.
"""

import contextlib
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from baton import console, params
from baton.errors import SourceError
from baton.images import decoding
from baton.sources import cifar, idx, image_folders, torchvision_files
from baton.tables.image_tables import Images, RawImage, numbered

SPLITS = {  # Baton's split -> torchvision's
    "flowers102": {"train": "train", "val": "val", "test": "test"},
    "oxford_pets": {"train": "trainval", "test": "test"},
    "food101": {"train": "train", "test": "test"},
    "dtd": {"train": "train", "val": "val", "test": "test"},
}
FOLDERS = {  # where torchvision looks for the unpacked files
    "cifar10": "",
    "cifar100": "",
    "flowers102": "flowers-102",
    "oxford_pets": "oxford-iiit-pet",
    "food101": "",
    "dtd": "dtd",
}


@contextlib.contextmanager
def opened(source: params.TorchvisionSource, scratch: Path) -> Iterator[dict[str, Images]]:
    """Yield the splits; their unpacked files stay below `scratch` until the context ends.

    Raises:
        SourceError: a file is not pinned, is unavailable, is not the pinned one, or has the wrong content.
    """
    files = torchvision_files.obtain(source)
    if source.name in {"mnist", "fashion_mnist", "kmnist"}:
        yield _idx(source.name, files)
        return
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        _unpack(files, Path(folder) / FOLDERS[source.name])
        yield (
            _cifar(source.name, Path(folder))
            if source.name in {"cifar10", "cifar100"}
            else _image_files(source.name, Path(folder))
        )


def _unpack(files: Mapping[str, Path], target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name, path in files.items():
        if not name.endswith((".tgz", ".tar.gz")):
            shutil.copyfile(path, target / name)
            continue
        try:
            with tarfile.open(path) as tar, console.progress(f"unpack {name}", None, "files") as advance:
                tar.extractall(target, members=_counted(tar, advance), filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            hint = "the pinned file itself is damaged or not trustworthy: pin another file"
            raise SourceError(
                f"{name} cannot be unpacked",
                got=error,
                expected="a complete archive with all files below its root",
                hint=hint,
            ) from None


def _counted(tar: tarfile.TarFile, advance: Callable[..., None]) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        yield member
        advance(1)


def _idx(name: str, files: Mapping[str, Path]) -> dict[str, Images]:
    found = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        count, pairs = idx.pairs(
            files[f"{prefix}-images-idx3-ubyte.gz"], files[f"{prefix}-labels-idx1-ubyte.gz"]
        )
        found[split] = Images(f"torchvision {name}: {prefix}-*-ubyte.gz", count, numbered(split, pairs))
    return found


def _cifar(name: str, folder: Path) -> dict[str, Images]:
    known = torchvision_files.known_class(name)
    label_key = "labels" if name == "cifar10" else "fine_labels"
    meta = f"{known.base_folder}/{known.meta['filename']}"
    names = cifar.class_names(_content(folder, meta), meta, known.meta["key"])
    return {
        split: Images(
            f"torchvision {name}: {known.url}",
            None,
            _cifar_rows(split, names, _batches(known, folder, batches, label_key)),
        )
        for split, batches in {"train": known.train_list, "test": known.test_list}.items()
    }


def _batches(
    known: Any, folder: Path, batches: list[list[str]], label_key: str
) -> Iterator[tuple[NDArray[np.uint8], list[int]]]:
    for file, _md5 in batches:
        name = f"{known.base_folder}/{file}"
        yield cifar.images(_content(folder, name), name, label_key)


def _cifar_rows(
    split: str, names: list[str], batches: Iterator[tuple[NDArray[np.uint8], list[int]]]
) -> Iterator[RawImage]:
    number = 0
    for pixels, labels in batches:
        for image, label in zip(pixels, labels, strict=True):
            number += 1
            if 0 <= label < len(names):
                yield RawImage(f"{split}/{number}", decoding.encode(image), names[label])
            else:
                yield RawImage(f"{split}/{number}", None, None, f"label {label} of {len(names)} classes")


def _content(folder: Path, name: str) -> bytes:
    if (path := folder / name).is_file():
        return path.read_bytes()
    got = ", ".join(sorted(path.name for path in folder.rglob("*") if path.is_file())[:10])
    hint = "this archive is not torchvision's: check source.sha256"
    raise SourceError(f"the archive has no file {name}", got=got, expected=name, hint=hint)


def _image_files(name: str, folder: Path) -> dict[str, Images]:
    found = {}
    for split, called in SPLITS[name].items():
        try:
            dataset = torchvision_files.known_class(name)(folder, split=called, download=False)
            paths = cast(list[Path], getattr(dataset, "_images" if name == "oxford_pets" else "_image_files"))
            labels = [dataset.classes[label] for label in dataset._labels]
        except (RuntimeError, OSError, ValueError, LookupError) as error:
            hint = "the files match source.sha256; check that those digests are of torchvision's files"
            raise SourceError(
                f"torchvision cannot find {name} in its files",
                got=error,
                expected=f"its {called} split",
                hint=hint,
            ) from None
        rows = (
            image_folders.read_file(path, path.relative_to(folder).as_posix(), label)
            for path, label in zip(paths, labels, strict=True)
        )
        found[split] = Images(f"torchvision {name}, {called}", len(paths), rows)
    return found
