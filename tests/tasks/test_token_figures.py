"""Decoding of tags, entities and their F1: against a search, seqeval, and closed forms."""

import itertools
import json

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score
from torch.nn import functional

from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.errors import DataError
from baton.tasks import task_figures, token_decoding
from baton.tasks.answers import Misfit
from baton.tasks.token_figures import TokenFigures

TASK = Tokens(("LOC", "PER"), "space")
FIGURES = TokenFigures(TASK)


def logits(seed: int, counts: list[int], width: int = TASK.width) -> Ragged:
    values = np.random.default_rng(seed).normal(size=(sum(counts), width)).astype(np.float32) * 2
    return Ragged(values, np.cumsum([0, *counts]))


def valid(tags: tuple[int, ...]) -> bool:
    return all(
        tag == 0 or tag % 2 == 1 or (place > 0 and tags[place - 1] in (tag, tag - 1))
        for place, tag in enumerate(tags)
    )


def named(found: Ragged, tags: np.ndarray) -> list[list[str]]:
    return [[TASK.tags[tag] for tag in tags[a:b]] for a, b in itertools.pairwise(found.offsets)]


def random_tags(seed: int, counts: list[int]) -> Ragged:
    """Valid sequences."""
    found = logits(seed, counts)
    return Ragged(token_decoding.decoded(found), found.offsets)


def test_the_valid_sequence_with_the_largest_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with all sequences of up to five words; in one block, and in blocks of one row."""
    counts = [3, 0, 5, 1, 4, 2, 5]
    found = logits(0, counts)
    for at_once in (token_decoding.AT_ONCE, 1):
        monkeypatch.setattr(token_decoding, "AT_ONCE", at_once)
        tags = token_decoding.decoded(found)
        invalid = 0
        for a, b in itertools.pairwise(found.offsets):
            own = found.values[a:b].astype(np.float64)
            every = [one for one in itertools.product(range(TASK.width), repeat=b - a) if valid(one)]
            best = max(every, key=lambda one: sum(own[place, tag] for place, tag in enumerate(one)))
            assert tuple(tags[a:b]) == best
            invalid += not valid(tuple(own.argmax(axis=1))) if len(own) else 0
        assert invalid > 0, "without the constraint some sequences are not valid"


def test_a_temperature_does_not_change_the_sequence() -> None:
    found = logits(1, [30, 7])
    scaled = torch.log_softmax(torch.from_numpy(found.values).double() / 3.7, -1).numpy()
    assert np.array_equal(
        token_decoding.decoded(found), token_decoding.decoded(Ragged(scaled, found.offsets))
    )


def test_nothing_is_decoded_to_nothing() -> None:
    for offsets in ([0], [0, 0]):
        found = Ragged(np.zeros((0, 5), np.float32), np.array(offsets))
        assert len(token_decoding.decoded(found)) == 0
        assert token_decoding.entities(token_decoding.decoded(found), found.offsets).shape == (0, 4)
    same = Ragged(np.zeros((4, 5), np.float32), np.array([0, 4]))
    assert token_decoding.decoded(same).tolist() == [0, 0, 0, 0]  # words that are not read


def test_a_word_that_is_not_read_is_no_part_of_an_entity() -> None:
    """Free words before one that wants I would otherwise become its B and I."""
    read_o, read_i = [5.0, 0.0, 0.0], [0.0, 1.0, 6.0]
    values = np.array([read_o, [0.0] * 3, [0.0] * 3, read_i, read_o], np.float32)
    assert token_decoding.decoded(Ragged(values, np.array([0, 5]))).tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_f1_is_that_of_seqeval(seed: int, constrained: bool) -> None:
    """On valid sequences, and by its default mode on any."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 12, 25).tolist()
    true, found = random_tags(seed, counts), logits(100 + seed, counts)
    near = random.random(len(true.values)) < 0.7
    found.values[near, true.values[near]] += 5
    tags = token_decoding.decoded(found) if constrained else found.values.argmax(axis=1)
    truth, answer = named(true, true.values), named(true, tags)
    scores = FIGURES.entity_scores(true, token_decoding.entities(tags, true.offsets))
    assert 0.2 < scores["entity_f1"] < 1
    assert scores["entity_f1"] == pytest.approx(f1_score(truth, answer), abs=1e-9)
    assert scores["macro_f1"] == pytest.approx(f1_score(truth, answer, average="macro"), abs=1e-9)
    if constrained:
        loss = functional.cross_entropy(
            torch.from_numpy(found.values).double(), torch.from_numpy(true.values)
        )
        assert FIGURES.scores(found, true) == pytest.approx(scores | {"loss": float(loss)}, abs=1e-6)


def test_a_type_that_is_only_predicted_counts_for_macro_f1() -> None:
    true, tags = Ragged(np.array([1, 0, 0, 1]), np.array([0, 4])), np.array([1, 0, 3, 1])
    scores = FIGURES.entity_scores(true, token_decoding.entities(tags, true.offsets))
    expected = f1_score(named(true, true.values), named(true, tags), average="macro")
    assert scores["macro_f1"] == pytest.approx(expected, abs=1e-12) == 0.5


def test_without_the_row_of_an_entity_the_figure_differs_from_seqeval() -> None:
    """The control: entities must not run on into the next text."""
    tags = np.array([1, 2, 2, 2])
    assert len(token_decoding.entities(tags, np.array([0, 2, 4]))) == 2
    assert len(token_decoding.entities(tags, np.array([0, 4]))) == 1


def test_the_answer_quotes_the_text() -> None:
    text = "Ann  Lee, of Bonn"
    values = np.full((4, 5), -9.0, np.float32)
    values[[0, 1, 2, 3], [3, 4, 0, 1]] = 0.0
    found = Ragged(values, np.array([0, 0, 4]))
    answer = FIGURES.answer(found, {"temperature": 2.0}, ["a", "b"], [" ", text])
    assert answer["entities"]["a"] == "[]" and list(answer.columns) == list(FIGURES.columns)
    score = round(1 / (1 + 4 * np.exp(-4.5)), 6)
    assert json.loads(answer["entities"]["b"]) == [
        {"start": 0, "end": 9, "label": "PER", "text": "Ann  Lee,", "score": score, "words": [0, 2]},
        {"start": 13, "end": 17, "label": "LOC", "text": "Bonn", "score": score, "words": [3, 4]},
    ]
    assert FIGURES.said(answer) == FIGURES.texts(Ragged(np.array([3, 4, 0, 1]), found.offsets))
    assert FIGURES.said(answer) == ["[]", '["LOC", "PER"]']
    assert FIGURES.misfit(answer) is None
    for wrong, expected in (
        (answer.rename(columns={"entities": "label"}), "no column entities"),
        (answer.replace("PER", "person", regex=True), "unexpected person"),
    ):
        assert FIGURES.misfit(wrong) == Misfit(expected, comparable=False)
    assert len(FIGURES.answer(Ragged(np.zeros((0, 5)), np.array([0])), {}, None)) == 0


def test_the_temperature_is_the_one_that_was_put_in() -> None:
    found = logits(3, [400, 400])
    p = torch.softmax(torch.from_numpy(found.values).double(), -1)
    drawn = torch.multinomial(p, 1, generator=torch.Generator().manual_seed(0))[:, 0].numpy()
    sharp = Ragged(found.values * 2.5, found.offsets)
    assert FIGURES.fitted(sharp, Ragged(drawn, found.offsets))["temperature"] == pytest.approx(2.5, rel=0.1)


def test_predictions_of_other_texts_are_refused() -> None:
    found, true = logits(0, [3, 2]), random_tags(0, [2, 3])
    with pytest.raises(DataError, match="predictions do not match the tags"):
        FIGURES.scores(found, true)
    found.values[0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        FIGURES.scores(found, random_tags(0, [3, 2]))
    assert task_figures.of(TASK) == FIGURES
