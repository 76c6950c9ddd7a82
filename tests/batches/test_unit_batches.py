"""Words as units: where they are read, their batches, predictions, and gradients of parts of a step."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from baton import params
from baton.arrays import text_arrays
from baton.batches.subset import Part
from baton.batches.text_batches import TextSplit
from baton.contracts.input_spec import Head, HeadTail, Truncation
from baton.contracts.ragged import Ragged
from baton.distill import soft_targets
from baton.errors import DataError
from baton.losses import loss
from baton.losses.token_losses import TokenLosses
from baton.models import text_model
from baton.models.text_model import TextClassifier
from baton.predict import predict
from baton.runtime import distributed
from baton.texts import document_windows, words
from tests import first_gradient, tiny, tiny_tokens
from tests.models.test_packed import make

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
TRUNCATIONS = [tiny_tokens.IN_WINDOWS.truncation, Head(), HeadTail(head=0.5)]


def opened(folder: Path, split: str = "train") -> TextSplit:
    return TextSplit(text_arrays.open_arrays(folder, split, tiny_tokens.TASK), 0)


def model(data: Path) -> TextClassifier:
    """Return a classifier of words in double precision, without dropout."""
    torch.manual_seed(0)
    made = text_model.create(data / "base", HEAD, tiny_tokens.TASK.width, tiny.training(), "matmul")
    with torch.no_grad():
        for parameter in made.backbone.encoder.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return made.double()


@pytest.fixture(scope="module", params=TRUNCATIONS, ids=lambda how: how.kind)
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truncation]:
    folder = tmp_path_factory.mktemp(request.param.kind)
    tiny_tokens.write_arrays(folder, replace(tiny_tokens.IN_WINDOWS, truncation=request.param))
    return folder, request.param


def test_the_place_of_a_word_holds_its_first_token(data: tuple[Path, Truncation]) -> None:
    """An independent reading: the tokenizer's own word and window of each place."""
    folder, _ = data
    split, tokenizer = opened(folder / "arrays"), document_windows.open_tokenizer(folder / "base", 8)
    tokenizer.no_truncation()
    units, tokens = split.units, split.arrays.tokens
    assert units is not None
    unread = 0
    for row, (text, tags) in enumerate(tiny_tokens.rows(40, 0)):
        places = units.places[units.offsets[row] : units.offsets[row + 1]]
        assert len(places) == len(tags)
        own = tokenizer.encode(text, add_special_tokens=False)
        for (start, _), place in zip(words.cut(text, "space"), places, strict=True):
            if place >= 0:
                assert tokens[place] == own.ids[own.char_to_token(start)]
        unread += int((places < 0).sum())
        if len(own.ids) <= 6:
            assert (places >= 0).all()
    assert unread > 0
    assert split.targets.counts.sum() == len(units.places) - unread


def test_a_word_is_read_where_it_has_most_context() -> None:
    """Two windows of 6 tokens that share 2: by hand. Each has one special token before and one after."""
    parts = document_windows.windows(10, 6, tiny_tokens.IN_WINDOWS.truncation)
    assert parts == [[(0, 6)], [(4, 10)]]
    found = words.places_of(np.arange(10), parts, 10, 1, 2)
    # Token 4 has one token to its right in the first window, none to its left in the second.
    assert found.tolist() == [1, 2, 3, 4, 5, 10, 11, 12, 13, 14]
    assert words.places_of(np.array([-1, 3]), parts, 10, 1, 2).tolist() == [-1, 4]


@pytest.mark.parametrize("packs", [False, True])
def test_a_batch_has_the_tokens_and_targets_of_its_words(data: tuple[Path, Truncation], packs: bool) -> None:
    split = opened(data[0] / "arrays")
    split = split.packed() if packs else split
    rows = np.array([11, 3, 39, 0, 17])
    batch, units = split.batch(rows), split.units
    assert units is not None
    assert np.array_equal(batch.units.numpy(), units.read(rows))
    places = batch.inputs[5]
    assert isinstance(places, torch.Tensor)
    read = batch.input_ids.flatten()[places].numpy()
    assert np.array_equal(read, split.arrays.tokens[units.places[batch.units.numpy()]])
    assert np.array_equal(batch.targets.numpy(), split.targets.values[batch.units.numpy()])
    assert len(batch.targets) == split.targets.part(rows).counts.sum()
    part = Part(split, rows)
    assert np.array_equal(part.batch(np.array([1, 2])).units.numpy(), units.read(rows[[1, 2]]))
    assert part.units is not None and np.array_equal(part.units.counts, units.counts[rows])


@pytest.mark.parametrize("packs", [False, True])
def test_predictions_keep_the_order_of_words_and_do_not_depend_on_the_batch(
    data: tuple[Path, Truncation], packs: bool
) -> None:
    split, classifier = opened(data[0] / "arrays"), model(data[0]).float().eval()
    units = split.units
    assert units is not None
    found = predict(classifier, split.packed() if packs else split, tiny.machine(), 7)
    assert isinstance(found, Ragged) and found.values.shape == (len(units.places), 5)
    assert found.values.dtype == np.float32 and np.array_equal(found.offsets, units.offsets)
    assert not found.values[units.places < 0].any()
    for row in (0, 13, 39):
        alone = split.batch(np.array([row]))
        with torch.no_grad():
            expected = classifier(*alone.inputs).numpy()
        np.testing.assert_allclose(found.values[alone.units.numpy()], expected, atol=1e-4)
    some = np.array([30, 2, 5])
    part = predict(classifier, Part(split, some), tiny.machine(), 2)
    assert isinstance(part, Ragged)
    np.testing.assert_allclose(part.values, found[some].values, atol=1e-4)


def test_predictions_of_two_processes_are_the_bits_of_one(
    data: tuple[Path, Truncation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each computes its share; the sum of their bits, which the exchange computes, is the whole."""
    split, classifier = opened(data[0] / "arrays"), model(data[0]).float().eval()
    machine = tiny.machine()
    whole = predict(classifier, split, machine, 7)
    monkeypatch.setattr(distributed, "total", lambda own: own)
    parts = [predict(classifier, split, replace(machine, processes=2, rank=rank), 7) for rank in (0, 1)]
    assert all(isinstance(part, Ragged) for part in (whole, *parts))
    bits = [part.values.view(np.int32) for part in parts]  # type: ignore[union-attr]
    assert np.array_equal(bits[0] + bits[1], whole.values.view(np.int32))  # type: ignore[union-attr]
    assert all(own.any() for own in bits)


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_packed_words_have_the_logits_and_gradients_of_padded_ones(tmp_path: Path, family: str) -> None:
    split = opened(tiny_tokens.write_arrays(tmp_path))
    split = replace(split, pad=1)
    split.arrays.tokens.setflags(write=False)
    classifier = make(family, vocab_size=200)
    classifier.head = type(classifier.head)(HEAD, 32, 5)
    classifier = classifier.double()
    rows = np.arange(12)
    results = []
    for own in (split, split.packed()):
        batch = own.batch(rows)
        classifier.zero_grad()
        logits = classifier(*batch.inputs)
        (logits.sin() * (1 + batch.targets[:, None])).sum().backward()
        gradients = [p.grad.clone() for p in classifier.parameters() if p.grad is not None]
        results.append((logits.detach(), gradients))
    (padded, of_padded), (packed, of_packed) = results
    assert (padded - packed).abs().max() < 1e-10
    for one, other in zip(of_padded, of_packed, strict=True):
        assert (one - other).abs().max() <= 1e-9 * max(1.0, float(one.abs().max()))


def gradient(data: Path, split: TextSplit, taught: bool, parts: int, ranks: int, packs: bool) -> torch.Tensor:
    """Return the gradient of the first step with weights of rows and of tags, summed over ranks."""
    task = TokenLosses(tiny_tokens.TASK)
    units = split.units
    assert units is not None
    random = np.random.default_rng(1)
    of_units = torch.from_numpy(np.repeat(random.random(len(split)), units.counts))
    weights = task.weights(split.targets).double()
    cached = torch.from_numpy(random.normal(size=(len(units.places), 5)))
    loss_fn = (
        tiny.distilled(task, soft_targets.cached(cached), 2.0, 0.3, 0.1, weights, of_units)
        if taught
        else loss.supervised(task, 0.1, weights, of_units)
    )
    return first_gradient.of(model(data), split, loss_fn, parts, ranks, packs)


@pytest.mark.parametrize("taught", [False, True], ids=["labels", "teacher"])
@pytest.mark.parametrize(("parts", "ranks", "packs"), [(5, 1, False), (2, 3, False), (3, 2, True)])
def test_parts_and_ranks_give_the_gradient_of_the_whole_step(
    tmp_path: Path, taught: bool, parts: int, ranks: int, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weighed by rows (the control) they do not. Losses are in double here."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    tiny_tokens.write_arrays(tmp_path)
    split = opened(tmp_path / "arrays")
    whole = gradient(tmp_path, split, taught, 1, 1, False)
    found = gradient(tmp_path, split, taught, parts, ranks, packs)
    assert (whole - found).abs().max() < 1e-12
    monkeypatch.setattr(type(split.targets), "counts", property(lambda own: np.ones(len(own), np.int64)))
    by_rows = gradient(tmp_path, split, taught, parts, ranks, packs)
    assert (whole - by_rows).abs().max() > 1e-6


def test_a_step_without_words_has_a_loss_of_zero(tmp_path: Path) -> None:
    tiny_tokens.write_arrays(tmp_path)
    split = opened(tmp_path / "arrays")
    batch, classifier = split.batch(np.array([0])), model(tmp_path).float()
    read = batch.read
    assert read is not None
    none = replace(batch, targets=batch.targets[:0], read=read.made_of(lambda part: part[:0]))
    found = loss.supervised(TokenLosses(tiny_tokens.TASK), 0.1, None)(classifier, none)
    found.backward()
    assert float(found.detach()) == 0


def test_arrays_that_do_not_match_are_refused(tmp_path: Path) -> None:
    folder = tiny_tokens.write_arrays(tmp_path)
    np.save(folder / "val.places.npy", np.load(folder / "val.places.npy")[:-1])
    with pytest.raises(DataError, match=r"val.places\*.npy do not match"):
        opened(folder, "val")
    (folder / "val.places.npy").unlink()
    with pytest.raises(DataError, match=r"val.places.npy is missing"):
        opened(folder, "val")
    offsets = np.load(folder / "test.places.offsets.npy")
    np.save(folder / "test.places.offsets.npy", np.concatenate([[0], offsets[2:], offsets[-1:]]))
    with pytest.raises(DataError, match="do not match"):
        opened(folder, "test")


def test_a_live_teacher_gives_the_words_the_logits_of_the_cache(tmp_path: Path) -> None:
    split, teacher = opened(tiny_tokens.write_arrays(tmp_path)), model(tmp_path).float().eval()
    stored = predict(teacher, split, tiny.machine(), 7)
    assert isinstance(stored, Ragged)
    cached = soft_targets.cached(torch.from_numpy(stored.values))
    for own in (split, split.packed()):
        batch = own.batch(np.array([5, 0, 31]))
        live = soft_targets.Live(teacher)(batch, batch.inputs)
        torch.testing.assert_close(live, cached(batch, batch.inputs), rtol=1e-4, atol=1e-4)
