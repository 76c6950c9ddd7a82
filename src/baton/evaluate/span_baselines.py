"""Baselines for questions about a text: always the same answer, and a sliding window over words.

Both give logits of "no answer" and of the words of contexts, as models do, so that what is fitted on
validation is fitted for them too.

Inputs: pairs of question and context, and the answers -> a fitted baseline that gives other pairs logits.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import console, params
from baton.contracts.questions import Questions
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Spans
from baton.contracts.text_pairs import Pair
from baton.evaluate import span_outputs
from baton.evaluate.span_outputs import SpanOutputs
from baton.texts import words

Floats = NDArray[np.float64]
Choice = tuple[int, int, float]  # the first word of an answer, the one after its last, and how good it is
FAR = -30.0  # the logit of a word that is not chosen
CERTAIN = 30.0


@dataclass(frozen=True)
class SpanFitted:
    """A baseline fitted on train."""

    spec: Spans
    choose: Callable[[str, list[str]], Choice | None]  # question, words of the context -> the best answer
    C: float | None = None  # none is chosen

    def outputs(self, inputs: Sequence[Pair]) -> SpanOutputs:
        """Return the outputs for `inputs` (n): a span's start and end have the logit of how good it is."""
        parts = []
        for question, context in inputs:
            own = cut(context, self.spec)
            logits = np.full((1 + len(own), 2), FAR)
            found = self.choose(question, own) if own else None
            logits[0] = CERTAIN if found is None else 0.0
            if found is not None:
                first, end, value = found
                end = min(end, first + self.spec.max_answer_words)
                logits[1 + first, 0] = logits[end, 1] = 1 + value
            parts.append(logits)
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        values = np.concatenate([np.zeros((0, 2)), *parts])
        return SpanOutputs(self.spec, Ragged(values, offsets))


@dataclass(frozen=True)
class SpanBaselines:
    """The baselines of this module; see `task_reports.TaskBaselines`."""

    spec: Spans

    ridge: ClassVar[bool] = False

    def fit(
        self,
        baseline: params.Baseline,
        inputs: Sequence[Pair],
        targets: Questions,
        validation: tuple[Sequence[Pair], Questions] | None,
        weights: NDArray[np.float32] | None,  # noqa: ARG002
    ) -> SpanFitted:
        """Fit a baseline; weights of rows do not matter."""
        match baseline:
            case params.MajorityBaseline():
                return self._majority(inputs, targets)
            case params.SlidingWindowBaseline():
                return self._window(baseline, inputs, validation)
        raise AssertionError(f"params refuse {baseline.kind} for spans")

    def arrays(self, outputs: SpanOutputs) -> dict[str, NDArray[Any]]:
        """Return `logits` and `offsets`."""
        assert outputs.logits is not None, "a baseline gives logits"
        return {"logits": outputs.logits.values, "offsets": outputs.logits.offsets}

    def of_arrays(self, arrays: Mapping[str, NDArray[Any]], C: float | None) -> SpanOutputs:  # noqa: ARG002, N803
        """Return the outputs whose `arrays` these are."""
        return SpanOutputs(self.spec, Ragged(arrays["logits"], arrays["offsets"]))

    def _majority(self, inputs: Sequence[Pair], targets: Questions) -> SpanFitted:
        """Answer with the first words of the context, as many as the most frequent answer of train has.

        If that scores less on train than no answer at all, never answer.
        """
        lengths = Counter(len(cut(own[0], self.spec)) for own in targets.passages.answers if own)
        most = min(lengths, key=lambda length: (-lengths[length], length), default=1)
        first = SpanFitted(self.spec, lambda _, own: (0, min(most, len(own)), CERTAIN))
        never = SpanFitted(self.spec, lambda _, __: None)
        return max((first, never), key=lambda one: _f1(one, inputs, targets))

    def _window(
        self,
        baseline: params.SlidingWindowBaseline,
        inputs: Sequence[Pair],
        validation: tuple[Sequence[Pair], Questions] | None,
    ) -> SpanFitted:
        """Return the window of the `lengths` that is best on validation."""
        weights = rarity([context for _, context in inputs], self.spec)
        best: tuple[float, SpanFitted] | None = None
        for length in baseline.lengths:
            model = SpanFitted(self.spec, _nearest(length, weights))
            if len(baseline.lengths) == 1:
                return model
            assert validation is not None, "choosing among several lengths needs held-out rows"
            value = _f1(model, *validation)
            console.say(f"sliding window of {length} words: F1 {value:.4f} on validation")
            if best is None or value > best[0]:
                best = value, model
        assert best is not None, "params have at least one length"
        return best[1]


def cut(context: str, spec: Spans) -> list[str]:
    """Return the words of a context."""
    return [context[start:end] for start, end in words.cut(context, spec.words)]


def rarity(contexts: Sequence[str], spec: Spans) -> dict[str, float]:
    """Return log(1 + n / (1 + df)) of each word in lower case, of n different contexts, df with the word.

    The key "" holds that of a word in none.
    """
    different = dict.fromkeys(contexts)
    counts = Counter(word for context in different for word in {one.lower() for one in cut(context, spec)})
    found = {word: math.log1p(len(different) / (1 + count)) for word, count in counts.items()}
    return found | {"": math.log1p(len(different))}


def _nearest(length: int, weights: Mapping[str, float]) -> Callable[[str, list[str]], Choice | None]:
    """Return the function to the window of rare words that lies closest to rare words of the question.

    As in the baselines of Richardson et al. 2013 (MCTest: sliding window, distance), which Rajpurkar et al.
    2016 use for SQuAD, with all windows of `length` words as answers, except those with a word of the
    question or punctuation. A window is as good as the product of two shares: the sum, over the question's
    words, of the rarity of each divided by the distance of the nearest one, of the sum of rarities; and the
    mean rarity of its own words, of the highest.
    """

    def choose(question: str, own: list[str]) -> Choice | None:
        lower = np.array([word.lower() for word in own], dtype=object)
        asked = {word.lower() for word in words_of(question)}
        kept = np.array([word not in asked and any(map(str.isalnum, word)) for word in lower])
        starts = _starts(kept, length)
        if not len(starts):
            return None
        near, total = np.zeros(len(starts)), 0.0
        for word in sorted(asked):
            weight = weights.get(word, weights[""])
            total += weight
            places = np.flatnonzero(lower == word)
            if len(places):
                near += weight / _distance(places, starts, length)
        sums = np.cumsum([0.0, *(weights.get(word, weights[""]) for word in lower)])
        rare = (sums[starts + length] - sums[starts]) / length / weights[""]
        score = near / max(total, 1e-300) * rare
        best = int(score.argmax())
        return int(starts[best]), int(starts[best]) + length, float(score[best])

    return choose


def words_of(question: str) -> list[str]:
    """Return the words of a question that are not punctuation."""
    own = (question[start:end] for start, end in words.cut(question, "pattern"))
    return [word for word in own if any(map(str.isalnum, word))]


def _starts(kept: NDArray[np.bool_], length: int) -> NDArray[np.int64]:
    """Return the first words of the windows all of whose words are kept; of shorter texts, none."""
    if len(kept) < length:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(kept, length).all(axis=1))


def _distance(places: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Floats:
    """Return how many words the nearest of `places` (ascending) lies away from each window, at least 1."""
    after = np.searchsorted(places, starts)  # the first place beyond a window, which has none inside
    left = starts - places[np.maximum(after - 1, 0)]
    right = places[np.minimum(after, len(places) - 1)] - (starts + length - 1)
    far = np.inf
    return np.minimum(np.where(after > 0, left, far), np.where(after < len(places), right, far))


def _f1(model: SpanFitted, inputs: Sequence[Pair], targets: Questions) -> float:
    """Return the mean F1 of a model that answers wherever it can."""
    answers = model.outputs(inputs).answers(targets)
    return float(span_outputs.statistics(targets, answers)[:, span_outputs.F1].mean())
