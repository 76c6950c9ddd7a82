"""The files of torchvision's data sets: its own addresses, fetched once, kept and verified by the sha256 that params pin."""

import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any

from baton import params, storage
from baton.errors import SourceError
from baton.sources import fetch_cache

TIMEOUT = 60.0  # seconds without a byte
AGENT = {"User-Agent": "baton"}  # some servers refuse Python's own


@dataclass(frozen=True)
class Download:
    """A file of a data set: where it may be had, and the MD5 that torchvision knows it by."""

    addresses: tuple[str, ...]
    md5: str

    @property
    def name(self) -> str:
        """The last part of its address."""
        return PurePosixPath(self.addresses[0]).name


def obtain(source: params.TorchvisionSource) -> dict[str, Path]:
    """Name of each file of the data set -> the verified file.

    Raises:
        SourceError: a file is not pinned, cannot be had, or is not the pinned one.
        OutputError: the cache cannot be written.
    """
    downloads = _downloads(source.name)
    _check_pins(source, downloads)
    return {item.name: _fetch(source, item) for item in downloads}


def known_class(name: str) -> Any:
    """Torchvision's class, whose attributes name files, addresses and classes."""
    from torchvision import datasets

    return {
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
        "mnist": datasets.MNIST,
        "fashion_mnist": datasets.FashionMNIST,
        "kmnist": datasets.KMNIST,
        "flowers102": datasets.Flowers102,
        "oxford_pets": datasets.OxfordIIITPet,
        "food101": datasets.Food101,
        "dtd": datasets.DTD,
    }[name]


def _downloads(name: str) -> list[Download]:
    known = known_class(name)
    match name:
        case "cifar10" | "cifar100":
            return [Download((known.url,), known.tgz_md5)]
        case "mnist" | "fashion_mnist" | "kmnist":
            return [
                Download(tuple(mirror + file for mirror in known.mirrors), md5)
                for file, md5 in known.resources
            ]
        case "flowers102":
            return [
                Download((known._download_url_prefix + file,), md5) for file, md5 in known._file_dict.values()
            ]
        case "oxford_pets":
            return [Download((url,), md5) for url, md5 in known._RESOURCES]
    return [Download((known._URL,), known._MD5)]


def _check_pins(source: params.TorchvisionSource, downloads: list[Download]) -> None:
    names = {item.name for item in downloads}
    if extra := sorted(set(source.sha256) - names):
        hint = "mend the names in source.sha256"
        raise SourceError(
            f"torchvision {source.name} has no {', '.join(extra)}",
            got=extra,
            expected=sorted(names),
            hint=hint,
        )
    missing = [item for item in downloads if not source.sha256.get(item.name)]
    if missing:
        steps = "".join(
            f"\n    curl -L -O {item.addresses[0]}; md5sum {item.name}  # must be {item.md5}; then sha256sum {item.name}"
            for item in missing
        )
        hint = f"obtain each file once, compare its MD5 with torchvision's, and write its sha256 into source.sha256 of params.yaml:{steps}"
        got = f"no digest of {', '.join(item.name for item in missing)}"
        raise SourceError(
            f"torchvision {source.name} is not pinned",
            got=got,
            expected="the sha256 of each of its files",
            hint=hint,
        )


def _fetch(source: params.TorchvisionSource, item: Download) -> Path:
    digest = source.sha256[item.name]
    advice = (
        f"check the connection; or fetch {item.addresses[0]} by other means and use it as a source in inbox/"
    )
    key = f"torchvision {source.name} {item.name} {digest}"
    return fetch_cache.obtain(key, lambda scratch: _download(item, digest, scratch), advice=advice)


def _download(item: Download, digest: str, scratch: Path) -> Path:
    path = scratch / item.name
    failures = []
    for address in item.addresses:
        try:
            _transfer(address, path, scratch)
        except (OSError, HTTPException, fetch_cache.BrokenTransferError) as error:
            if (
                isinstance(error, OSError)
                and error.errno in fetch_cache.OUR_DISK
                and not isinstance(error, urllib.error.URLError)
            ):
                raise
            failures.append(f"{address}: {error}")
        else:
            _verify(path, item, digest)
            return path
    raise fetch_cache.BrokenTransferError("; ".join(failures))


def _transfer(address: str, path: Path, scratch: Path) -> None:
    request = urllib.request.Request(address, headers=AGENT)  # noqa: S310  torchvision's addresses; what comes is compared with its pin
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response, path.open("wb") as file:  # noqa: S310
        size = response.length
        with fetch_cache.watched(scratch, f"download {path.name}", size):
            shutil.copyfileobj(response, file, 2**20)
    if size is not None and path.stat().st_size != size:
        raise fetch_cache.BrokenTransferError(f"{path.stat().st_size:,} of {size:,} bytes came")


def _verify(path: Path, item: Download, digest: str) -> None:
    got = storage.sha256(path)
    if got == digest:
        return
    from torchvision.datasets.utils import calculate_md5

    if calculate_md5(path) == item.md5:
        hint = "its MD5 is the one that torchvision knows: the digest in source.sha256 is of another file"
    else:
        hint = "its MD5 is not torchvision's either: the server sends something else; do not pin it before you know what"
    raise SourceError(f"{item.name} has another sha256", got=got, expected=digest, hint=hint)
