"""Torchvision's data sets from a local server, in the original layout, with torchvision's own code."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat
from torchvision import datasets

from baton import params
from baton.errors import SourceError
from baton.images import decoding
from baton.sources import fetching
from tests import image_files
from tests.image_files import archive, noise, saved
from tests.local_server import LocalServer, Page

RAW = Path("data/raw")
Publish = Callable[..., params.TorchvisionSource]


@pytest.fixture
def publish(workplace: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return `publish(name, {file: content})`: serve a data set, point torchvision at it, return a source."""

    def build(name: str, files: dict[str, bytes]) -> params.TorchvisionSource:
        for file, content in files.items():
            server.pages[f"/{file}"] = Page(content)
        md5 = {file: image_files.md5(content) for file, content in files.items()}
        first = next(iter(files))
        match name:
            case "cifar10" | "cifar100":
                known = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
                monkeypatch.setattr(known, "url", f"{server.url}/{first}")
                monkeypatch.setattr(known, "tgz_md5", md5[first])
            case "mnist":
                monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{server.url}/gone/", f"{server.url}/"])
                monkeypatch.setattr(datasets.MNIST, "resources", list(md5.items()))
            case "flowers102":
                known_files = dict(zip(("image", "label", "setid"), md5.items(), strict=True))
                monkeypatch.setattr(datasets.Flowers102, "_download_url_prefix", f"{server.url}/")
                monkeypatch.setattr(datasets.Flowers102, "_file_dict", known_files)
            case "oxford_pets":
                monkeypatch.setattr(
                    datasets.OxfordIIITPet,
                    "_RESOURCES",
                    [(f"{server.url}/{file}", md5[file]) for file in files],
                )
            case _:
                known = {"food101": datasets.Food101, "dtd": datasets.DTD}[name]
                monkeypatch.setattr(known, "_URL", f"{server.url}/{first}")
                monkeypatch.setattr(known, "_MD5", md5[first])
        digests = {file: image_files.sha256(content) for file, content in files.items()}
        return params.TorchvisionSource(kind="torchvision", name=name, sha256=digests, licence="theirs")

    return build


def rows(split: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(RAW / f"{split}.parquet").to_pylist()
    return found


def pixels(split: str) -> image_files.Pixels:
    return np.stack([decoding.decode(row["image"], 10_000).pixels for row in rows(split)])


def labels(split: str) -> list[str]:
    return [row["label"] for row in rows(split)]


# ---- CIFAR -----------------------------------------------------------------------------------------------

CIFAR = noise(0, 7 * 32, 32).reshape(7, 32, 32, 3)
CLASSES = ["airplane", "automobile", "bird"]


def cifar10(**changes: bytes) -> dict[str, bytes]:
    """Return a CIFAR-10 archive: one image per batch, two in the test batch, members not in reading order."""

    def batch(part: slice) -> bytes:
        numbers = range(len(CIFAR))[part]
        values = {
            "labels": [number % 3 for number in numbers],
            "data": image_files.planes(CIFAR[part]),
            "filenames": ["x.png"] * len(numbers),
        }
        return image_files.python2_pickle(values)

    members = {f"data_batch_{number}": batch(slice(number - 1, number)) for number in (4, 3, 1, 5, 2)}
    members |= {
        "batches.meta": image_files.python2_pickle({"label_names": CLASSES}),
        "test_batch": batch(slice(5, 7)),
        "readme.html": b"hello",
    }
    return {
        "cifar-10-python.tar.gz": archive(
            {f"cifar-10-batches-py/{name}": content for name, content in (members | changes).items()}
        )
    }


def test_cifar10(publish: Publish, server: LocalServer) -> None:
    source = publish("cifar10", cifar10())
    fetching.fetch_source(source, RAW)
    assert np.array_equal(pixels("train"), CIFAR[:5])
    assert np.array_equal(pixels("test"), CIFAR[5:])
    assert labels("train") == ["airplane", "automobile", "bird", "airplane", "automobile"]
    assert [row["name"] for row in rows("test")] == ["test/1", "test/2"]
    assert {path.name for path in RAW.iterdir()} == {"train.parquet", "test.parquet", "manifest.json"}
    first = (RAW / "manifest.json").read_bytes()
    server.close()  # fetched once
    fetching.fetch_source(source, RAW)
    assert (RAW / "manifest.json").read_bytes() == first


def test_cifar100_has_fine_labels(publish: Publish) -> None:
    members = {
        "train": image_files.python2_pickle(
            {"fine_labels": [1, 0], "coarse_labels": [0, 0], "data": image_files.planes(CIFAR[:2])}
        ),
        "test": image_files.python2_pickle(
            {"fine_labels": [1], "coarse_labels": [0], "data": image_files.planes(CIFAR[2:3])}
        ),
        "meta": image_files.python2_pickle(
            {"fine_label_names": ["apple", "bear"], "coarse_label_names": ["thing"]}
        ),
    }
    content = archive({f"cifar-100-python/{name}": body for name, body in members.items()})
    fetching.fetch_source(publish("cifar100", {"cifar-100-python.tar.gz": content}), RAW)
    assert labels("train") == ["bear", "apple"]
    assert np.array_equal(pixels("test"), CIFAR[2:3])


def refused(source: params.TorchvisionSource, *parts: str) -> str:
    with pytest.raises(SourceError) as caught:
        fetching.fetch_source(source, RAW)
    message = str(caught.value)
    assert all(part in message for part in (*parts, "got:", "expected:", "next:")), message
    assert not list(Path("data").iterdir()), "no partial files"
    return message


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_a_malicious_batch_is_refused(publish: Publish) -> None:
    import pickle

    refused(
        publish("cifar10", cifar10(data_batch_2=pickle.dumps({b"data": Evil()}, 2))),
        "data_batch_2 is not a CIFAR batch",
        "it asks for",
    )
    assert not Path("ran").exists()


def test_a_label_without_a_name_is_a_row_with_a_problem(publish: Publish) -> None:
    batch = image_files.python2_pickle({"labels": [1, 3], "data": image_files.planes(CIFAR[:2])})
    fetching.fetch_source(publish("cifar10", cifar10(test_batch=batch)), RAW)
    assert [row["problem"] for row in rows("test")] == [None, "label 3 of 3 classes"]


def test_an_archive_without_a_batch(publish: Publish) -> None:
    content = archive(
        {"cifar-10-batches-py/batches.meta": image_files.python2_pickle({"label_names": CLASSES})}
    )
    refused(
        publish("cifar10", {"cifar-10-python.tar.gz": content}),
        "has no file cifar-10-batches-py/data_batch_1",
    )


def test_an_archive_that_reaches_outside(publish: Publish) -> None:
    refused(
        publish("cifar10", {"cifar-10-python.tar.gz": archive({"../../evil": b"x"})}),
        "cannot be unpacked",
        "evil",
    )
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-py")
        link.type, link.linkname = tarfile.SYMTYPE, "/tmp"
        tar.addfile(link)
    refused(publish("cifar10", {"cifar-10-python.tar.gz": target.getvalue()}), "cannot be unpacked")
    refused(
        publish("cifar10", {"cifar-10-python.tar.gz": cifar10()["cifar-10-python.tar.gz"][:-3000]}),
        "cannot be unpacked",
    )


# ---- pins and transfers ----------------------------------------------------------------------------------


def pinned(source: params.TorchvisionSource, **digests: str) -> params.TorchvisionSource:
    return source.model_copy(update={"sha256": digests})


@pytest.mark.parametrize("digests", [{}, {"cifar-10-python.tar.gz": ""}])
def test_an_empty_digest_is_refused_with_the_way_to_it(
    publish: Publish, server: LocalServer, digests: dict[str, str]
) -> None:
    source = publish("cifar10", cifar10())
    message = refused(
        pinned(source, **digests),
        "torchvision cifar10 is not pinned",
        "source.sha256",
        "sha256sum cifar-10-python.tar.gz",
    )
    assert image_files.md5(cifar10()["cifar-10-python.tar.gz"]) in message
    assert server.requests == []


def test_a_digest_of_no_file_is_refused(publish: Publish) -> None:
    refused(pinned(publish("cifar10", cifar10()), other="0" * 64), "has no other")


def test_another_digest_is_refused(publish: Publish, server: LocalServer) -> None:
    source = publish("cifar10", cifar10())
    wrong = pinned(source, **{"cifar-10-python.tar.gz": "0" * 64})
    refused(wrong, "has a different sha256", "its MD5 is the one that torchvision knows")
    server.pages["/cifar-10-python.tar.gz"] = Page(b"something else")
    refused(source, "has a different sha256", "not torchvision's either")


def test_a_broken_transfer_is_tried_again(
    publish: Publish, server: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    source = publish("cifar10", cifar10())
    server.pages["/cifar-10-python.tar.gz"].breaks = 1
    fetching.fetch_source(source, RAW)
    assert labels("test") == ["bird", "airplane"]
    assert "attempt 1 of 2 failed" in capsys.readouterr().out


def test_a_file_that_is_gone(publish: Publish, server: LocalServer) -> None:
    source = publish("cifar10", cifar10())
    server.pages.clear()
    refused(source, "in 2 attempts", "HTTP Error 404")


# ---- the others ------------------------------------------------------------------------------------------


def test_mnist_from_its_second_mirror(publish: Publish) -> None:
    values, names = np.arange(60, dtype=np.uint8).reshape(5, 4, 3), np.array([5, 0, 4, 1, 9], np.uint8)
    files = {
        f"{prefix}-{kind}-ubyte.gz": image_files.idx(array[part])
        for prefix, part in (("train", slice(3)), ("t10k", slice(3, 5)))
        for kind, array in (("images-idx3", values), ("labels-idx1", names))
    }
    fetching.fetch_source(publish("mnist", files), RAW)
    assert labels("train") == ["5", "0", "4"]
    assert np.array_equal(pixels("test")[..., 0], values[3:])


def jpegs(*names: str) -> dict[str, bytes]:
    return {name: saved(noise(number), "JPEG") for number, name in enumerate(names)}


def check_files(split: str, expected: dict[str, tuple[bytes, str]]) -> None:
    """Check that file names and bytes are those of the archive."""
    assert {Path(row["name"]).name: (row["image"], row["label"]) for row in rows(split)} == expected


def test_flowers102(publish: Publish) -> None:
    def matlab(**values: list[int]) -> bytes:
        target = io.BytesIO()
        savemat(target, {name: np.array([numbers]) for name, numbers in values.items()})
        return target.getvalue()

    photos = jpegs(*(f"jpg/image_{number:05d}.jpg" for number in range(1, 6)))
    files = {
        "102flowers.tgz": archive(photos),
        "imagelabels.mat": matlab(labels=[1, 102, 2, 3, 1]),
        "setid.mat": matlab(trnid=[5, 2], valid=[1, 4], tstid=[3, 4]),
    }
    fetching.fetch_source(publish("flowers102", files), RAW)
    names = datasets.Flowers102.classes
    assert labels("train") == [names[0], names[101]]
    check_files(
        "val",
        {
            "image_00001.jpg": (photos["jpg/image_00001.jpg"], names[0]),
            "image_00004.jpg": (photos["jpg/image_00004.jpg"], names[2]),
        },
    )
    assert labels("test") == [names[1], names[2]]
    assert len(set(names)) == 102, "names are labels: each must be a separate class"


def test_oxford_pets(publish: Publish) -> None:
    photos = jpegs("images/Abyssinian_1.jpg", "images/great_pyrenees_2.jpg")
    lists = {
        "annotations/trainval.txt": b"Abyssinian_1 1 1 1\ngreat_pyrenees_2 2 2 1\n",
        "annotations/test.txt": b"Abyssinian_9 1 1 1\ngreat_pyrenees_2 2 2 1\n",
    }
    fetching.fetch_source(
        publish("oxford_pets", {"images.tar.gz": archive(photos), "annotations.tar.gz": archive(lists)}), RAW
    )
    check_files(
        "train",
        {
            "Abyssinian_1.jpg": (photos["images/Abyssinian_1.jpg"], "Abyssinian"),
            "great_pyrenees_2.jpg": (photos["images/great_pyrenees_2.jpg"], "Great Pyrenees"),
        },
    )
    missing = rows("test")[0]
    assert missing["image"] is None
    assert "no such file" in missing["problem"]


def test_food101(publish: Publish) -> None:
    photos = jpegs(
        "food-101/images/apple_pie/1.jpg", "food-101/images/waffles/2.jpg", "food-101/images/waffles/3.jpg"
    )
    lists = {
        "train": {"apple_pie": ["apple_pie/1"], "waffles": ["waffles/2"]},
        "test": {"apple_pie": [], "waffles": ["waffles/3"]},
    }
    files = photos | {
        f"food-101/meta/{split}.json": json.dumps(names).encode() for split, names in lists.items()
    }
    fetching.fetch_source(publish("food101", {"food-101.tar.gz": archive(files)}), RAW)
    assert labels("train") == ["apple_pie", "waffles"]
    check_files("test", {"3.jpg": (photos["food-101/images/waffles/3.jpg"], "waffles")})


def test_dtd(publish: Publish) -> None:
    photos = jpegs("dtd/images/banded/b1.jpg", "dtd/images/zigzagged/z1.jpg", "dtd/images/banded/b2.jpg")
    lists = {
        "train": "banded/b1.jpg\nzigzagged/z1.jpg\n",
        "val": "banded/b2.jpg\n",
        "test": "zigzagged/z1.jpg\n",
    }
    files = photos | {f"dtd/labels/{split}1.txt": text.encode() for split, text in lists.items()}
    fetching.fetch_source(publish("dtd", {"dtd-r1.0.1.tar.gz": archive(files)}), RAW)
    assert [labels(split) for split in ("train", "val", "test")] == [
        ["banded", "zigzagged"],
        ["banded"],
        ["zigzagged"],
    ]
    refused_later = publish("dtd", {"dtd-r1.0.1.tar.gz": archive({"dtd/images/x": b""})})
    with pytest.raises(
        SourceError, match=r"(?s)torchvision cannot find dtd.*got:.*expected: its train split.*next:"
    ):
        fetching.fetch_source(refused_later, RAW)
