"""Nested stratified subsets of the train rows, on which a learning curve is measured.

Inputs: labels, a seed -> an order of the rows, of which each beginning is a subset; sizes of the subsets.
"""

import numpy as np
from numpy.typing import NDArray

STEP = 2**0.5  # from one size to the next
HALVINGS = 4  # from all rows to the smallest subset
ROWS_OF_CLASS = 2  # of the smallest subset, on average
LEAST = 10  # rows


def sizes(rows: int, classes: int) -> list[int]:
    """Return the sizes of the subsets, ascending: all rows, and less by a factor of the root of 2 each time.

    The smallest has a sixteenth of the rows, or two for each class.
    """
    least = max(LEAST, ROWS_OF_CLASS * classes)
    found = {rows} | {round(rows / STEP**step) for step in range(1, 2 * HALVINGS + 1)}
    return sorted(size for size in found if size >= least)


def order(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the rows (rows,) in an order in which each beginning has the classes in nearly their shares.

    The rows of a class are shuffled and spread evenly, from a random start. The order depends on the labels
    and the seed alone.
    """
    draw = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        place[own] = (draw.permutation(len(own)) + draw.uniform()) / len(own)
    return np.argsort(place, kind="stable")
