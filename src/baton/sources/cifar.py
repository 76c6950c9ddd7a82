"""CIFAR's batches, which are pickles, read without running what a pickle can run.

An unpickler asks for every function and class by name. This one knows three names of NumPy and gives a stand-in of ours for each, which
keeps its arguments and does nothing; whatever else is asked for ends the reading. What is left are plain values and the bytes of an array.
"""

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.errors import SourceError

CHANNELS, SIDE = 3, 32
EXPECTED = "a dictionary of plain values and arrays of unsigned bytes, pickled by Python 2"


def images(content: bytes, name: str, label_key: str) -> tuple[NDArray[np.uint8], list[int]]:
    """Pixels and labels of one batch.

    Args:
        content: the batch file.
        name: of the file, for messages.
        label_key: `labels` in CIFAR-10, `fine_labels` in CIFAR-100.

    Returns:
        uint8 (n, 32, 32, 3), and n labels.

    Raises:
        SourceError: it asks for anything but an array, or is no such batch.
    """
    batch = load(content, name)
    data, labels = batch.get(b"data"), batch.get(label_key.encode())
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != CHANNELS * SIDE * SIDE:
        raise _wrong(
            name, f"data is {type(data).__name__} {getattr(data, 'shape', '')}", "an array (n, 3072)"
        )
    if (
        not isinstance(labels, list)
        or len(labels) != len(data)
        or not all(type(label) is int for label in labels)
    ):
        raise _wrong(
            name,
            f"{label_key} is no list of {len(data)} whole numbers",
            f"a label for each of {len(data)} images",
        )
    return data.reshape(-1, CHANNELS, SIDE, SIDE).transpose(
        0, 2, 3, 1
    ), labels  # (n, 3, 32, 32) -> (n, 32, 32, 3)


def class_names(content: bytes, name: str, key: str) -> list[str]:
    """The names of the classes, in the order of their numbers.

    Raises:
        SourceError: as for `images`.
    """
    names = load(content, name).get(key.encode())
    if not isinstance(names, list) or not all(isinstance(item, bytes) for item in names):
        raise _wrong(name, f"{key} is {type(names).__name__}", "a list of names")
    return [item.decode("utf-8", "backslashreplace") for item in names]


def load(content: bytes, name: str) -> dict[Any, Any]:
    """The dictionary in a batch file; text of Python 2 is bytes.

    Raises:
        SourceError: it asks for anything but an array, or is damaged.
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # noqa: BLE001  a malformed pickle leads the unpickler to any of them
        raise _wrong(name, f"{type(error).__name__}: {error}", EXPECTED) from None
    if not isinstance(found, dict):
        raise _wrong(name, type(found).__name__, EXPECTED)
    return {key: value.array if isinstance(value, _Array) else value for key, value in found.items()}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case ("numpy.core.multiarray", "_reconstruct"):
                return _Array
            case ("numpy", "ndarray"):
                return "ndarray"  # only ever an argument
            case ("numpy", "dtype"):
                return _Type
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not given out")


class _Array:
    """Takes what NumPy would make an array of."""

    def __init__(self, *_: object) -> None:
        self.array: NDArray[np.uint8] | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, by_columns, content = state
        if not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("it holds an array of something else than unsigned bytes")
        flat = np.frombuffer(content, np.uint8)
        self.array = flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)


class _Type:
    """Takes what NumPy would make a type of numbers of."""

    def __init__(self, code: object, *_: object) -> None:
        if code != b"u1":
            raise pickle.UnpicklingError(f"it holds an array of type {code!r}")

    def __setstate__(self, state: object) -> None:
        pass  # byte order and the like, which bytes do not have


def _wrong(name: str, got: str, expected: str) -> SourceError:
    hint = "do not open this file in any other way; fetch the archive again and compare its digest"
    return SourceError(f"{name} is no CIFAR batch", got=got, expected=expected, hint=hint)
