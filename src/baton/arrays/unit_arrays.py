"""Write where the units of a split's rows are read, and open them; `contracts.ragged.Units` describes them.

Files: `{split}.places.npy` (int64, units) and `{split}.places.offsets.npy` (int64, rows + 1).
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from baton.arrays.growing_array import Growing
from baton.contracts.input_spec import Truncation
from baton.contracts.ragged import Units
from baton.errors import DataError
from baton.texts import unit_places, words
from baton.texts.document_windows import Frame
from baton.texts.pair_windows import PairFrame

HINT = "run `dvc repro --force tokenize`"


class Writer:
    """Appends the places of rows' units; leaving the `with` block closes the files."""

    def __init__(
        self, folder: Path, split: str, cut: words.Cut, frame: Frame | PairFrame, truncation: Truncation
    ) -> None:
        """Entering the `with` block overwrites the files in `folder`; `cut` says how a text is cut."""
        self._cut, self._frame, self._truncation = cut, frame, truncation
        self._places, self._offsets = (Growing(path, np.int64) for path in _paths(folder, split))
        self._units = self._unread = 0

    def append(
        self, texts: Sequence[str], encodings: Sequence[Sequence[Encoding]], starts: NDArray[np.int64]
    ) -> None:
        """Append some rows.

        Args:
            texts: those whose words are units, (rows,): of pairs the second ones.
            encodings: of each row's text, or both, see `unit_places.find`, (rows,).
            starts: the place of the first token of each row in the split's tokens, (rows,).
        """
        found = []
        for text, own, start in zip(texts, encodings, starts, strict=True):
            places = unit_places.find(text, own, self._cut, self._frame, self._truncation)
            found.append(np.where(places < 0, -1, places + start))
        every = np.concatenate([np.zeros(0, np.int64), *found])
        self._places.append(every)
        self._offsets.append(self._units + np.cumsum([len(one) for one in found], dtype=np.int64))
        self._units += len(every)
        self._unread += int((every < 0).sum())

    @property
    def figures(self) -> dict[str, float]:
        """`words` (one more of each question), and the share of them that is not read, `unread_share`."""
        return {"words": self._units, "unread_share": self._unread / max(1, self._units)}

    def __enter__(self) -> Self:
        self._places.__enter__()
        self._offsets.__enter__()
        self._offsets.append(np.zeros(1, np.int64))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._places.__exit__(kind, error, traceback)
        self._offsets.__exit__(kind, error, traceback)


def open_units(folder: Path, split: str, tokens: int) -> Units:
    """Memory-map the units of one split, whose documents have `tokens` tokens in all.

    Raises:
        DataError: a file is missing, or they do not match.
    """
    paths = _paths(folder, split)
    for path in paths:
        if not path.is_file():
            expected = "an array written by `tokenize`"
            raise DataError(f"{path} is missing", expected=expected, hint="run `dvc repro tokenize`")
    places, offsets = (np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
    if offsets[-1] != len(places) or (len(places) and places.max() >= tokens):
        got = (
            f"{len(places)} places up to {places.max(initial=-1)}, offsets to {offsets[-1]}, {tokens} tokens"
        )
        raise DataError(f"{folder}/{split}.places*.npy do not match the tokens", got=got, hint=HINT)
    return Units(places, offsets)


def _paths(folder: Path, split: str) -> tuple[Path, Path]:
    return folder / f"{split}.places.npy", folder / f"{split}.places.offsets.npy"
