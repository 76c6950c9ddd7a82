"""How much of the texts the base model's tokenizer does not know: words that became its unknown token, of which the model sees nothing.

Input: what `text.tokenize` counted in each document -> figures of a split and of each class, what to say of them, or a refusal.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from baton import params
from baton.errors import DataError

HINT = "take a base model whose tokenizer knows the texts' language and signs (`base`; for most languages a multilingual one)"
SHOWN = 3  # classes that are named


def token(tokenizer: Tokenizer) -> int | None:
    """Id of the unknown token; None where the tokenizer can write every text (byte-level ones)."""
    if hasattr(tokenizer.model, "unk_token"):
        return (
            tokenizer.token_to_id(tokenizer.model.unk_token)
            if tokenizer.model.unk_token is not None
            else None
        )
    number: int | None = json.loads(tokenizer.to_str())["model"].get(
        "unk_id"
    )  # of a unigram model, which does not show it
    return number


def figures(unknown: NDArray[np.int32], own: NDArray[np.int32], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Share of unknown tokens of a split and of each class.

    Args:
        unknown: unknown tokens of each document, (documents,).
        own: tokens without special ones, before truncation, (documents,).
        labels: (documents,).

    Returns:
        `tokens` (unknown ones), `share` and `classes` (shares, in the order of the labels).
    """
    shares = np.bincount(labels, unknown) / np.maximum(np.bincount(labels, own), 1)  # (classes,)
    return {
        "tokens": int(unknown.sum()),
        "share": float(unknown.sum() / max(1, own.sum())),
        "classes": [float(share) for share in shares],
    }


def named(split: str, found: dict[str, Any], labels: Sequence[str], limits: params.Unknown) -> str | None:
    """What to tell of a split: that it, or a class of it, has more unknown tokens than `limits.named`; else None."""
    shares = zip(found["classes"], labels, strict=False)  # a split may lack the last classes
    over = sorted(((share, label) for share, label in shares if share > limits.named), reverse=True)
    if found["share"] <= limits.named and not over:
        return None
    more = f" and {len(over) - SHOWN} more" if len(over) > SHOWN else ""
    classes = "; " + ", ".join(f"{label} {share:.1%}" for share, label in over[:SHOWN]) + more if over else ""
    of = f"{found['share']:.1%} of the tokens are unknown to the base model's tokenizer{classes}"
    return f"{split}: {of}. The model sees nothing of them: {HINT}"


def check(split: str, found: dict[str, Any], limits: params.Unknown) -> None:
    """Refuse a split that the model could not read.

    Raises:
        DataError: more of its tokens are unknown than `limits.refused`.
    """
    if found["share"] > limits.refused:
        problem = f"{split}: the base model's tokenizer does not know these texts"
        got, expected = (
            f"{found['share']:.1%} of the tokens are unknown",
            f"at most {limits.refused:.0%} (tokenize.unknown.refused)",
        )
        raise DataError(problem, got=got, expected=expected, hint=HINT)
