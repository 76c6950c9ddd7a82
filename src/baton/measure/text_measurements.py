"""The part of `evaluate` that explains answers about texts: which words spoke for them.

Inputs: a `measurements.Subject`, the test rows and a model's outputs -> what `baton.evaluate.attributions`
writes. It is cached as `measurements` are.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton import console, params
from baton.batches.augmentation.text_variation import mask_token
from baton.batches.text_batch import TextBatch
from baton.batches.text_batches import TextSplit
from baton.contracts.input_spec import TextInput
from baton.contracts.task_spec import Classes
from baton.evaluate import attributions
from baton.evaluate.attributions import MODEL, Answer, Explained
from baton.evaluate.inputs import Rows
from baton.measure import result_cache, word_deletion, word_gradients, word_places
from baton.measure.measurements import MODELS, Subject
from baton.measure.word_places import Places
from baton.models import model_folder
from baton.texts import document_windows


@dataclass(frozen=True)
class _Texts:
    """What a model reads of the rows to explain."""

    split: TextSplit
    tokenizer: Any
    answers: Sequence[Answer]
    ids: Sequence[str]  # of their rows
    places: Sequence[Places]  # their words


def explained(subject: Subject, test: Rows, outputs: Mapping[str, Any]) -> list[Explained]:
    """Return the most confident errors of the student and as many right answers, explained.

    Empty unless params ask for it.

    Args:
        subject: what is measured.
        test: its test rows.
        outputs: of every model.
    """
    wanted = subject.settings.attributions
    if wanted is None:
        return []
    own = outputs[MODEL]
    answers = attributions.answers(subject.task.spec, test, own, wanted.errors)
    if not answers:
        return []
    texts = _read(subject, test, answers)

    def measure() -> result_cache.Arrays:
        console.say(f"which words spoke for {len(answers)} answers of the {MODEL}")
        return _measured(subject, wanted, texts, own.temperature)

    known = subject.known(
        MODELS[MODEL],
        attributions=wanted.model_dump(),
        answers=[dataclasses.asdict(one) for one in answers],
        ids=texts.ids,
        temperature=own.temperature,
        runtime=subject.machine.reasons,
    )
    made = result_cache.arrays("words", known, measure)
    scores = np.split(made["scores"], np.cumsum([len(one.words) for one in texts.places])[:-1])
    return [
        Explained(answer, one.words, one.before, score, *map(float, p))
        for answer, one, score, p in zip(answers, texts.places, scores, made["probabilities"], strict=True)
    ]


def _read(subject: Subject, test: Rows, answers: Sequence[Answer]) -> _Texts:
    """Return the words of the rows, and of the tokens that the student reads."""
    split, reads = subject.test[MODEL], model_folder.read_info(MODELS[MODEL]).input
    assert isinstance(split, TextSplit), "params refuse other inputs"
    assert isinstance(reads, TextInput)
    rows = [one.row for one in answers]
    written = [(test.texts[row],) if test.pairs is None else test.pairs[row] for row in rows]
    tokenizer = document_windows.open_tokenizer(MODELS[MODEL], reads.max_length)
    places = word_places.places(tokenizer, reads, written)
    for row, own in zip(rows, places, strict=True):
        lengths = [part.stop - part.start for part in word_deletion.windows(split.arrays, row)]
        assert lengths == [len(window) for window in own.windows], "the arrays are by this tokenizer"
    return _Texts(split, tokenizer, answers, [test.ids[row] for row in rows], places)


def _measured(
    subject: Subject, wanted: params.Attributions, texts: _Texts, temperature: float
) -> result_cache.Arrays:
    """Return the words' scores, one text after the other, and `probabilities`, see `_tested`."""
    model, one_class = subject.load(MODEL), isinstance(subject.task.spec, Classes)
    scores = []
    for answer, places in zip(texts.answers, texts.places, strict=True):
        batch = replace(texts.split, packs=False).batch(np.array([answer.row]))
        assert isinstance(batch, TextBatch), "it is not packed"
        batch = batch.to(subject.machine.device)
        plain = _plain(texts, places, batch.input_ids)
        score = partial(word_gradients.log_odds, name=answer.name, given=answer.given, one_class=one_class)
        found = word_gradients.attribute(model, batch, plain, score, wanted.steps)
        scores.append(places.sums([row[: len(own)] for row, own in zip(found, places.windows, strict=True)]))
    probabilities = _tested(subject, model, texts, scores, temperature)
    return {"scores": np.concatenate(scores), "probabilities": probabilities}


def _plain(texts: _Texts, places: Places, tokens: torch.Tensor) -> torch.Tensor:
    """Return a batch's tokens, (windows, length), with the mask token, or padding, in place of words."""
    mask, plain = mask_token(texts.tokenizer), tokens.clone()
    for row, own in zip(plain, places.windows, strict=True):
        words = torch.from_numpy(np.flatnonzero(own != word_places.NOTHING)).to(row.device)
        row[words] = texts.split.pad if mask is None else mask
    return plain


def _tested(
    subject: Subject,
    model: torch.nn.Module,
    texts: _Texts,
    scores: Sequence[NDArray[np.float64]],
    temperature: float,
) -> NDArray[np.float64]:
    """Return the probability of each answer as is, without the strongest words, and without random ones.

    The shape is (answers, 3); the temperature was fitted on validation.
    """
    removed = []
    for id_, places, score in zip(texts.ids, texts.places, scores, strict=True):
        strongest = np.flatnonzero(attributions.strongest(score))
        others = word_deletion.random_words(places.read, len(strongest), id_)
        removed += [strongest[:0], strongest, *others]
    times = len(removed) // len(texts.answers)
    answers = [one for one in texts.answers for _ in range(times)]
    places_ = [one for one in texts.places for _ in range(times)]
    arrays = word_deletion.copies(texts.split.arrays, [one.row for one in answers], places_, removed)
    logits = torch.from_numpy(subject.logits(model, replace(texts.split, arrays=arrays)))
    one_class = isinstance(subject.task.spec, Classes)
    found = [
        word_gradients.log_odds(own[None].double() / temperature, one.name, one.given, one_class)
        for own, one in zip(logits, answers, strict=True)
    ]
    p = torch.cat(found).sigmoid().reshape(len(texts.answers), times).numpy()
    return np.stack([p[:, 0], p[:, 1], p[:, 2:].mean(axis=1)], axis=1)
