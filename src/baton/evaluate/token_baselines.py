"""Baselines for tags of words: the most frequent tag of each word, and a conditional random field.

Inputs: texts and the tags of their words -> a fitted baseline that gives the words of other texts logits and
tags.
"""

import itertools
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import console, params
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.evaluate.token_outputs import TokenOutputs
from baton.tasks import token_decoding
from baton.tasks.token_figures import TokenFigures
from baton.texts import words

LEAST = 1e-12  # a probability of 0 has no logarithm
REACH = 2  # words to either side that a CRF sees
AFFIX = 3  # characters of a beginning or an end that it sees


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
        """Fit a baseline; a CRF has no weights of rows."""
        match baseline:
            case params.CrfBaseline():
                return self._crf(baseline, inputs, targets, validation)
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

    def _crf(
        self,
        baseline: params.CrfBaseline,
        inputs: Sequence[str],
        targets: Ragged,
        validation: tuple[Sequence[str], Ragged] | None,
    ) -> TokenFitted:
        """Fit a CRF (Lafferty et al. 2001) for each pair of c1 and c2; keep the best on validation."""
        grid = [*itertools.product(baseline.c1, baseline.c2)]
        best: tuple[float, TokenFitted] | None = None
        for c1, c2 in grid:
            model = _trained(self.spec, inputs, targets, c1, c2, baseline.iterations)
            if len(grid) == 1:
                return model
            assert validation is not None, "choosing among several weights needs held-out rows"
            found, offsets = model.outputs(validation[0]), validation[1].offsets
            entities = token_decoding.entities(found.chosen, offsets)
            scores = TokenFigures(self.spec).entity_scores(validation[1], entities)
            console.say(f"crf with c1 {c1:g}, c2 {c2:g}: entity F1 {scores['entity_f1']:.4f} on validation")
            if best is None or scores["entity_f1"] > best[0]:
                best = scores["entity_f1"], model
        assert best is not None, "params have at least one pair"
        return best[1]


def _most(counts: Counter[int]) -> int:
    return min(counts, key=lambda tag: (-counts[tag], tag))


def cut(text: str, spec: Tokens) -> list[str]:
    """Return the words of a text."""
    return [text[start:end] for start, end in words.cut(text, spec.words)]


def features(own: Sequence[str]) -> list[list[str]]:
    """Return what a CRF sees of each word: itself, its ends, its shape, and its neighbours.

    Those of the tutorial of sklearn-crfsuite (Korobov), with two neighbours to either side and the shape.
    """
    found = []
    for place, word in enumerate(own):
        shape = "".join(map(_kind, word))
        short = "".join(key for key, _ in itertools.groupby(shape))
        row = ["bias", f"lower={word.lower()}", f"shape={shape[:12]}", f"short={short[:12]}"]
        row += [f"begin={word[:AFFIX].lower()}", f"end={word[-AFFIX:].lower()}", f"last={word[-1]}"]
        for step in range(-REACH, REACH + 1):
            other = place + step
            if step and 0 <= other < len(own):
                near = own[other]
                row += [f"{step}:lower={near.lower()}", f"{step}:shape={''.join(map(_kind, near))[:6]}"]
        if place == 0:
            row.append("first")
        if place == len(own) - 1:
            row.append("last")
        found.append(row)
    return found


def _kind(one: str) -> str:
    return "d" if one.isdigit() else "A" if one.isupper() else "a" if one.isalpha() else one


def _trained(
    spec: Tokens, inputs: Sequence[str], targets: Ragged, c1: float, c2: float, iterations: int
) -> TokenFitted:
    import pycrfsuite

    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params(
        {"c1": c1, "c2": c2, "max_iterations": iterations, "feature.possible_transitions": True}
    )
    for text, start, end in zip(inputs, targets.offsets[:-1], targets.offsets[1:], strict=True):
        if end > start:
            trainer.append(features(cut(text, spec)), [str(tag) for tag in targets.values[start:end]])
    tagger = pycrfsuite.Tagger()
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(str(path := Path(folder, "crf")))
        content = path.read_bytes()
    tagger.open_inmemory(content)
    known = tagger.labels()

    def tagged(own: list[str]) -> tuple[NDArray[np.float64], list[int]]:
        found = np.zeros((len(own), spec.width))
        if not own:
            return found, []
        assert content, "the tagger reads it, but does not keep it"
        tags = [int(tag) for tag in tagger.tag(features(own))]
        for place in range(len(own)):
            for tag in known:
                found[place, int(tag)] = tagger.marginal(tag, place)
        return found, tags

    return TokenFitted(tagged, spec)
