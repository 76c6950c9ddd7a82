"""What report.json says of the documents of a split, counted some documents at a time.

Input: encodings and what is read of them. Output: the figures of `text_arrays.tokenize`. In memory are four
bytes for each document, its length, whose quantiles need all of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Encoding

from baton.arrays import unknown_tokens
from baton.contracts.targets import Targets
from baton.texts.pair_windows import Read

QUANTILES = (5, 25, 50, 75, 95, 99)


class DocumentFigures:
    """Counts documents, their windows and tokens, and those that are left out or unknown."""

    def __init__(self, documents: int, foreign: int | None) -> None:
        """`documents` come in all; `foreign` is the id of the tokenizer's unknown token, if it has one."""
        self._own = np.zeros(documents, np.int32)  # tokens before truncation
        self._foreign, self._unknown = foreign, unknown_tokens.Counts()
        self._done = self._truncated = self._left_out = 0
        self.windows = self.tokens = 0  # those that are read

    def add(
        self, encodings: Sequence[Sequence[Encoding]], read: Sequence[Read], targets: Targets | None
    ) -> None:
        """Count some documents.

        Args:
            encodings: of each text of the documents, of pairs two, (texts, documents).
            read: what is read of each, (documents,).
            targets: of the documents; None if they may have no labels.
        """
        own, unknown = (np.zeros(len(read), np.int32) for _ in range(2))
        for items in encodings:
            own += np.array([len(item.ids) for item in items], np.int32)
            if self._foreign is not None:
                unknown += np.array([item.ids.count(self._foreign) for item in items], np.int32)
        self._unknown.add(unknown, own, targets)
        self._own[self._done : self._done + len(read)] = own
        self._done += len(read)
        self._left_out += sum(item.left_out for item in read)
        self._truncated += sum(item.left_out > 0 for item in read)
        self.windows += sum(len(item.windows) for item in read)
        self.tokens += sum(len(window) for item in read for window in item.windows)

    def described(self, special: int) -> dict[str, Any]:
        """Return the figures; `special` tokens are around each text."""
        lengths = np.percentile(self._own, QUANTILES, method="nearest")
        quantiles = {f"p{q}": int(length) + special for q, length in zip(QUANTILES, lengths, strict=True)}
        return {
            "documents": len(self._own),
            "windows": self.windows,
            "tokens": self.tokens,
            "truncated": self._truncated,
            "truncated_share": self._truncated / len(self._own),
            "left_out_share": float(self._left_out / max(1, self._unknown.own)),
            "lengths": {**quantiles, "max": int(self._own.max()) + special},
            "unknown": self._unknown.figures,
        }
