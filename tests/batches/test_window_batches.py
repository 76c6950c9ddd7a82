"""Batches of documents read in several windows."""

import numpy as np
import pytest

from baton.arrays.text_arrays import TextArrays
from baton.batches.sampler import TrainingBatches, by_windows
from baton.batches.text_batches import TextSplit
from tests import tiny

COUNTS = np.random.default_rng(1).integers(1, 6, size=203)  # windows of each document


@pytest.fixture
def arrays() -> TextArrays:
    lengths = np.random.default_rng(0).integers(2, 17, size=COUNTS.sum())
    offsets, documents = (np.concatenate([[0], np.cumsum(counts)]) for counts in (lengths, COUNTS))
    return TextArrays(
        np.arange(1, offsets[-1] + 1, dtype=np.int32), offsets, tiny.targets(np.arange(203) % 5), documents
    )


def test_a_batch_holds_every_window_of_its_documents_and_says_whose_it_is(arrays: TextArrays) -> None:
    assert arrays.documents is not None
    rows = np.array([7, 3, 150])
    batch = TextSplit(arrays, 0).batch(rows)
    ids, mask, owners = batch.inputs
    assert (len(batch), batch.shape) == (3, (COUNTS[rows].sum(), 16)) and owners.shape == (3, len(ids))
    assert batch.targets.tolist() == arrays.targets.take(rows).tolist()
    for place, row in enumerate(rows):
        own = ids[owners[place]][mask[owners[place]].bool()]
        start, end = arrays.offsets[arrays.documents[row]], arrays.offsets[arrays.documents[row + 1]]
        assert own.tolist() == arrays.tokens[start:end].tolist()
    assert owners.sum(0).tolist() == [1] * len(ids)
    assert int(ids[mask == 0].sum()) == 0
    assert TextSplit(arrays, 0).lengths[rows].tolist() == [
        int(mask[owners[place]].sum()) for place in range(3)
    ]


def test_documents_of_one_window_are_the_batch_that_they_were_before(arrays: TextArrays) -> None:
    single = np.flatnonzero(COUNTS == 1)[:8]
    assert arrays.documents is not None
    starts = arrays.documents[single]
    alone = TextArrays(
        arrays.tokens, arrays.offsets, tiny.targets(np.zeros(len(arrays.offsets) - 1, dtype=np.int64))
    )
    ours, plain = TextSplit(arrays, 0).batch(single), TextSplit(alone, 0).batch(starts)
    assert len(ours.inputs) == len(plain.inputs) == 2
    assert all((one == other).all() for one, other in zip(ours.inputs, plain.inputs, strict=True))


@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 1), (1, 4), (2, 2), (3, 1)])
def test_parts_of_a_step_are_all_its_documents_and_hold_no_more_windows_than_short_documents_would(
    arrays: TextArrays, ranks: int, accumulation: int
) -> None:
    each = [
        TrainingBatches(TextSplit(arrays, 0), 24, accumulation, 0, rank=rank, ranks=ranks)
        for rank in range(ranks)
    ]
    most = 24 // (ranks * accumulation)
    for step in range(each[0].steps_per_epoch):
        parts = [part for batches in each for part in batches.micro_batches(step)]
        assert sorted(row for part, _ in parts for row in part.rows.tolist()) == sorted(
            each[0].rows(step).tolist()
        )
        assert all(part.shape[0] <= most or len(part) == 1 for part, _ in parts)
        assert all(share == pytest.approx(len(part) / each[0].size(step)) for part, share in parts)
        assert sum(share for _, share in parts) == pytest.approx(1.0)


def test_rows_are_parted_by_their_windows() -> None:
    windows = np.array([1, 1, 3, 2, 2, 9, 1])
    assert [part.tolist() for part in by_windows(np.array([6, 0, 2, 3, 4, 5, 1]), windows, 4)] == [
        [6, 0],
        [2],
        [3, 4],
        [5],
        [1],
    ]
    assert [part.tolist() for part in by_windows(np.array([0, 1, 6]), windows, 2)] == [[0, 1, 6]], (
        "each of one: as they are"
    )
