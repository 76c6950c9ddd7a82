"""Batches of equally frequent classes are a function of the step, and processes share their groups."""

import numpy as np
import pytest

from baton.batches import array_splits
from baton.batches.class_batches import ClassBatches
from baton.batches.sampler import Split
from baton.batches.subset import Part
from tests import tiny


def batches(split: Split, batch_size: int, accumulation: int, **own: int) -> ClassBatches:
    return ClassBatches(split=split, batch_size=batch_size, accumulation=accumulation, **own)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    folder = tmp_path_factory.mktemp("classes")
    tiny.write_arrays(folder)
    return array_splits.open_splits(folder / "arrays")["train"]


def test_classes_are_equally_frequent_even_if_train_is_not(split: Split) -> None:
    labels = split.targets.all
    rare = np.flatnonzero(labels == 0)[:2]
    skewed = Part(split, np.concatenate([rare, np.flatnonzero(labels > 0)]))
    own = batches(skewed, 12, 1, seed=0, steps=50)
    for step in range(50):
        (rows,) = own.groups(step)
        assert np.bincount(skewed.targets.all[rows], minlength=3).tolist() == [4, 4, 4]


def test_each_class_of_a_batch_has_a_pair(split: Split) -> None:
    for step in range(20):
        (rows,) = batches(split, 5, 1, seed=0, steps=50).groups(step)
        counts = np.bincount(split.targets.all[rows], minlength=3)
        assert len(rows) == 5 and sorted(counts) == [0, 2, 3]
        assert len(set(rows)) == 5


def test_a_batch_is_a_function_of_seed_and_step(split: Split) -> None:
    first, again, other = (batches(split, 12, 2, seed=seed, steps=50) for seed in (0, 0, 1))
    assert all(np.array_equal(*pair) for pair in zip(first.groups(7), again.groups(7), strict=True))
    assert not np.array_equal(first.groups(7)[0], first.groups(8)[0])
    assert not np.array_equal(first.groups(7)[0], other.groups(7)[0])


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_processes_share_the_groups_of_a_step(split: Split, ranks: int) -> None:
    whole = batches(split, 12, 2, seed=0, steps=50)
    seen, shares = [], 0.0
    for rank in range(ranks):
        parts = batches(split, 12, 2, seed=0, steps=50, rank=rank, ranks=ranks).micro_batches(3)
        assert parts, "every rank takes part in the exchange of gradients"
        shares += sum(share for _, share in parts)
        seen += [tuple(part.rows.tolist()) for part, share in parts if share]
    assert sorted(seen) == sorted(tuple(group.tolist()) for group in whole.groups(3))
    assert shares == pytest.approx(1.0)
    assert whole.size(3) == 12
