"""Steps by token budget: never exceeded, each document once per epoch, a number of steps known in advance."""

import numpy as np
import pytest

from baton.arrays.text_arrays import TextArrays
from baton.batches import token_budget
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batch import PackedBatch
from baton.batches.text_batches import TextSplit
from baton.errors import TrainingError
from tests import tiny


def documents(count: int, longest: int, seed: int = 0) -> TextSplit:
    lengths = np.random.default_rng(seed).integers(2, longest + 1, count)
    lengths[0] = longest
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TextSplit(
        TextArrays(np.ones(offsets[-1], np.int32), offsets, tiny.targets(np.zeros(count, np.int64))), 0
    )


def make(
    split: TextSplit, tokens: int, accumulation: int = 1, rank: int = 0, ranks: int = 1
) -> TrainingBatches:
    return TrainingBatches(split, None, accumulation, 0, tuple, rank, ranks, tokens=tokens)


@pytest.mark.parametrize("seed", range(200))
def test_parts_hold_every_document_in_order_within_the_budget(seed: int) -> None:
    random = np.random.default_rng(seed)
    lengths = random.choice([1, 2, 30, 31], random.integers(1, 40), p=random.dirichlet(np.ones(4)))
    least = 2 * lengths.max() - 1
    for tokens in (least, least + 1, 3 * least):
        parts = token_budget.cut(lengths, token_budget.steps(lengths, tokens))
        assert np.concatenate(parts).tolist() == list(range(len(lengths)))
        assert min(map(len, parts)) > 0
        assert max(lengths[part].sum() for part in parts) <= tokens


def test_little_of_the_budget_is_left() -> None:
    """The last document may begin just before a step's share ends.

    On average half a document remains unused, at most a whole one.
    """
    lengths = documents(20_000, 128).lengths
    steps = token_budget.steps(lengths, 32_768)
    assert steps == -(-lengths.sum() // (32_768 - 127))
    sums = [lengths[part].sum() for part in token_budget.cut(lengths, steps)]
    assert max(sums) - min(sums) <= 2 * 128
    assert np.mean(sums) > 0.97 * 32_768


def test_an_epoch_is_every_row_once_in_a_number_of_steps_that_never_changes() -> None:
    split, tokens = documents(2000, 40), 200
    batches, jumping = make(split, tokens), make(split, tokens)
    count = batches.steps_per_epoch
    rows = {step: batches.rows(step) for step in range(3 * count)}
    for epoch in range(3):
        assert sorted(np.concatenate([rows[epoch * count + step] for step in range(count)])) == list(
            range(2000)
        )
    assert max(split.lengths[own].sum() for own in rows.values()) <= tokens
    for step in np.random.default_rng(1).permutation(3 * count)[:50]:
        assert (jumping.rows(int(step)) == rows[int(step)]).all()
    assert (rows[0].shape != rows[count].shape) or (rows[0] != rows[count]).any()
    padded = sum(len(own) * int(split.lengths[own].max()) for own in rows.values())
    assert padded < 1.1 * 3 * split.lengths.sum()  # documents of similar lengths share a step


@pytest.mark.parametrize(("accumulation", "ranks"), [(1, 2), (3, 1), (2, 3), (1, 7)])
def test_parts_of_all_ranks_are_the_step(accumulation: int, ranks: int) -> None:
    split = documents(101, 40)
    whole = make(split, 100)
    for step in range(whole.steps_per_epoch):
        found = [make(split, 100, accumulation, rank, ranks).micro_batches(step) for rank in range(ranks)]
        assert all(found), "every rank takes part in every step"
        rows = [row for parts in found for part, share in parts if share for row in part.rows.tolist()]
        assert sorted(rows) == sorted(whole.rows(step).tolist())
        assert sum(share for parts in found for _, share in parts) == pytest.approx(1.0)
        for parts in found:
            assert [share for _, share in parts if share] == [
                len(part) / whole.size(step) for part, share in parts if share
            ]


def test_parts_of_a_step_have_about_as_many_tokens() -> None:
    split = documents(500, 40)
    for step in range(make(split, 1000).steps_per_epoch):
        sums = [
            split.lengths[part.rows.numpy()].sum()
            for part, _ in make(split, 1000, accumulation=4).micro_batches(step)
        ]
        assert len(sums) == 4 and max(sums) - min(sums) <= 2 * 40


@pytest.mark.parametrize(("batch_size", "tokens"), [(8, None), (None, 200)])
def test_packed_batches_are_of_the_same_documents_in_the_same_order(
    batch_size: int | None, tokens: int | None
) -> None:
    split = documents(203, 40)
    padded, packed = (
        TrainingBatches(own, batch_size, 2, 0, tokens=tokens) for own in (split, split.packed())
    )
    for step in range(padded.steps_per_epoch):
        pairs = list(zip(padded.micro_batches(step), packed.micro_batches(step), strict=True))
        for (one, share), (other, packed_share) in pairs:
            assert isinstance(other, PackedBatch) and not isinstance(one, PackedBatch)
            assert (
                one.rows.tolist() == other.rows.tolist()
                and one.targets.tolist() == other.targets.tolist()
                and share == packed_share
            )


def test_a_budget_below_two_documents_is_refused() -> None:
    batches = make(documents(20, 40), 78)
    with pytest.raises(TrainingError, match="too small for the longest document") as caught:
        _ = batches.steps_per_epoch
    assert "tokens 78, but the longest document has 40" in str(caught.value) and "at least 79" in str(
        caught.value
    )
    assert make(documents(20, 40), 79).steps_per_epoch > 1
