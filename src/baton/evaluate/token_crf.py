"""A conditional random field that tags words (Lafferty et al. 2001), by CRFsuite: a baseline.

Inputs: the words of texts and their tags -> a tagger; words of other texts -> probabilities and tags.
"""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import console, params
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.tasks import token_decoding
from baton.tasks.token_figures import TokenFigures

REACH = 2  # words to either side that it sees
AFFIX = 3  # characters of a beginning or an end that it sees
# The most that fitting takes, and that choosing c1 and c2 takes, in words x tags x tags x iterations;
# CRFsuite did 5e8 to 7e8 per second on one core.
MOST = 2e11
COPIES = 4  # the most copies of a row for its weight, on average

Words = Sequence[Sequence[str]]  # of each text


@dataclass(frozen=True)
class Crf:
    """A fitted model."""

    content: bytes
    spec: Tokens

    @cached_property
    def tagger(self) -> Any:
        """The tagger, which reads `content` but does not keep it."""
        import pycrfsuite

        found = pycrfsuite.Tagger()
        found.open_inmemory(self.content)
        return found


@dataclass(frozen=True)
class _Train:
    """Texts to fit on, and the copies of each by which weights count."""

    texts: Words
    targets: Ragged
    copies: NDArray[np.int64]  # (texts,)
    unit: float  # the weight of a copy

    def part(self, fits: int, iterations: int, tags: int) -> "_Train":
        """Return evenly spread texts that can be fitted `fits` times, all if possible."""
        words = float((self.copies * self.targets.counts).sum())
        share = MOST / max(words * tags * tags * iterations * fits, 1.0)
        if share >= 1:
            return self
        rows = np.linspace(0, len(self.texts) - 1, max(1, int(share * len(self.texts)))).astype(np.int64)
        texts = [self.texts[row] for row in rows]
        return replace(self, texts=texts, targets=self.targets[rows], copies=self.copies[rows])


def fit(
    baseline: params.CrfBaseline,
    spec: Tokens,
    texts: Words,
    targets: Ragged,
    validation: tuple[Words, Ragged] | None,
    weights: NDArray[np.float32] | None,
) -> Crf:
    """Fit a CRF for each pair of c1 and c2, and keep the best on validation.

    The time of an iteration grows with the square of the number of tags. If it is too long (`MOST`), c1
    and c2 are chosen on fewer texts, and the model is then fitted on as many as possible; lines say so.
    """
    grid, width = [*itertools.product(baseline.c1, baseline.c2)], spec.width
    whole, pair = _Train(texts, targets, *copies(weights, len(texts))), grid[0]
    if len(grid) > 1:
        assert validation is not None, "choosing among several weights needs held-out rows"
        part = whole.part(len(grid), baseline.iterations, width)
        model, pair = _chosen(baseline, spec, part, *validation)
        if part is whole:
            return model
        chosen = f"chosen on {len(part.texts):,} of {len(texts):,} train texts"
        console.say(f"crf: c1 and c2 were {chosen}, since {width} tags take long")
    train = whole.part(1, baseline.iterations, width)
    if train is not whole:
        fitted = f"fitted on only {len(train.texts):,} of {len(texts):,} train texts"
        console.warn("crf", f"{fitted}, since {width} tags take long; fewer iterations allow more")
    return _fitted(spec, train, *pair, baseline.iterations)


def _chosen(
    baseline: params.CrfBaseline, spec: Tokens, train: _Train, texts: Words, targets: Ragged
) -> tuple[Crf, tuple[float, float]]:
    """Return the model that is best on other texts, the first of equals, with its c1 and c2."""
    best: tuple[float, Crf, tuple[float, float]] | None = None
    for c1, c2 in itertools.product(baseline.c1, baseline.c2):
        model = _fitted(spec, train, c1, c2, baseline.iterations)
        score = _score(model, texts, targets)
        console.say(f"crf with c1 {c1:g}, c2 {c2:g}: entity F1 {score:.4f} on validation")
        if best is None or score > best[0]:
            best = score, model, (c1, c2)
    assert best is not None, "params have at least one pair"
    return best[1:]


def copies(weights: NDArray[np.float32] | None, rows: int) -> tuple[NDArray[np.int64], float]:
    """Return how often each row is given for its weight, (rows,), and the weight of a copy.

    CRFsuite knows no weights. If all weights are multiples of the least, the loss is exact; otherwise each is
    rounded to a whole number of copies, of which there are at most `COPIES` per row on average.
    """
    if weights is None or not (weights > 0).any():
        return np.ones(rows, np.int64), 1.0
    own = weights.astype(np.float64)
    unit = max(float(own[own > 0].min()), float(own.sum()) / (COPIES * rows))
    return np.rint(own / unit).astype(np.int64), unit


def tagged(model: Crf, own: Sequence[str]) -> tuple[NDArray[np.float64], list[int]]:
    """Return the probability of each tag of a text's words, (words, tags), and the most probable tags."""
    found = np.zeros((len(own), model.spec.width))
    tags, known = _tags(model, own), model.tagger.labels()
    for place in range(len(own)):
        for tag in known:
            found[place, int(tag)] = model.tagger.marginal(tag, place)
    return found, tags


def _tags(model: Crf, own: Sequence[str]) -> list[int]:
    return [int(tag) for tag in model.tagger.tag(features(own))] if own else []


def _score(model: Crf, texts: Words, targets: Ragged) -> float:
    """Return entity F1; probabilities, which take longer than tags, are not needed."""
    tags = np.array([tag for own in texts for tag in _tags(model, own)], np.int64)
    entities = token_decoding.entities(tags, targets.offsets)
    return TokenFigures(model.spec).entity_scores(targets, entities)["entity_f1"]


def _fitted(spec: Tokens, train: _Train, c1: float, c2: float, iterations: int) -> Crf:
    """Fit one model; the loss of a copy is weighted by dividing the weights of the norms."""
    import pycrfsuite

    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    settings = {"max_iterations": iterations, "feature.possible_transitions": True}
    trainer.set_params(settings | {"c1": c1 / train.unit, "c2": c2 / train.unit})
    ends = itertools.pairwise(train.targets.offsets.tolist())
    for own, (start, end), count in zip(train.texts, ends, train.copies.tolist(), strict=True):
        if end > start:
            seen, tags = features(own), [str(tag) for tag in train.targets.values[start:end]]
            for _ in range(count):
                trainer.append(seen, tags)
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(str(path := Path(folder, "crf")))
        return Crf(path.read_bytes(), spec)


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
