"""Which rows changed: how well each revision did on a row, and what it said.

Input: `Pairs` -> `Change`s, those that became wrong first.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.compare.revisions.pairing import AFTER, BEFORE, Pairs
from baton.contracts.task_spec import Classes, Labels, Numbers, Spans, TaskSpec, Tokens
from baton.contracts.task_spec import Sequence as SequenceSpec
from baton.evaluate import sequence_outputs, token_outputs
from baton.evaluate.report.csv_files import excerpt

COLUMNS = ("id", "change", "score_before", "score_after", "actual", "before", "after")
WORDS = ("right to wrong", "worse", "better", "wrong to right")


@dataclass(frozen=True)
class Changes:
    """What changed, row by row."""

    scores: tuple[NDArray[np.float64], NDArray[np.float64]]  # (n) before and after; higher is better
    kinds: NDArray[np.int64]  # (n), an index into WORDS, -1 for rows that did not change
    rows: Sequence[Sequence[object]]  # of COLUMNS and the text

    def count(self, word: str) -> int:
        """Return how many rows changed in this way."""
        return int((self.kinds == WORDS.index(word)).sum())


def read(pairs: Pairs) -> Changes:
    """Return all rows on which the two do not do equally well."""
    spec, targets = pairs.task.spec, pairs.rows.targets
    old, new = (scores(pairs, name) for name in (BEFORE, AFTER))
    kinds = np.full(len(old), -1)
    kinds[new < old], kinds[new > old] = 1, 2
    if not isinstance(spec, Numbers):  # 1 is right
        kinds[(old >= 1) & (new < 1)], kinds[(old < 1) & (new >= 1)] = 0, 3
    places = np.flatnonzero(kinds >= 0)
    places = places[np.lexsort((places, -np.abs(new - old)[places], kinds[places]))]
    actual = _actual(spec, targets)
    said = {name: answers(spec, targets, pairs.outputs[name]) for name in (BEFORE, AFTER)}
    rows = [
        (
            pairs.rows.ids[row],
            WORDS[kinds[row]],
            float(old[row]),
            float(new[row]),
            excerpt(actual[row]),
            excerpt(said[BEFORE][row]),
            excerpt(said[AFTER][row]),
            excerpt(pairs.rows.texts[row]),
        )
        for row in places.tolist()
    ]
    return Changes((old, new), kinds, rows)


def scores(pairs: Pairs, name: str) -> NDArray[np.float64]:
    """Return how well a revision does on each row alone, (n,): 1 is right; of numbers, minus the error."""
    parts = pairs.task.parts(pairs.rows.targets, pairs.outputs[name])
    match pairs.task.spec:
        case Labels() | Tokens():  # hits, and what is predicted or actual
            hits, both = parts.T
            return np.where(both > 0, 2 * hits / np.maximum(both, 1), 1.0)
        case SequenceSpec():
            return sequence_outputs.scores(parts)
        case Classes() | Numbers() | Spans():
            return parts


def answers(spec: TaskSpec, targets: Any, outputs: Any) -> list[str]:
    """Return what a model says of each row (n)."""
    match spec:
        case Classes(names=names):
            return [names[place] for place in outputs.predicted.tolist()]
        case Labels():
            return _marked(spec, outputs.predicted)
        case Numbers():
            return _numbers(outputs.values)
        case Tokens():
            return _entities(spec, outputs.entities, len(targets))
        case SequenceSpec():
            return list(outputs.texts)
        case Spans():
            return [str(one) for one in outputs.answers(targets).texts]


def _actual(spec: TaskSpec, targets: Any) -> list[str]:
    match spec:
        case Classes(names=names):
            return [names[place] for place in targets.tolist()]
        case Labels():
            return _marked(spec, targets > 0)
        case Numbers():
            return _numbers(targets)
        case Tokens():
            return _entities(spec, token_outputs.actual(targets), len(targets))
        case SequenceSpec():
            return [str(one) for one in targets]
        case Spans():
            return [" | ".join(dict.fromkeys(own)) for own in targets.passages.answers]


def _marked(spec: Labels, marks: NDArray[np.bool_]) -> list[str]:
    return [
        json.dumps([spec.names[place] for place in np.flatnonzero(own).tolist()], ensure_ascii=False)
        for own in marks
    ]


def _numbers(values: NDArray[np.float64]) -> list[str]:
    return [", ".join(f"{value:.6g}" for value in own) for own in values.tolist()]


def _entities(spec: Tokens, entities: NDArray[np.int64], rows: int) -> list[str]:
    """Return the entities of each text as type and words, counted from 1."""
    found: dict[int, list[str]] = defaultdict(list)
    for row, first, end, kind in entities.tolist():
        found[row].append(f"{spec.names[kind]} {first + 1}–{end}")
    return ["; ".join(found[row]) for row in range(rows)]
