"""Figures and answers of a model that marks the answer to a question; see `task_figures.TaskFigures`.

Scores are SQuAD's, of answers as texts (`squad_scores`). A question gets its most probable span unless "no
answer" is more probable by a threshold.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.contracts.questions import Questions
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Spans
from baton.tasks import span_answers, span_decoding, squad_scores
from baton.tasks.answers import Misfit
from baton.tasks.metrics import check_units
from baton.tasks.span_decoding import Best

Floats = NDArray[np.float64]
Fitted = Mapping[str, Any]

BOUND = 4.0  # of |log temperature|, as for classes


@dataclass(frozen=True)
class SpanFigures:
    """F1 and exact match of answers; those of a served model are texts with their places."""

    spec: Spans

    directions: ClassVar[Mapping[str, int]] = {"loss": -1, "f1": 1, "exact_match": 1}
    main: ClassVar[str] = "f1"
    gated: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    share: ClassVar[bool] = True
    probes: ClassVar[bool] = False

    def scores(self, logits: Ragged, targets: Questions) -> dict[str, float]:
        """Return `loss` (nats; of start and end, averaged), `f1` and `exact_match`, means over questions.

        Questions are answered at the threshold that is best for F1 on these rows: as it is fitted after
        training, how well a checkpoint decides at another one says little (Rajpurkar et al. 2018, section 5,
        report such scores). The loss leaves out questions whose answers are in parts that are not read.
        """
        check_units(logits, targets, "questions", "units")
        found = span_decoding.best(logits, self.spec.max_answer_words)
        with_span, without = self._scored(found, targets)
        limit = span_decoding.threshold(found, with_span[:, 1], without[:, 1])
        chosen = np.where(span_decoding.answered(found, limit)[:, None], with_span, without)
        losses = span_decoding.losses(logits, targets)
        exact, f1 = chosen.mean(axis=0).tolist()
        known = losses[np.isfinite(losses)]
        return {"loss": float(known.mean()) if len(known) else 0.0, "f1": f1, "exact_match": exact}

    def fitted(self, logits: Ragged, targets: Questions) -> dict[str, Any]:
        """Return the `temperature` of both softmaxes, and the `threshold` at it with the highest F1.

        The threshold is that of SQuAD 2.0's own script: of all possible ones the best on these rows, for the
        difference of the log-probabilities of no answer and of the best span. It is None, and every question
        gets an answer, if all of these rows have one: they say nothing about questions that have none.
        """
        check_units(logits, targets, "questions", "units")
        temperature = fit_temperature(logits, targets)
        if all(any(map(squad_scores.normal, row)) for row in targets.passages.answers):
            return {"temperature": temperature, "threshold": None}
        found: Best = span_decoding.best(logits, self.spec.max_answer_words, temperature)
        with_span, without = self._scored(found, targets)
        return {
            "temperature": temperature,
            "threshold": span_decoding.threshold(found, with_span[:, 1], without[:, 1]),
        }

    def _scored(self, found: Best, targets: Questions) -> tuple[Floats, Floats]:
        """Return exact match and F1 of each question with its best span, and without an answer, (rows, 2)."""
        given = span_decoding.answered(found, np.inf)
        spans = span_answers.of_best(found, given, targets.passages.contexts.tolist(), self.spec)
        scored = [
            [
                squad_scores.score(text, true)
                for text, true in zip(texts, targets.passages.answers, strict=True)
            ]
            for texts in (spans.texts, [""] * len(targets))
        ]
        with_span, without = np.array(scored, np.float64)
        return with_span, without

    def answers(self, logits: Ragged, fitted: Fitted, contexts: Sequence[str]) -> span_answers.SpanAnswers:
        """Return the answer to each question; as trained, no answer must be the more probable one."""
        values = fitted.get("temperature", 1.0), fitted.get("threshold", 0.0)
        return span_answers.of_logits(logits, contexts, self.spec, *values)

    def texts(self, targets: Questions) -> list[str]:
        """Return the true answers to each question, as a JSON list."""
        return [_listed(true) for true in targets.passages.answers]

    def identities(self, targets: Questions) -> list[str]:
        """Return all true answers to each question and the marks of its units, as JSON."""
        marks = np.split(targets.values, targets.offsets[1:-1])
        both = zip(targets.passages.answers, marks, strict=True)
        return [json.dumps([true, own.tolist()], ensure_ascii=False) for true, own in both]

    def answer(self, logits: Ragged, fitted: Fitted, index: Any, texts: Sequence[str] = ()) -> pd.DataFrame:
        """Return the columns of `span_answers.frame`; `texts` are the contexts."""
        return span_answers.frame(self.answers(logits, fitted, texts), index)

    def said(self, answers: pd.DataFrame) -> list[str]:
        """Return each answer as a JSON list, which is empty if there is none."""
        return [_listed([str(text)] if text else []) for text in answers["answer"]]

    def misfit(self, answers: pd.DataFrame) -> Misfit | None:
        """Return the first column that answers lack, if they do."""
        names = {*map(str, answers.columns)}
        missing = next((name for name in self.columns if name not in names), None)
        return None if missing is None else Misfit(f"no column {missing}", comparable=False)

    @property
    def columns(self) -> Mapping[str, type]:
        """The answer as a text, its characters, and the probabilities of it and of no answer."""
        return span_answers.COLUMNS

    def output(self, fitted: Fitted) -> str:
        """Return the columns in words, and what was fitted."""
        columns = (
            "`answer`, string, part of the context, empty if there is none; `start` and `end`, long, its "
            "characters, -1 without one; `score`, double, the probability of the best span: that of its "
            "first word times that of its last, softmax(logits / T) over the context; `no_answer`, double, "
            "the same of no answer, which is given if its log-probability is the higher one by a threshold"
        )
        temperature, threshold = fitted.get("temperature", 1.0), fitted.get("threshold", 0.0)
        rule = (
            "no threshold: there always is an answer" if threshold is None else f"threshold {threshold:.4g}"
        )
        return f"{columns}; T = {temperature:.4g}, {rule}, fitted on validation"


def _listed(answers: Sequence[str]) -> str:
    return json.dumps(list(answers), ensure_ascii=False)


def fit_temperature(logits: Ragged, targets: Ragged) -> float:
    """Return the temperature that minimises the loss, to 6 digits.

    One extra row, the mean over rows with all units equally right, keeps it finite, as in `temperature.fit`.
    """
    from scipy.optimize import minimize_scalar

    read = np.isfinite(span_decoding.log_probabilities(logits))  # (units, 2)

    def cost(log_t: float) -> float:
        found = span_decoding.log_probabilities(logits, float(np.exp(log_t)))
        even = -logits.sums(np.where(read, found, 0)) / logits.sums(read.astype(np.int64))  # (rows, 2)
        own = span_decoding.losses(logits, targets, float(np.exp(log_t)))
        return float(np.nansum(own) + even.mean())

    found = minimize_scalar(cost, bounds=(-BOUND, BOUND), method="bounded", options={"xatol": 1e-8})
    return float(f"{np.exp(found.x):.6g}")
