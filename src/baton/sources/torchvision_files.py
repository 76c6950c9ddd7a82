"""Fetch the files of torchvision's data sets from its own URLs, verified by the sha256 pinned in params."""

import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any

from baton import params, storage
from baton.errors import SourceError
from baton.sources import fetch_cache, transfer_progress

TIMEOUT = 60.0  # seconds without a byte
AGENT = {"User-Agent": "baton"}  # some servers refuse Python's default


@dataclass(frozen=True)
class Download:
    """A file of a data set: its URLs, and the MD5 by which torchvision knows it."""

    addresses: tuple[str, ...]
    md5: str

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return PurePosixPath(self.addresses[0]).name


def obtain(source: params.TorchvisionSource) -> dict[str, Path]:
    """Return the verified files of the data set by name.

    Raises:
        SourceError: a file is not pinned, is unavailable, or is not the pinned one.
        OutputError: the cache cannot be written.
    """
    downloads = _downloads(source.name)
    _check_pins(source, downloads)
    return {item.name: _fetch(source, item) for item in downloads}


def known_class(name: str) -> Any:
    """Return torchvision's class, whose attributes name files, URLs and classes."""
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
        hint = "fix the names in source.sha256"
        raise SourceError(
            f"torchvision {source.name} has no {', '.join(extra)}",
            got=extra,
            expected=sorted(names),
            hint=hint,
        )
    missing = [item for item in downloads if not source.sha256.get(item.name)]
    if missing:
        steps = "".join(
            f"\n    curl -L -O {item.addresses[0]}; md5sum {item.name}  # must be {item.md5}; "
            f"then sha256sum {item.name}"
            for item in missing
        )
        hint = (
            "download each file once, compare its MD5 with torchvision's, and add its sha256 to "
            f"source.sha256 in params.yaml:{steps}"
        )
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
        f"check the connection, or fetch {item.addresses[0]} by other means and use it as a source in inbox/"
    )
    key = f"torchvision {source.name} {item.name} {digest}"
    return fetch_cache.obtain(
        key, lambda scratch: _download(item, digest, scratch), advice=advice, sha256=digest
    )


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
    # S310: the URLs are torchvision's, and the downloaded file is compared with its pinned digest.
    request = urllib.request.Request(address, headers=AGENT)  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response, path.open("wb") as file:  # noqa: S310
        size = response.length
        with transfer_progress.watched(scratch, f"download {path.name}", size):
            shutil.copyfileobj(response, file, 2**20)
    if size is not None and path.stat().st_size != size:
        raise fetch_cache.BrokenTransferError(f"received {path.stat().st_size:,} of {size:,} bytes")


def _verify(path: Path, item: Download, digest: str) -> None:
    got = storage.sha256(path)
    if got == digest:
        return
    from torchvision.datasets.utils import calculate_md5

    if calculate_md5(path) == item.md5:
        hint = "its MD5 is the one that torchvision knows: the digest in source.sha256 is for another file"
    else:
        hint = (
            "its MD5 is not torchvision's either: the server sends another file; find out which before you "
            "pin it"
        )
    raise SourceError(f"{item.name} has a different sha256", got=got, expected=digest, hint=hint)
