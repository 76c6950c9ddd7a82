"""Values of rows that have different numbers of them."""

import numpy as np

from baton.contracts.ragged import Ragged, Units

VALUES = Ragged(np.array([3.0, 1.0, 4.0, 1.0, 5.0]), np.array([0, 2, 2, 5, 5]))


def test_rows_in_any_order() -> None:
    assert len(VALUES) == 4 and VALUES.counts.tolist() == [2, 0, 3, 0]
    for rows in ([2, 0], slice(0, 3), np.array([False, True, True, False])):
        part, chosen = VALUES[rows], np.arange(4)[rows]
        parts = [VALUES.values[VALUES.offsets[row] : VALUES.offsets[row + 1]] for row in chosen]
        assert np.array_equal(part.values, np.concatenate(parts))
        assert part.counts.tolist() == [len(one) for one in parts]
    assert VALUES.owners.tolist() == [0, 0, 2, 2, 2]


def test_sums_over_the_units_of_a_row() -> None:
    assert VALUES.sums(VALUES.values).tolist() == [4, 0, 10, 0]
    assert VALUES.sums(np.eye(5)).sum(axis=1).tolist() == [2, 0, 3, 0]
    nothing = Ragged(np.zeros((0, 2)), np.array([0, 0]))
    assert nothing.sums(nothing.values).tolist() == [[0, 0]]


def test_units_that_are_read() -> None:
    units = Units(np.array([7, -1, -1, 9, 8]), VALUES.offsets)
    assert units.read(np.array([2, 1, 0])).tolist() == [3, 4, 0]
    assert units.part(np.array([2, 1])).places.tolist() == [-1, 9, 8]
    assert units.part(np.array([2, 1])).counts.tolist() == [3, 0]
