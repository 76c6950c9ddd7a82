"""Questions: where "no answer" and the words of contexts are read, batches, predictions, parts of a step."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from baton.arrays import text_arrays
from baton.batches.subset import Part
from baton.batches.text_batches import TextSplit
from baton.contracts.input_spec import Head, Truncation
from baton.contracts.questions import Questions
from baton.contracts.ragged import Ragged
from baton.distill import soft_targets
from baton.losses import loss
from baton.losses.span_losses import SpanLosses
from baton.models import text_model
from baton.models.text_model import TextClassifier
from baton.predict import predict
from baton.tasks import task_figures
from baton.texts import document_windows, words
from tests import first_gradient, tiny, tiny_questions
from tests.batches.test_unit_batches import HEAD

TRUNCATIONS: list[Truncation] = [tiny_questions.IN_WINDOWS.truncation, Head()]
TASK = SpanLosses(tiny_questions.TASK)


def opened(folder: Path, split: str = "train") -> TextSplit:
    return TextSplit(text_arrays.open_arrays(folder, split, tiny_questions.TASK), 0)


def model(data: Path) -> TextClassifier:
    """Return a model in double precision, without dropout."""
    torch.manual_seed(0)
    made = text_model.create(data / "base", HEAD, 2, tiny.training(), "matmul")
    with torch.no_grad():
        for parameter in made.backbone.encoder.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return made.double()


@pytest.fixture(scope="module", params=TRUNCATIONS, ids=lambda how: how.kind)
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param.kind)
    tiny_questions.write_arrays(folder, replace(tiny_questions.IN_WINDOWS, truncation=request.param))
    return folder


def test_the_place_of_a_word_holds_its_first_token(data: Path) -> None:
    """An independent reading: the tokenizer's own. "No answer" is at [CLS] of the first window."""
    split, tokenizer = opened(data / "arrays"), document_windows.open_tokenizer(data / "base", 8)
    tokenizer.no_truncation()
    units, tokens = split.units, split.arrays.tokens
    assert units is not None
    known, unread = split.targets.all, 0
    assert isinstance(known, Questions)
    for row, context in enumerate(known.passages.contexts):
        none, *places = units.places[units.offsets[row] : units.offsets[row + 1]]
        window = row if split.arrays.documents is None else split.arrays.documents[row]
        assert none == split.arrays.offsets[window] and tokens[none] == tokenizer.token_to_id("[CLS]")
        own = tokenizer.encode(context, add_special_tokens=False)
        for (start, _), place in zip(words.cut(context, "pattern"), places, strict=True):
            if place >= 0:
                assert tokens[place] == own.ids[own.char_to_token(start)]
        unread += sum(place < 0 for place in places)
    assert bool(unread) is (split.arrays.documents is None)
    assert split.targets.counts.tolist() == [1] * len(split)


def test_marks_and_passages_are_those_of_the_clean_table(data: Path) -> None:
    table = pq.read_table(data / "clean/train.parquet")
    some = np.array([7, 0, 39])
    for found in (opened(data / "arrays").targets.part(some).all, opened(data / "arrays").targets.all[some]):
        assert found.passages.contexts.tolist() == [table["text_pair"][row].as_py() for row in some]
        cells = [table["answers"][row].as_py() for row in some]
        assert list(found.passages.answers) == [tuple(cell["text"]) for cell in cells]
        for place, cell in enumerate(cells):
            own = found.values[found.offsets[place] : found.offsets[place + 1]].tolist()
            assert own == cell["marks"]
            spans = words.cut(found.passages.contexts[place], "pattern")
            if cell["text"]:
                first, last = (
                    next(place for place, mark in enumerate(own) if mark & 1),
                    next(place for place, mark in enumerate(own) if mark & 2),
                )
                assert spans[first - 1][0] == cell["answer_start"][0]
                assert spans[last - 1][1] == cell["answer_start"][0] + len(cell["text"][0])
            else:
                assert own[0] == 3 and not any(own[1:])


@pytest.mark.parametrize("packs", [False, True])
def test_the_loss_of_a_batch_is_that_of_its_questions(data: Path, packs: bool) -> None:
    """One softmax over all that is read of a question, in whatever windows; computed here row by row."""
    split, classifier = opened(data / "arrays"), model(data).float().eval()
    own, rows = split.packed() if packs else split, np.array([11, 3, 39, 0, 17])
    found = loss.supervised(TASK, 0.0, None)(classifier, own.batch(rows))
    units, expected = split.units, torch.zeros(())
    assert units is not None
    for row in rows:
        logits = classifier(*split.batch(np.array([row])).inputs)
        marks = split.targets.values[units.read(np.array([row]))]
        for side in (0, 1):
            marked = np.flatnonzero(marks & (1 + side))
            if len(np.flatnonzero(marks & 1)) and len(np.flatnonzero(marks & 2)):
                target = torch.tensor(marked[:1])
                expected = expected + functional.cross_entropy(logits[None, :, side], target) / 2
    torch.testing.assert_close(found, expected / len(rows), rtol=1e-4, atol=1e-5)
    part = loss.supervised(TASK, 0.0, None)(classifier, Part(own, rows).batch(np.arange(5)))
    torch.testing.assert_close(part, found)


def test_predictions_give_the_loss_of_training(data: Path) -> None:
    """Validation leaves out what training cannot learn from: answers in parts that are not read."""
    split, classifier = opened(data / "arrays", "val"), model(data).float().eval()
    logits = predict(classifier, split, tiny.machine(), 7)
    assert isinstance(logits, Ragged) and logits.values.shape[1] == 2
    scores = task_figures.of(tiny_questions.TASK).scores(logits, split.targets.all)
    batch = split.batch(np.arange(len(split)))
    total = loss.supervised(TASK, 0.0, None)(classifier, batch) * len(split)
    units = split.units
    assert units is not None
    read = np.where(units.places >= 0, split.targets.values, 0)
    known = sum(
        bool((own & 1).any() and (own & 2).any()) for own in np.split(read, units.offsets[1:-1].tolist())
    )
    assert scores["loss"] == pytest.approx(float(total.detach()) / known, rel=1e-4)
    assert 0 <= scores["exact_match"] <= scores["f1"] <= 1


def gradient(data: Path, split: TextSplit, taught: bool, parts: int, ranks: int, packs: bool) -> torch.Tensor:
    """Return the gradient of the first step with weights of rows, summed over ranks."""
    units = split.units
    assert units is not None
    random = np.random.default_rng(1)
    of_units = torch.from_numpy(np.repeat(random.random(len(split)), units.counts))
    cached = torch.from_numpy(random.normal(size=(len(units.places), 2)))
    loss_fn = (
        tiny.distilled(TASK, soft_targets.cached(cached), 2.0, 0.3, 0.0, None, of_units)
        if taught
        else loss.supervised(TASK, 0.0, None, of_units)
    )
    return first_gradient.of(model(data), split, loss_fn, parts, ranks, packs)


@pytest.mark.parametrize("taught", [False, True], ids=["labels", "teacher"])
@pytest.mark.parametrize(("parts", "ranks", "packs"), [(5, 1, False), (2, 3, False), (3, 2, True)])
def test_parts_and_ranks_give_the_gradient_of_the_whole_step(
    data: Path, taught: bool, parts: int, ranks: int, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weighed by words (the control) they do not. Losses are in double here."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    split = opened(data / "arrays")
    whole = gradient(data, split, taught, 1, 1, False)
    found = gradient(data, split, taught, parts, ranks, packs)
    assert (whole - found).abs().max() < 1e-12
    of_words = property(lambda own: np.diff(own.offsets))
    monkeypatch.setattr(type(split.targets), "counts", of_words)
    assert (whole - gradient(data, split, taught, parts, ranks, packs)).abs().max() > 1e-6
