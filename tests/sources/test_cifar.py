"""CIFAR's batches as pickled by Python 2; no code in a pickle is run."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton.errors import SourceError
from baton.sources import cifar
from tests import image_files

PIXELS = image_files.noise(0, 5, 32 * 32).reshape(5, 32, 32, 3)
LABELS = [3, 1, 4, 1, 5]


def batch(**changes: Any) -> bytes:
    values: dict[str, Any] = {
        "batch_label": "training batch 1 of 5",
        "labels": LABELS,
        "data": image_files.planes(PIXELS),
        "filenames": ["a.png"] * 5,
    }
    return image_files.python2_pickle(values | changes)


def test_the_made_pickle_is_what_numpy_reads_as_torchvision_does() -> None:
    found = pickle.loads(batch(), encoding="latin1")
    assert np.array_equal(found["data"], image_files.planes(PIXELS))
    assert found["labels"] == LABELS


def test_pixels_and_labels() -> None:
    pixels, labels = cifar.images(batch(), "data_batch_1", "labels")
    assert np.array_equal(pixels, PIXELS)
    assert labels == LABELS


def test_an_array_by_columns() -> None:
    pixels, _ = cifar.images(
        batch(data=np.asfortranarray(image_files.planes(PIXELS))), "data_batch_1", "labels"
    )
    assert np.array_equal(pixels, PIXELS)


def test_class_names() -> None:
    content = image_files.python2_pickle(
        {"num_cases_per_batch": 10000, "label_names": ["airplane", "automobile"], "num_vis": 3072}
    )
    assert cifar.class_names(content, "batches.meta", "label_names") == ["airplane", "automobile"]


class Evil:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


MALICIOUS = [
    Evil(Path.touch, Path("ran")),
    Evil(os.system, "touch ran"),
    Evil(eval, "open('ran', 'w')"),
    Evil(getattr, "x", "upper"),
    Evil(np.load, "ran"),
    Evil(np.ndarray, (2, 2)),
    Path("x"),
]


@pytest.mark.parametrize("bait", MALICIOUS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bait: Any, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({b"data": bait, b"labels": [1]}, protocol)
    with pytest.raises(
        SourceError, match=r"(?s)data_batch_1 is not a CIFAR batch.*got:.*(it asks for|not callable).*next:"
    ):
        cifar.load(content, "data_batch_1")
    assert not Path("ran").exists()


def test_the_bait_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(MALICIOUS[0]))
    assert Path("ran").exists()


def test_names_that_are_given_out_do_nothing() -> None:
    # A pickle can call the three names with any arguments: the stand-ins store them and build no array.
    content = b"(dS'data'\ncnumpy.core.multiarray\n_reconstruct\n(S'any'\nI99\ntRs."
    assert cifar.load(content, "data_batch_1") == {b"data": None}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "EOFError"),
        (batch()[:-100], "is not a CIFAR batch"),
        (b"no pickle", "is not a CIFAR batch"),
        (image_files.python2_pickle([1, 2]), "list"),
        (batch(data=image_files.planes(PIXELS)[:, :100]), r"\(5, 100\)"),
        (batch(data=image_files.planes(PIXELS).astype(np.float32)), "array of type b'f4'"),
        (batch(data=b"bytes"), "data is bytes"),
        (batch(labels=LABELS[:-1]), "not a list of 5 integers"),
        (batch(labels=[True] * 5), "not a list of 5 integers"),
        (image_files.python2_pickle({"data": image_files.planes(PIXELS)}), "labels is not a list"),
    ],
)
def test_other_batches_are_refused(content: bytes, problem: str) -> None:
    with pytest.raises(SourceError, match=problem) as caught:
        cifar.images(content, "data_batch_1", "labels")
    assert all(part in str(caught.value) for part in ("data_batch_1", "got:", "expected:", "next:"))
