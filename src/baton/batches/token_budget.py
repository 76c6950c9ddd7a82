"""Steps with as many documents as fit a token budget.

Input: the documents of an epoch, in order. Output: a fixed number of steps, the same in each epoch. It
depends only on the sum of tokens, the longest document and the budget, so that schedule, validation and
resume know it before anything is drawn.
"""

import numpy as np
from numpy.typing import NDArray

from baton.errors import TrainingError


def steps(lengths: NDArray[np.int64], budget: int) -> int:
    """Return the number of steps of an epoch with which `cut` gives each step at most `budget` tokens.

    Args:
        lengths: the number of tokens of each document, (documents,).
        budget: the most tokens of a step.

    Raises:
        TrainingError: If the budget is too small for the longest document.
    """
    total, longest = int(lengths.sum()), int(lengths.max())
    if budget < 2 * longest - 1:
        got, expected = (
            f"tokens {budget}, but the longest document has {longest}",
            f"tokens of at least {2 * longest - 1}",
        )
        hint = "raise tokens, or lower tokenize.max_length (or truncation.most)"
        raise TrainingError(
            "a step is too small for the longest document", got=got, expected=expected, hint=hint
        )
    return -(-total // (budget - longest + 1))


def cut(lengths: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Split the documents' indices, in order, into `count` non-empty parts of about equally many tokens.

    A document belongs to the part in whose equal share of all tokens it begins, so a part exceeds that share
    by less than one document.
    """
    within = np.arange(count)
    first = np.searchsorted(share(lengths, count), within)
    # If one document covers a whole share, the following ones move to earlier parts.
    first = np.minimum(np.maximum.accumulate(first - within) + within, len(lengths) - count + within)
    return np.split(np.arange(len(lengths)), first[1:])


def share(lengths: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return in which of `count` equal shares of all tokens each document begins, (documents,)."""
    ends = np.cumsum(lengths)
    shares: NDArray[np.int64] = (ends - lengths) * count // ends[-1]
    return shares
