"""A NumPy array on disk whose length is not known until the last value is written."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Growing:
    """A writer that appends to an .npy file; leaving the `with` block writes the length."""

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...] = ()) -> None:
        """Entering the `with` block overwrites `path`; `shape` is that of one of its values."""
        self._path, self._dtype, self._shape, self._length = path, np.dtype(dtype), shape, 0

    def append(self, values: NDArray[Any]) -> None:
        """Append values of the array's type."""
        assert (values.dtype, values.shape[1:]) == (self._dtype, self._shape)
        values.tofile(self._file)
        self._length += len(values)

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        self._write_header()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.seek(0)
        self._write_header()  # NumPy pads the header, so the true length fits in the same bytes
        self._file.close()

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
