"""Rows to label are uncertain and unlike each other; ties and equal rows do no harm."""

import numpy as np
import pytest

from baton.labelling import selection


def pool(rows: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features in six groups, probabilities that are unsure in three of them, and the groups."""
    draw = np.random.default_rng(0)
    group = np.arange(rows) % 6
    features = (5 * np.eye(6)[group] + 0.3 * draw.normal(size=(rows, 6))).astype(np.float32)
    first = np.where(group < 3, draw.uniform(0.4, 0.6, rows), draw.uniform(0.95, 1, rows))
    return features, np.stack([first, 1 - first], axis=1), group


def test_uncertainty_is_one_minus_the_margin() -> None:
    found = selection.uncertainty(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.5, 0.3]]))
    assert found == pytest.approx([1.0, 0.0, 0.8])


def test_they_are_uncertain_and_of_all_kinds() -> None:
    features, shares, group = pool()
    chosen = selection.choose(features, shares, 3, 0)
    assert sorted(group[chosen]) == [0, 1, 2]


def test_by_uncertainty_alone_they_may_be_of_one_kind() -> None:
    """The control: one group is a little less certain than the others."""
    features, shares, group = pool()
    shares[group == 1] = 0.5
    alone = np.argsort(-selection.uncertainty(shares), kind="stable")[:3]
    assert set(group[alone]) == {1}
    many = selection.choose(features, shares, 20, 0)
    assert set(group[many]) == {0, 1, 2}


@pytest.mark.parametrize("count", [1, 7, 50])
def test_there_are_as_many_as_wanted_and_no_row_twice(count: int) -> None:
    features, shares, _ = pool()
    chosen = selection.choose(features, shares, count, 0)
    assert len(set(chosen)) == len(chosen) == count
    assert (chosen == selection.choose(features, shares, count, 0)).all()


def test_few_rows_are_all_taken() -> None:
    features, shares, _ = pool(6)
    assert sorted(selection.choose(features, shares, 10, 0)) == list(range(6))
    assert len(selection.choose(features[:0], shares[:0], 10, 0)) == 0


def test_equal_rows_fill_up_what_clusters_leave() -> None:
    features, shares = np.ones((50, 4), np.float32), np.full((50, 2), 0.5)
    assert len(set(selection.choose(features, shares, 8, 0))) == 8


def test_a_model_that_is_sure_of_all_rows_still_has_a_choice() -> None:
    features, _, group = pool()
    chosen = selection.choose(features, np.tile([1.0, 0.0], (len(features), 1)), 60, 0)
    assert set(group[chosen]) == set(range(6))
