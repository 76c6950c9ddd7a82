"""Batches as a pure function of (seed, epoch, position)."""

import numpy as np
import pytest

from baton.arrays.text_arrays import TextArrays
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.errors import TrainingError
from tests import tiny


@pytest.fixture
def arrays() -> TextArrays:
    lengths = np.random.default_rng(0).integers(2, 40, size=203)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TextArrays(
        np.arange(1, offsets[-1] + 1, dtype=np.int32), offsets, tiny.targets(np.arange(203) % 5)
    )


def make(arrays: TextArrays, seed: int = 0, batch_size: int = 8, accumulation: int = 1) -> TrainingBatches:
    return TrainingBatches(TextSplit(arrays, 0), batch_size, accumulation, seed)


def test_an_epoch_is_every_row_once(arrays: TextArrays) -> None:
    batches = make(arrays)
    for epoch in range(3):
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        assert sorted(np.concatenate([batches.rows(step) for step in steps])) == list(range(203))


def test_a_batch_depends_on_seed_and_step_alone(arrays: TextArrays) -> None:
    forwards, jumping = make(arrays), make(arrays)
    order = np.random.default_rng(1).permutation(3 * forwards.steps_per_epoch)
    jumped = {int(step): jumping.rows(int(step)) for step in order}
    assert all((forwards.rows(step) == jumped[step]).all() for step in range(3 * forwards.steps_per_epoch))
    assert any((make(arrays, seed=1).rows(step) != forwards.rows(step)).any() for step in range(10))
    assert (forwards.rows(0) != forwards.rows(forwards.steps_per_epoch)).any()


def test_buckets_compute_little_padding(arrays: TextArrays) -> None:
    batches = make(arrays)
    padded = sum(
        batch.input_ids.numel()
        for step in range(batches.steps_per_epoch)
        for batch, _ in batches.micro_batches(step)
    )
    unsorted = sum(
        TextSplit(arrays, 0).batch(np.arange(start, min(start + 8, 203))).input_ids.numel()
        for start in range(0, 203, 8)
    )
    assert padded < 1.3 * len(arrays.tokens) < 0.8 * unsorted


def test_micro_batches_are_the_batch_in_parts(arrays: TextArrays) -> None:
    whole, parts = make(arrays), make(arrays, accumulation=4)
    for step in range(whole.steps_per_epoch):
        found = parts.micro_batches(step)
        assert (np.concatenate([part.rows.numpy() for part, _ in found]) == whole.rows(step)).all()
        assert [share for _, share in found] == [len(part) / whole.size(step) for part, _ in found]


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_share_a_batch(arrays: TextArrays, ranks: int) -> None:
    whole = make(arrays)  # 203 = 25 * 8 + 3: two of five ranks get no rows of the last batch
    for step in range(whole.steps_per_epoch):
        found = [
            TrainingBatches(TextSplit(arrays, 0), 8, 2, 0, tuple, rank, ranks).micro_batches(step)
            for rank in range(ranks)
        ]
        assert all(found), "every rank takes part in every step"
        rows = [row for parts in found for part, share in parts if share for row in part.rows.tolist()]
        assert sorted(rows) == sorted(whole.rows(step).tolist())
        assert sum(share for parts in found for _, share in parts) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("samples", "sizes"),
    [(25, [8, 8, 9]), (24, [8, 8, 8]), (26, [2, 8, 8, 8]), (5, [5]), (401, [8] * 49 + [9])],
)
def test_a_last_batch_too_small_for_the_model_joins_another(samples: int, sizes: list[int]) -> None:
    offsets = np.arange(samples + 1)
    few = TextSplit(
        TextArrays(offsets[1:].astype(np.int32), offsets, tiny.targets(np.zeros(samples, dtype=np.int64))), 0
    )
    batches = TrainingBatches(few, 8, 4, 0, smallest=2)
    for epoch in range(2):
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        assert sorted(np.concatenate([batches.rows(step) for step in steps])) == list(range(samples))
        assert sorted(batches.size(step) for step in steps) == sizes
        parts = [part for step in steps for part in batches.micro_batches(step)]
        assert min(len(part) for part, _ in parts) >= 2
        assert sum(share for _, share in parts) == pytest.approx(len(steps))


@pytest.mark.parametrize(("ranks", "accumulation"), [(2, 2), (3, 1)])
def test_each_rank_gets_as_many_as_the_model_needs(arrays: TextArrays, ranks: int, accumulation: int) -> None:
    each = [
        TrainingBatches(TextSplit(arrays, 0), 8, accumulation, 0, rank=rank, ranks=ranks, smallest=2)
        for rank in range(ranks)
    ]
    for step in range(each[0].steps_per_epoch):
        assert min(len(part) for batches in each for part, _ in batches.micro_batches(step)) >= 2


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "ranks", "message"),
    [
        (3, 1, 2, r"batch_size 3, accumulation 1, 2 processes.*\s+expected: a batch_size of at least 4"),
        (8, 8, 1, r"batch_size 8, accumulation 8, 1 processes.*\s+expected: a batch_size of at least 16"),
        (1000, 1, 102, r"203 rows of train\s+expected: at least 204 rows\s+next: .*runtime.processes"),
    ],
)
def test_parts_too_small_for_the_model_are_refused(
    arrays: TextArrays, batch_size: int, accumulation: int, ranks: int, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        TrainingBatches(TextSplit(arrays, 0), batch_size, accumulation, 0, ranks=ranks, smallest=2)
    TrainingBatches(TextSplit(arrays, 0), batch_size, accumulation, 0, ranks=ranks)


def test_names_are_the_ids_of_the_batch(arrays: TextArrays) -> None:
    ids = [f"train:{row + 1}" for row in range(203)]
    batches = TrainingBatches(TextSplit(arrays, 0), 8, 1, 0, lambda: ids)
    assert batches.names(3) == [ids[row] for row in batches.rows(3)]


def test_a_batch_pads_and_masks(arrays: TextArrays) -> None:
    batch = TextSplit(arrays, 0).batch(np.array([3, 7]))
    for index, row in enumerate((3, 7)):
        length = int(arrays.lengths[row])
        assert (
            batch.input_ids[index, :length].tolist()
            == arrays.tokens[arrays.offsets[row] : arrays.offsets[row + 1]].tolist()
        )
        assert batch.input_ids[index, length:].sum() == 0
        assert batch.attention_mask[index].sum() == length
    assert batch.targets.tolist() == [3, 2]
