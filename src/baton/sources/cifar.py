"""Read CIFAR's batches, which are pickles, without running any code in them.

An unpickler looks up every function and class by name. This one knows three NumPy names and returns a
stand-in for each, which stores its arguments and does nothing; any other name stops the reading. The result
is plain values and the bytes of an array.
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
    """Return the pixels and labels of one batch.

    Args:
        content: the content of the batch file.
        name: the name of the file, for messages.
        label_key: `labels` in CIFAR-10, `fine_labels` in CIFAR-100.

    Returns:
        uint8 (n, 32, 32, 3), and n labels.

    Raises:
        SourceError: it asks for anything but an array, or is not a CIFAR batch.
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
            f"{label_key} is not a list of {len(data)} integers",
            f"a label for each of {len(data)} images",
        )
    # (n, 3, 32, 32) -> (n, 32, 32, 3)
    return data.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1), labels


def class_names(content: bytes, name: str, key: str) -> list[str]:
    """Return the names of the classes, in the order of their numbers.

    Raises:
        SourceError: as for `images`.
    """
    names = load(content, name).get(key.encode())
    if not isinstance(names, list) or not all(isinstance(item, bytes) for item in names):
        raise _wrong(name, f"{key} is {type(names).__name__}", "a list of names")
    return [item.decode("utf-8", "backslashreplace") for item in names]


def load(content: bytes, name: str) -> dict[Any, Any]:
    """Return the dictionary in a batch file; Python 2 strings become bytes.

    Raises:
        SourceError: it asks for anything but an array, or is damaged.
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # noqa: BLE001  a malformed pickle can raise any of them
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
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")


class _Array:
    """A stand-in that takes the arguments from which NumPy would build an array."""

    def __init__(self, *_: object) -> None:
        self.array: NDArray[np.uint8] | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, by_columns, content = state
        if not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("it contains an array that does not hold unsigned bytes")
        flat = np.frombuffer(content, np.uint8)
        self.array = flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)


class _Type:
    """A stand-in that takes the arguments from which NumPy would build a dtype."""

    def __init__(self, code: object, *_: object) -> None:
        if code != b"u1":
            raise pickle.UnpicklingError(f"it contains an array of type {code!r}")

    def __setstate__(self, state: object) -> None:
        pass  # byte order and the like, irrelevant for bytes


def _wrong(name: str, got: str, expected: str) -> SourceError:
    hint = "do not open this file in any other way; fetch the archive again and compare its digest"
    return SourceError(f"{name} is not a CIFAR batch", got=got, expected=expected, hint=hint)
