"""Augmentation of texts: each operation alone, what it leaves alone, and what its numbers depend on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, models, processors

from baton import params
from baton.arrays.text_arrays import TextArrays
from baton.batches.augmentation import random_streams, text_variation
from baton.batches.augmentation.text_variation import TextVariation
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batch import PackedBatch, TextBatch
from baton.batches.text_batches import TextSplit
from baton.contracts.targets import Targets
from baton.contracts.task_spec import Labels, Numbers
from baton.errors import ModelError
from baton.texts import pair_windows
from baton.texts.document_windows import Frame
from baton.texts.pair_windows import PairFrame, Special
from tests import tiny

CLS, SEP, MASK = 2, 3, 4
FRAME = Frame([CLS], [SEP], 62)
PAIR = PairFrame(Special([CLS], [0]), Special([SEP], [0]), Special([SEP], [1]), (0, 1), 61)
OFF = {"delete": 0.0, "swap": 0.0, "mask": 0.0, "mixup": 0.0}
ALL = {"delete": 0.2, "swap": 0.2, "mask": 0.2}
ROWS, LENGTH = 400, 50  # documents, and their own tokens


def variation(frame: Frame | PairFrame = FRAME, **changes: float) -> TextVariation:
    return TextVariation(params.TextAugmentation.model_validate(OFF | changes), frame, MASK)


def documents(rows: int = ROWS, length: int = LENGTH) -> TextArrays:
    """Return documents of distinct tokens."""
    own = np.arange(10, 10 + length)
    tokens = np.tile(np.concatenate([[CLS], own, [SEP]]), rows).astype(np.int32)
    return TextArrays(tokens, np.arange(rows + 1) * (length + 2), tiny.targets(np.arange(rows) % 3))


def windowed(counts: NDArray[np.int64], lengths: NDArray[np.int64]) -> TextArrays:
    """Return documents of `counts` windows, which have `lengths` tokens of their own, no two alike."""
    parts, first = [], 10
    for length in lengths:
        parts.append(np.concatenate([[CLS], np.arange(first, first + length), [SEP]]))
        first += length
    offsets = np.concatenate([[0], np.cumsum(lengths + 2)])
    bounds = np.concatenate([[0], np.cumsum(counts)])
    return TextArrays(
        np.concatenate(parts).astype(np.int32), offsets, tiny.targets(np.arange(len(counts)) % 3), bounds
    )


def pairs(rows: int = ROWS, first: int = 6, second: int = 9) -> TextArrays:
    frame, tokens, types = PAIR, [], []
    for _ in range(rows):
        read = frame.read([*range(10, 10 + first)], [*range(40, 40 + second)], tiny.TEXT_INPUT.truncation)
        tokens += read.windows[0]
        types += read.types[0]
    offsets = np.arange(rows + 1) * (first + second + 3)
    made = np.array(tokens, np.int32), offsets, tiny.targets(np.arange(rows) % 3)
    return TextArrays(*made, types=np.array(types, np.int8))


def split(arrays: TextArrays, own: TextVariation | None, name: str = "train") -> TextSplit:
    return TextSplit(arrays, 0, variation=own, ids=lambda: [f"{name}:{row}" for row in range(len(arrays))])


def varied(arrays: TextArrays, own: TextVariation, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    """Return the tokens of each window."""
    keys = random_streams.keys(f"train:{row}" for row in range(len(arrays)))
    made = own.documents(arrays, np.arange(len(arrays)), keys, seed, epoch)
    assert made.offsets[-1] == len(made.tokens)
    assert (made.windows == arrays.windows).all()
    return [made.tokens[a:b].tolist() for a, b in zip(made.offsets, made.offsets[1:], strict=False)]


def own_of(arrays: TextArrays) -> list[list[int]]:
    return [arrays.tokens[a:b].tolist() for a, b in zip(arrays.offsets, arrays.offsets[1:], strict=False)]


# ---- each operation
# --------------------------------------------------------------------------------------------


def test_without_an_operation_texts_are_what_they_were() -> None:
    arrays = documents(20)
    assert varied(arrays, variation()) == own_of(arrays)


def deviations(share: float, probability: float) -> float:
    """Return by how many standard errors a share of all tokens differs from its expectation."""
    return abs(share - probability) / np.sqrt(probability * (1 - probability) / (ROWS * LENGTH))


@pytest.mark.parametrize("probability", [0.05, 0.3])
def test_deletion_leaves_each_token_out_as_often_and_keeps_the_order(probability: float) -> None:
    found = varied(documents(), variation(delete=probability))
    for tokens in found:
        assert tokens[0] == CLS and tokens[-1] == SEP and tokens[1:-1] == sorted(tokens[1:-1])
    kept = np.bincount(np.concatenate(found), minlength=10 + LENGTH)[10:]
    assert deviations(1 - kept.sum() / (ROWS * LENGTH), probability) < 4
    limit = 5 * np.sqrt(ROWS * probability * (1 - probability))
    assert (abs(kept - ROWS * (1 - probability)) < limit).all(), "wherever it is"


@pytest.mark.parametrize("probability", [0.05, 0.3])
def test_masking_puts_the_mask_token_in_place_of_each_as_often(probability: float) -> None:
    found = np.array(varied(documents(), variation(mask=probability)))
    assert (found[:, 0] == CLS).all() and (found[:, -1] == SEP).all()
    own, masked = np.arange(10, 10 + LENGTH), found[:, 1:-1] == MASK
    assert (masked | (found[:, 1:-1] == own)).all()
    assert deviations(masked.mean(), probability) < 4


def test_a_swap_moves_two_tokens_to_places_that_are_as_likely() -> None:
    """As in EDA, a text of n tokens has n times the probability swaps, in expectation."""
    probability = 0.02
    found = np.array(varied(documents(2000, 5), variation(swap=probability)))
    assert (np.sort(found, axis=1) == np.sort(own_of(documents(1, 5)), axis=1)).all(), "nothing is lost"
    moved = (found[:, 1:-1] != np.arange(10, 15)).sum(axis=1)
    assert set(moved[moved > 0].tolist()) >= {2} and (moved == 2).sum() > 10 * (moved > 2).sum()
    swaps = (moved == 2).sum()  # texts with one swap: 5 p (1 - p)**4
    expected = 2000 * 5 * probability * (1 - probability) ** 4
    assert abs(swaps - expected) < 5 * np.sqrt(expected)
    places = np.array([np.flatnonzero(row != np.arange(10, 15)) for row in found[:, 1:-1][moved == 2]])
    assert len({tuple(pair) for pair in places.tolist()}) == 10, "each two places"


def test_swaps_are_those_of_a_plain_loop() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        length = int(random.integers(2, 9))
        tokens = random.integers(0, 1000, length).astype(np.int32)
        marked, other = random.random(length) < 0.5, random.random(length)
        expected = tokens.tolist()
        for place in range(length):
            if marked[place]:
                others = [one for one in range(length) if one != place]
                second = others[int(other[place] * len(others))]
                expected[place], expected[second] = expected[second], expected[place]
        assert text_variation.swapped(tokens, marked, other).tolist() == expected


# ---- what is left alone
# ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_text_never_becomes_empty(length: int) -> None:
    found = varied(documents(length=length), variation(delete=0.9, mask=0.9, swap=1.0))
    for tokens in found:
        assert tokens[0] == CLS and tokens[-1] == SEP
        assert set(tokens[1:-1]) - {MASK}, "one token is still read"
    counts = np.bincount(np.concatenate(found), minlength=13)[10 : 10 + length]
    assert (abs(counts / counts.sum() - 1 / length) < 0.1).all(), "each is as likely to stay"


def test_a_document_without_tokens_stays_one() -> None:
    assert varied(documents(3, 0), variation(**ALL)) == [[CLS, SEP]] * 3


@pytest.mark.parametrize("lengths", [(6, 9), (1, 1), (0, 4), (5, 0)])
def test_pairs_keep_their_two_texts_and_types(lengths: tuple[int, int]) -> None:
    arrays, own = pairs(200, *lengths), variation(PAIR, delete=0.5, swap=0.9, mask=0.3)
    keys = random_streams.keys(f"train:{row}" for row in range(len(arrays)))
    made = own.documents(arrays, np.arange(len(arrays)), keys, 0, 0)
    assert made.types is not None
    moved = 0
    for start, end in zip(made.offsets, made.offsets[1:], strict=False):
        tokens, types = made.tokens[start:end].tolist(), made.types[start:end].tolist()
        first, second = PAIR.sides(tokens)
        assert tokens == [CLS, *first, SEP, *second, SEP]
        assert types == [0] * (len(first) + 2) + [1] * (len(second) + 1)
        assert set(first) <= {MASK, *range(10, 10 + lengths[0])}
        assert set(second) <= {MASK, *range(40, 40 + lengths[1])}
        assert [bool(first), bool(second)] == [length > 0 for length in lengths]
        moved += first != sorted(first)
    assert moved > 20 or max(lengths) < 6


def test_each_window_keeps_its_special_tokens() -> None:
    counts = np.random.default_rng(0).integers(1, 5, 60)
    arrays = windowed(counts, np.random.default_rng(1).integers(1, 9, counts.sum()))
    found = varied(arrays, variation(delete=0.5, swap=0.5, mask=0.5))
    assert found != own_of(arrays)
    for tokens, before in zip(found, own_of(arrays), strict=True):
        assert tokens[0] == CLS and tokens[-1] == SEP and not {CLS, SEP, 0} & set(tokens[1:-1])
        assert set(tokens) <= {*before, MASK}


def test_a_special_token_that_is_moved_would_be_found() -> None:
    """Negative control: without the frame, special tokens are tokens like others."""
    found = varied(documents(20), variation(Frame([], [], 62), delete=0.5))
    assert any(tokens[0] != CLS or tokens[-1] != SEP for tokens in found)


# ---- what a document's numbers depend on
# -----------------------------------------------------------------------


def rows_of(batch: Any) -> dict[int, tuple[Any, ...]]:
    """Return what a batch has of each document: tokens, those of its partner, shares and targets."""
    assert isinstance(batch, TextBatch)
    owners = torch.eye(len(batch), dtype=torch.bool) if batch.owners is None else batch.owners
    found = {}
    for row, own, target in zip(batch.rows.tolist(), owners, batch.targets.tolist(), strict=True):
        parts: list[Any] = []
        for window in torch.nonzero(own).flatten().tolist():
            kept = batch.attention_mask[window].bool()
            parts.append(batch.input_ids[window][kept].tolist())
            if batch.partners is not None and batch.shares is not None:
                parts += [batch.partners[window][kept].tolist(), batch.shares[window][kept].tolist()]
        found[row] = (parts, target)
    return found


def together(batches: list[Any]) -> dict[int, tuple[Any, ...]]:
    return {row: own for batch in batches for row, own in rows_of(batch).items()}


COUNTS = np.random.default_rng(2).integers(1, 4, 45)
KINDS = {
    "documents": lambda: documents(45, 12),
    "windows": lambda: windowed(COUNTS, np.random.default_rng(3).integers(1, 12, COUNTS.sum())),
}
CHANGES = {"tokens": ALL, "mixup": {"mixup": 0.4}, "all": ALL | {"mixup": 0.4}}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_they_depend_on_seed_epoch_and_id_alone(kind: str, changes: dict[str, float]) -> None:
    made, step = split(KINDS[kind](), variation(**changes)), np.arange(3, 30)
    first = rows_of(made.training_batch(step, step, 7, 2))
    again = split(KINDS[kind](), variation(**changes))  # as after a resume
    assert rows_of(again.training_batch(step[::-1].copy(), step, 7, 2)) == first
    for other in (
        made.training_batch(step, step, 8, 2),
        made.training_batch(step, step, 7, 3),
        split(KINDS[kind](), variation(**changes), "other").training_batch(step, step, 7, 2),
    ):
        found = rows_of(other)
        assert sum(found[row] == first[row] for row in first) <= 2


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_ranks_see_what_the_whole_step_sees(kind: str, changes: dict[str, float]) -> None:
    made = split(KINDS[kind](), variation(**changes))
    whole = TrainingBatches(made, 16, 1, 3)
    for step in (0, 4):
        expected = together([part for part, _ in whole.micro_batches(step)])
        assert len(expected) == whole.size(step)
        for accumulation, ranks in [(4, 1), (2, 3), (1, 2)]:
            parts = [
                part
                for rank in range(ranks)
                for part, _ in TrainingBatches(
                    made, 16, accumulation, 3, rank=rank, ranks=ranks
                ).micro_batches(step)
            ]
            assert together(parts) == expected


def test_a_rule_that_depends_on_the_part_would_be_found() -> None:
    """Negative control: partners taken from the part."""
    made, step = split(documents(20), variation(mixup=0.4)), np.arange(10)
    expected = rows_of(made.training_batch(step, step, 0, 0))
    parts = [step[:4], step[4:]]
    assert together([made.training_batch(part, step, 0, 0) for part in parts]) == expected
    assert together([made.training_batch(part, part, 0, 0) for part in parts]) != expected


def test_operations_have_numbers_of_their_own() -> None:
    """What is left out, and the shares of mixup, do not change if tokens are also swapped."""
    arrays = documents(30)
    alone, both = (varied(arrays, variation(delete=0.3, **more)) for more in ({}, {"swap": 0.5}))
    assert alone != both and [*map(len, alone)] == [*map(len, both)]
    keys = random_streams.keys(["a", "b"])
    first, second = (variation(mixup=0.3, **more).shares(keys, 0, 0) for more in ({}, ALL))
    assert (first == second).all()


def test_an_epoch_later_the_same_documents_are_in_steps_of_the_same_lengths() -> None:
    """Steps are made by the original lengths."""
    arrays = windowed(np.ones(40, np.int64), np.random.default_rng(0).integers(1, 30, 40))
    plain, made = split(arrays, None), split(arrays, variation(delete=0.5))
    for step in range(10):
        first, second = (TrainingBatches(one, 8, 1, 0).rows(step) for one in (plain, made))
        assert (first == second).all()
    assert (made.lengths == arrays.lengths).all() and len(made.packed().batch(np.arange(3))) == 3


def test_workers_change_nothing() -> None:
    from baton.train import loader

    batches = TrainingBatches(split(documents(40), variation(**ALL, mixup=0.3)), 8, 2, 0)
    alone, helped = (
        [
            together([part for part, _ in parts])
            for parts in loader.parts(batches, 0, 4, tiny.machine(loader_workers=workers))
        ]
        for workers in (0, 2)
    )
    assert len(alone) == 4 and alone == helped


def test_validation_and_prediction_read_the_texts_as_they_are() -> None:
    arrays, rows = documents(8), np.arange(8)
    own = split(arrays, variation(**ALL, mixup=0.3)).batch(rows)
    assert isinstance(own, TextBatch)
    assert torch.equal(own.input_ids, split(arrays, None).batch(rows).input_ids) and own.partners is None


def test_packed_documents_are_varied_as_padded_ones_are() -> None:
    arrays, rows = KINDS["windows"](), np.array([4, 1, 30])
    made = split(arrays, variation(**ALL))
    padded, packed = made.training_batch(rows, rows, 1, 1), made.packed().training_batch(rows, rows, 1, 1)
    assert isinstance(padded, TextBatch) and isinstance(packed, PackedBatch)
    assert packed.rows.tolist() == padded.rows.tolist() == rows.tolist()
    own = padded.input_ids[padded.attention_mask.bool()]
    assert packed.input_ids[0, : len(own)].tolist() == own.tolist()
    assert not torch.equal(own, made.batch(rows).input_ids[made.batch(rows).attention_mask.bool()])


# ---- mixup
# -----------------------------------------------------------------------------------------------------


def test_a_document_is_mixed_with_the_next_of_its_step() -> None:
    arrays = windowed(np.array([1, 3, 2, 1]), np.array([4, 2, 3, 6, 5, 1, 9]))
    made = split(arrays, variation(mixup=0.7))
    rows = np.array([2, 1, 3])
    batch = made.training_batch(rows, rows, 0, 0)
    assert isinstance(batch, TextBatch)
    assert batch.partners is not None and batch.shares is not None and batch.owners is not None
    windows = own_of(arrays)
    # Document 2 has windows 4 and 5, document 1 has 1, 2 and 3, document 3 has 6.
    for place, (own, other) in enumerate([(4, 1), (5, 2), (1, 6), (2, 6), (3, 6), (6, 4)]):
        first, second = batch.shares[place].unbind(-1)
        assert batch.input_ids[place][first > 0].tolist() == windows[own]
        assert batch.partners[place][second > 0].tolist() == windows[other]
        both = int(batch.attention_mask[place].sum())
        assert both == max(len(windows[own]), len(windows[other]))
        assert torch.equal(batch.attention_mask[place], (torch.arange(batch.shape[1]) < both).long())
    shares = made.variation.shares(made._keys[rows], 0, 0) if made.variation else np.zeros(3)
    for place, owner in enumerate([0, 0, 1, 1, 1, 2]):
        first, second = batch.shares[place].unbind(-1)
        assert first.max().item() == shares[owner]
        assert second.max().item() == pytest.approx(1 - shares[owner])
    assert batch.targets.dtype == torch.float32
    expected = np.zeros((3, 3))
    for place, (own, other) in enumerate([(2, 1), (1, 0), (0, 2)]):  # classes of documents 2, 1 and 3
        expected[place, own] += shares[place]
        expected[place, other] += 1 - shares[place]
    np.testing.assert_allclose(batch.targets.numpy(), expected, atol=1e-6)


def test_the_type_of_a_token_is_that_of_the_own_text_if_it_has_one_there() -> None:
    arrays = pairs(2, 3, 2)
    other = pairs(1, 1, 8)
    joined = TextArrays(
        np.concatenate([arrays.tokens, other.tokens]),
        np.concatenate([arrays.offsets, arrays.offsets[-1] + other.offsets[1:]]),
        tiny.targets([0, 1, 2]),
        types=np.concatenate([arrays.types, other.types]),  # type: ignore[list-item]
    )
    rows = np.array([0, 2])
    batch = split(joined, variation(PAIR, mixup=1.0)).training_batch(rows, rows, 0, 0)
    assert isinstance(batch, TextBatch) and batch.types is not None
    assert batch.types[0, :12].tolist() == [0] * 5 + [1] * 7
    assert batch.types[1, :12].tolist() == [0] * 3 + [1] * 9
    assert not batch.types[:, 12:].any()


def test_the_shares_are_those_of_the_beta_distribution() -> None:
    from scipy import stats

    keys = random_streams.keys(map(str, range(3000)))
    for alpha in (0.2, 1.0, 4.0):
        found = variation(mixup=alpha).shares(keys, 0, 0)
        assert stats.kstest(found, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert stats.kstest(found, stats.beta(1.0, 1.0).cdf).pvalue < 1e-6, "negative control"


def test_targets_of_labels_and_numbers_are_mixed_too() -> None:
    plain, rows = documents(4), np.arange(4)
    own = variation(mixup=0.5)
    shares = own.shares(random_streams.keys(f"train:{row}" for row in range(4)), 0, 0)[:, None]
    labels = Targets(Labels(("a", "b")), np.array([0, 1, 0]), np.array([0, 1, 2, 2, 3]))
    marks = np.array([[1, 0], [0, 1], [0, 0], [1, 0]])
    numbers = Targets(Numbers(("n",), (0.0,), (1.0,), "mse", 0.9), np.array([[1.5], [-2.0], [0.0], [7.0]]))
    for targets, values, dtype in (
        (labels, marks, torch.float32),
        (numbers, numbers.values, torch.float64),
    ):
        batch = split(replace(plain, targets=targets), own).training_batch(rows, rows, 0, 0)
        expected = shares * values + (1 - shares) * np.roll(values, -1, axis=0)
        assert batch.targets.dtype == dtype
        np.testing.assert_allclose(batch.targets.numpy(), expected, atol=1e-6)


def test_a_mixed_batch_moves_with_its_partners() -> None:
    rows = np.arange(4)
    batch = split(documents(4), variation(mixup=0.5)).training_batch(rows, rows, 0, 0)
    meta = batch.to(torch.device("meta"))
    assert all(part.is_meta for part in meta.inputs if part is not None)
    assert len(meta.inputs) == len(batch.inputs) == 8


# ---- the tokenizer
# ---------------------------------------------------------------------------------------------


def settings(**changes: float) -> params.TextAugmentation:
    return params.TextAugmentation.model_validate(OFF | changes)


def test_the_special_tokens_are_those_of_the_tokenizer(tmp_path: Path) -> None:
    base = tiny.write_base(tmp_path)
    made = text_variation.of(settings(mask=0.1), base, tiny.TEXT_INPUT)
    assert (made.frame, made.mask) == (Frame([CLS], [SEP], 14), MASK)
    assert text_variation.of(settings(), base, tiny.TEXT_INPUT).mask is None


def test_those_of_a_pair_are_known_too(tmp_path: Path) -> None:
    base = tiny.write_base(tmp_path)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    tokenizer.save(str(base / "tokenizer.json"))
    made = text_variation.of(settings(delete=0.1), base, replace(tiny.TEXT_INPUT, pair=True))
    assert isinstance(made.frame, pair_windows.PairFrame) and made.frame == replace(PAIR, room=13)


def other(*special: str, unknown: str | None = None) -> Tokenizer:
    names = [*([unknown] if unknown else []), *special]
    vocabulary = {name: number for number, name in enumerate([*names, "a", "b"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    return tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "expected"),
    [
        (other("<s>", "<mask>", unknown="<unk>"), 2),
        (other("<|mask|>"), 0),
        (other("[masked_1]", unknown="<unk>"), 0),
        (other("<s>", unknown="[UNK]"), 0),
    ],
)
def test_without_a_mask_token_the_unknown_one_takes_its_place(tokenizer: Tokenizer, expected: int) -> None:
    assert text_variation.mask_token(tokenizer) == expected


def test_a_tokenizer_with_neither_is_refused_only_for_masking(tmp_path: Path) -> None:
    from tokenizers import pre_tokenizers

    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert text_variation.mask_token(tokenizer) is None
    assert text_variation.of(settings(delete=0.5), tmp_path, tiny.TEXT_INPUT).mask is None
    with pytest.raises(ModelError, match=r"augmentation\.mask: the tokenizer has neither a mask token nor"):
        text_variation.of(settings(mask=0.5), tmp_path, tiny.TEXT_INPUT)
