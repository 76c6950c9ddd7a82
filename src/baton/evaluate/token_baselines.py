"""Baselines for tags of words: the most frequent tag of each word, and a conditional random field.

Inputs: texts and the tags of their words -> a fitted baseline that gives the words of other texts logits and
tags.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.evaluate import token_crf
from baton.evaluate.token_outputs import TokenOutputs
from baton.texts import words

LEAST = 1e-12  # a probability of 0 has no logarithm


@dataclass(frozen=True)
class TokenFitted:
    """A baseline fitted on train."""

    tagged: Callable[[list[str]], tuple[NDArray[np.float64], list[int]]]  # words -> probabilities, tags
    spec: Tokens
    C: float | None = None  # none is chosen

    def outputs(self, inputs: Sequence[str]) -> TokenOutputs:
        """Return the outputs for `inputs` (n)."""
        parts = [self.tagged(cut(text, self.spec)) for text in inputs]
        values = np.concatenate([np.zeros((0, self.spec.width)), *(found for found, _ in parts)])
        offsets = np.cumsum([0, *(len(tags) for _, tags in parts)], dtype=np.int64)
        tags = np.array([tag for _, own in parts for tag in own], np.int64)
        return TokenOutputs(Ragged(np.log(np.maximum(values, LEAST)), offsets), tags)


@dataclass(frozen=True)
class TokenBaselines:
    """The baselines of this module; see `task_reports.TaskBaselines`."""

    spec: Tokens

    ridge: ClassVar[bool] = False

    def fit(
        self,
        baseline: params.Baseline,
        inputs: Sequence[str],
        targets: Ragged,
        validation: tuple[Sequence[str], Ragged] | None,
        weights: NDArray[np.float32] | None,
    ) -> TokenFitted:
        """Fit a baseline."""
        match baseline:
            case params.CrfBaseline():
                cut_up = [cut(text, self.spec) for text in inputs]
                held = (
                    None
                    if validation is None
                    else ([cut(text, self.spec) for text in validation[0]], validation[1])
                )
                model = token_crf.fit(baseline, self.spec, cut_up, targets, held, weights)
                return TokenFitted(partial(token_crf.tagged, model), self.spec)
            case params.MajorityBaseline():
                return self._majority(inputs, targets, weights)
        raise AssertionError(f"params refuse {baseline.kind} for tokens")

    def arrays(self, outputs: TokenOutputs) -> dict[str, NDArray[Any]]:
        """Return `logits`, `offsets` and `tags`."""
        assert outputs.logits is not None, "a baseline gives logits"
        assert outputs.tags is not None, "a baseline gives tags"
        return {
            "logits": outputs.logits.values,
            "offsets": outputs.logits.offsets,
            "tags": outputs.tags,
        }

    def of_arrays(self, arrays: Mapping[str, NDArray[Any]], C: float | None) -> TokenOutputs:  # noqa: ARG002, N803
        """Return the outputs whose `arrays` these are."""
        return TokenOutputs(Ragged(arrays["logits"], arrays["offsets"]), arrays["tags"])

    def _majority(
        self, inputs: Sequence[str], targets: Ragged, weights: NDArray[np.float32] | None
    ) -> TokenFitted:
        """Give a word its most frequent tag in train, the first of equals; a word not in train has O.

        Probabilities are the shares of the word's tags, with one more word of every tag's share in train.
        """
        spec, of_word = self.spec, defaultdict[str, Counter[int]](Counter)
        of_units = np.repeat(np.ones(len(targets)) if weights is None else weights, targets.counts)
        seen = [word for text in inputs for word in cut(text, spec)]
        for word, tag, weight in zip(seen, targets.values.tolist(), of_units.tolist(), strict=True):
            of_word[word][tag] += weight
        shares = np.bincount(targets.values, of_units, spec.width) / max(float(of_units.sum()), 1e-300)

        def tagged(own: list[str]) -> tuple[NDArray[np.float64], list[int]]:
            found = np.tile(shares, (len(own), 1))
            for place, word in enumerate(own):
                for tag, count in of_word.get(word, {}).items():
                    found[place, tag] += count
            tags = [_most(of_word[word]) if word in of_word else 0 for word in own]
            return found / found.sum(axis=1, keepdims=True), tags

        return TokenFitted(tagged, spec)


def _most(counts: Counter[int]) -> int:
    return min(counts, key=lambda tag: (-counts[tag], tag))


def cut(text: str, spec: Tokens) -> list[str]:
    """Return the words of a text."""
    return [text[start:end] for start, end in words.cut(text, spec.words)]
