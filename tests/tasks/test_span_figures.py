"""Validation figures of answers agree with other computations; words that are not read have no chance."""

import numpy as np
import pytest
from scipy.special import log_softmax

from baton.contracts.questions import Passages, Questions
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Spans
from baton.errors import DataError
from baton.tasks import span_decoding
from baton.tasks.span_figures import SpanFigures
from tests.tasks.test_squad_scores import script

TASK = SpanFigures(Spans(3))


def objects(values: list[object]) -> np.ndarray:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def questions(seed: int, rows: int = 30) -> Questions:
    """Return questions about texts of different words, some with two answers, some with none."""
    random, marks, counts, contexts, answers = np.random.default_rng(seed), [], [], [], []
    for row in range(rows):
        words = [f"w{row}x{place}" for place in range(random.integers(2, 9))]
        own, texts = np.zeros(1 + len(words), np.int64), []
        for _ in range(random.integers(0, 3)):
            first = int(random.integers(len(words)))
            last = min(first + int(random.integers(3)), len(words) - 1)
            own[1 + first] |= Spans.STARTS
            own[1 + last] |= Spans.ENDS
            texts.append(" ".join(words[first : last + 1]))
        own[0] = 0 if texts else Spans.STARTS | Spans.ENDS
        marks.append(own)
        counts.append(len(own))
        contexts.append(" ".join(words))
        answers.append(tuple(texts))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Questions(np.concatenate(marks), offsets, Passages(objects(contexts), objects(answers)))


def logits(targets: Questions, seed: int, learnt: float = 1.0) -> Ragged:
    noise = np.random.default_rng(seed).normal(size=(len(targets.values), 2))
    marked = np.stack([targets.values & Spans.STARTS, targets.values & Spans.ENDS], 1) > 0
    return Ragged((noise + learnt * marked).astype(np.float32), targets.offsets)


def of_script(found: Ragged, targets: Questions, limit: float) -> np.ndarray:
    """Return the mean scores of SQuAD's script for the best spans by brute force, (exact match, F1)."""
    scores = []
    for row, (context, true) in enumerate(
        zip(targets.passages.contexts, targets.passages.answers, strict=True)
    ):
        own, words = log_softmax(found[[row]].values.astype(np.float64), axis=0), context.split()
        pairs = {
            (a, b): own[1 + a, 0] + own[1 + b, 1]
            for a in range(len(words))
            for b in range(a, min(len(words), a + 3))
        }
        a, b = max(pairs, key=lambda pair: pairs[pair])
        answered = own[0].sum() - pairs[a, b] <= limit
        scores.append(script(" ".join(words[a : b + 1]) if answered else "", list(true)))
    return np.mean(scores, axis=0)


@pytest.mark.parametrize("seed", range(3))
def test_validation_figures_are_those_of_the_script_at_the_best_threshold(seed: int) -> None:
    targets = questions(seed)
    found = logits(targets, seed)
    best = span_decoding.best(found, 3)
    limits = [-np.inf, np.inf, *(best.none - best.score)]
    every = [of_script(found, targets, limit) for limit in limits]
    scores = TASK.scores(found, targets)
    highest = max(f1 for _, f1 in every)
    assert scores["f1"] == pytest.approx(highest, abs=1e-12)
    assert any(
        scores["exact_match"] == pytest.approx(exact, abs=1e-12)
        for exact, f1 in every
        if f1 > highest - 1e-12
    )
    fitted = TASK.fitted(found, targets)
    own = TASK.answers(found, fitted, targets.passages.contexts.tolist())
    each = [script(text, list(true)) for text, true in zip(own.texts, targets.passages.answers, strict=True)]
    assert np.mean(each, axis=0)[1] == pytest.approx(highest, abs=1e-12)


def test_if_each_question_has_an_answer_each_gets_one() -> None:
    """Validation says nothing about no answer, and a threshold would take answers from test questions."""
    every = questions(4, 60)
    targets = every[[row for row, true in enumerate(every.passages.answers) if true]]
    fitted = TASK.fitted(logits(targets, 4), targets)
    assert fitted["threshold"] is None and "always is an answer" in TASK.output(fitted)
    others = logits(targets, 5)
    others.values[others.offsets[:-1]] = 50  # no answer is all but certain
    assert TASK.answers(others, fitted, targets.passages.contexts.tolist()).given.all()
    assert TASK.fitted(logits(every, 4), every)["threshold"] is not None


def test_the_loss_and_the_temperature_are_those_of_each_question() -> None:
    targets = questions(5, 200)
    found = Ragged(4 * logits(targets, 5, 1.5).values, targets.offsets)

    def loss(temperature: float) -> float:
        each = []
        for row in range(len(targets)):
            own = log_softmax(found[[row]].values.astype(np.float64) / temperature, axis=0)
            marks = targets[[row]].values
            each.append(
                -np.mean([np.log(np.exp(own[marks & (1 + side) > 0, side]).sum()) for side in (0, 1)])
            )
        return float(np.mean(each))

    assert TASK.scores(found, targets)["loss"] == pytest.approx(loss(1.0), abs=1e-9)
    fitted = TASK.fitted(found, targets)["temperature"]
    assert fitted == pytest.approx(min(np.arange(1, 9, 0.05), key=loss), rel=0.05) and fitted > 2


def test_a_word_that_is_not_read_has_no_chance() -> None:
    """Negative control: its logits of 0 would be the highest ones. Its answer does not count in the loss."""
    offsets = np.array([0, 4, 7])
    values = np.array([[-3, -3], [0, 0], [-2, -2], [-4, -4], [-1, -1], [0, 0], [0, 0]], np.float32)
    passages = Passages(objects(["a b c", "d e"]), objects([("b",), ("d",)]))
    targets = Questions(np.array([0, 0, 3, 0, 0, 3, 0]), offsets, passages)
    found = Ragged(values, offsets)
    answers = TASK.answers(found, {"threshold": np.inf}, ["a b c", "d e"])
    assert answers.texts == ("b", "") and answers.starts.tolist() == [2, -1]
    assert np.isneginf(span_decoding.log_probabilities(found)[[1, 5, 6]]).all()
    losses = span_decoding.losses(found, targets)
    assert losses[0] == pytest.approx(-log_softmax([-3.0, -2.0, -4.0])[1]) and np.isnan(losses[1])
    assert TASK.scores(found, targets)["loss"] == pytest.approx(losses[0])
    assert np.isfinite(TASK.fitted(found, targets)["temperature"])


def test_predictions_of_other_questions_are_refused() -> None:
    targets = questions(1)
    found = logits(targets, 1)
    with pytest.raises(DataError, match="do not match the questions"):
        TASK.scores(found[:5], targets)
    found.values[3] = np.nan
    with pytest.raises(DataError, match="not finite"):
        TASK.fitted(found, targets)
