"""The share of the texts that the base model's tokenizer maps to its unknown token, hiding it from the model.

Input: the counts of `text_arrays.tokenize` for each document. Output: figures of a split and of each class,
and a warning or an error about them.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from baton import params
from baton.contracts.targets import Targets
from baton.errors import DataError

HINT = (
    "use a base model whose tokenizer covers the language and script of the texts "
    "(`base`; for most languages a multilingual one)"
)
SHOWN = 3  # the most classes named in a warning


def token(tokenizer: Tokenizer) -> int | None:
    """Return the id of the unknown token, or None if the tokenizer can encode any text (byte-level ones)."""
    if hasattr(tokenizer.model, "unk_token"):
        return (
            tokenizer.token_to_id(tokenizer.model.unk_token)
            if tokenizer.model.unk_token is not None
            else None
        )
    # A unigram model does not expose its id.
    number: int | None = json.loads(tokenizer.to_str())["model"].get("unk_id")
    return number


class Counts:
    """Counts the unknown tokens of a split and of each class, some documents at a time."""

    def __init__(self) -> None:
        self._unknown = self.own = 0  # unknown and all tokens
        self._classes = np.zeros((2, 0))  # unknown and all tokens of each class

    def add(self, unknown: NDArray[np.int32], own: NDArray[np.int32], targets: Targets | None) -> None:
        """Count some documents.

        Args:
            unknown: the number of unknown tokens of each document, (documents,).
            own: the number of tokens before truncation, without special ones, (documents,).
            targets: of the documents; None if some have no labels: there are no shares of classes then.
        """
        self._unknown += int(unknown.sum())
        self.own += int(own.sum())
        if targets is not None:
            rows, labels = targets.pairs
            width = max(self._classes.shape[1], 1 + int(labels.max(initial=-1)))
            more = [np.bincount(labels, count[rows], minlength=width) for count in (unknown, own)]
            known = np.pad(self._classes, ((0, 0), (0, width - self._classes.shape[1])))
            self._classes = known + np.array(more)

    @property
    def figures(self) -> dict[str, Any]:
        """`tokens` (the number of unknown ones), `share`, and `classes` (shares, in the names' order)."""
        found, of = self._classes
        return {
            "tokens": self._unknown,
            "share": float(self._unknown / max(1, self.own)),
            "classes": [float(share) for share in found / np.maximum(of, 1)],
        }


def named(split: str, found: dict[str, Any], labels: Sequence[str], limits: params.Unknown) -> str | None:
    """Return a warning if the unknown tokens of a split or a class exceed `limits.named`, else None."""
    shares = zip(found["classes"], labels, strict=False)  # a split may lack the last classes
    over = sorted(((share, label) for share, label in shares if share > limits.named), reverse=True)
    if found["share"] <= limits.named and not over:
        return None
    more = f" and {len(over) - SHOWN} more" if len(over) > SHOWN else ""
    classes = "; " + ", ".join(f"{label} {share:.1%}" for share, label in over[:SHOWN]) + more if over else ""
    of = f"{found['share']:.1%} of the tokens are unknown to the base model's tokenizer{classes}"
    return f"{split}: {of}. The model does not see them: {HINT}"


def check(split: str, found: dict[str, Any], limits: params.Unknown) -> None:
    """Refuse a split that the model could not read.

    Raises:
        DataError: If the share of unknown tokens exceeds `limits.refused`.
    """
    if found["share"] > limits.refused:
        problem = f"{split}: the base model's tokenizer does not know these texts"
        got, expected = (
            f"{found['share']:.1%} of the tokens are unknown",
            f"at most {limits.refused:.0%} (tokenize.unknown.refused)",
        )
        raise DataError(problem, got=got, expected=expected, hint=HINT)
