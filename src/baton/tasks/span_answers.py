"""The answers of a model to questions, as texts of their contexts.

Inputs: logits of "no answer" and of the words of contexts, and what was fitted on validation -> the answer to
each question. Served models, validation and evaluation share it, so nothing here imports torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Spans
from baton.tasks import span_decoding
from baton.tasks.span_decoding import Best
from baton.texts import words

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NONE = -1  # the place of an answer that there is not


@dataclass(frozen=True)
class SpanAnswers:
    """The answers to n questions; a question without one has the empty text, at `NONE`."""

    texts: tuple[str, ...] = field(repr=False)
    starts: Integers  # (n,), first character of the answer in its context
    ends: Integers  # (n,), the character after its last
    scores: Floats  # (n,), the probability of the best span, whether it is the answer or not
    none: Floats  # (n,), the probability of no answer

    def __getitem__(self, rows: NDArray[Any]) -> "SpanAnswers":
        """Return the answers of `rows` alone: indices, or a mask (n,)."""
        texts = tuple(self.texts[row] for row in np.arange(len(self.texts))[rows])
        return SpanAnswers(texts, *(part[rows] for part in (self.starts, self.ends, self.scores, self.none)))

    @property
    def given(self) -> NDArray[np.bool_]:
        """Whether each question has an answer, (n,)."""
        return np.asarray(self.starts != NONE)

    @property
    def sure(self) -> Floats:
        """The probability of what is answered: of the span, or of no answer, (n,)."""
        return np.where(self.given, self.scores, self.none)


def of_logits(
    logits: Ragged, contexts: Sequence[str], spec: Spans, temperature: float, threshold: float | None
) -> SpanAnswers:
    """Return the answers by logits (units, 2) of starts and ends.

    Args:
        logits: of each row's units: "no answer", and the words of its context.
        contexts: of the n rows.
        spec: the task.
        temperature: of both softmaxes.
        threshold: see `span_decoding.answered`; None: every question gets an answer, if a word is read.
    """
    found = span_decoding.best(logits, spec.max_answer_words, temperature)
    given = span_decoding.answered(found, np.inf if threshold is None else threshold)
    return of_best(found, given, contexts, spec)


def of_best(found: Best, given: NDArray[np.bool_], contexts: Sequence[str], spec: Spans) -> SpanAnswers:
    """Return the best spans as answers to the questions that are `given` one, (n,)."""
    texts, starts, ends = [], np.full(len(contexts), NONE), np.full(len(contexts), NONE)
    for row, context in enumerate(contexts):
        if not given[row]:
            texts.append("")
            continue
        places = words.cut(context, spec.words)
        starts[row], ends[row] = places[found.first[row] - 1][0], places[found.last[row] - 1][1]
        texts.append(context[starts[row] : ends[row]])
    return SpanAnswers(tuple(texts), starts, ends, np.exp(found.score), np.exp(found.none))


COLUMNS: Mapping[str, type] = {"answer": str, "start": int, "end": int, "score": float, "no_answer": float}


def frame(answers: SpanAnswers, index: Any) -> pd.DataFrame:
    """Return the answers as a served model gives them, in `COLUMNS`."""
    values = (list(answers.texts), answers.starts, answers.ends, answers.scores, answers.none)
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)), index=index)


def of_frame(frame: pd.DataFrame) -> SpanAnswers:
    """Return the answers of `frame`."""
    numbers = (frame[name].to_numpy() for name in list(COLUMNS)[1:])
    return SpanAnswers(tuple(map(str, frame["answer"])), *numbers)
