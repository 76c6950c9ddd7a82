"""Steps of as many documents as fit a budget of tokens: where an epoch's documents are cut.

Documents in order -> a fixed number of steps, the same in each epoch. It follows from the sum of tokens, the longest document and the
budget alone, so that schedule, validation and resume know it before anything is drawn.
"""

import numpy as np
from numpy.typing import NDArray

from baton.errors import TrainingError


def steps(lengths: NDArray[np.int64], budget: int) -> int:
    """Steps of an epoch, so many that `cut` gives each at most `budget` tokens.

    Args:
        lengths: tokens of each document, (documents,).
        budget: of a step.

    Raises:
        TrainingError: a step could not be filled with documents as long as the longest.
    """
    total, longest = int(lengths.sum()), int(lengths.max())
    if budget < 2 * longest - 1:
        got, expected = (
            f"tokens {budget}, and the longest document has {longest}",
            f"tokens of at least {2 * longest - 1}",
        )
        hint = "raise tokens, or lower tokenize.max_length (or truncation.most)"
        raise TrainingError(
            "a step is too small for the longest document", got=got, expected=expected, hint=hint
        )
    return -(-total // (budget - longest + 1))


def cut(lengths: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Places of the documents (documents,), in order, in `count` parts of about as many tokens; none is empty.

    A document belongs to the part in whose equal share of all tokens it begins, so a part has less than that share and one document.
    """
    within = np.arange(count)
    first = np.searchsorted(share(lengths, count), within)
    # Where one document covers a whole share, the next ones come earlier.
    first = np.minimum(np.maximum.accumulate(first - within) + within, len(lengths) - count + within)
    return np.split(np.arange(len(lengths)), first[1:])


def share(lengths: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Of `count` equal shares of all tokens, that in which each document begins, (documents,)."""
    ends = np.cumsum(lengths)
    shares: NDArray[np.int64] = (ends - lengths) * count // ends[-1]
    return shares
