"""Figures and answers of a model that gives each word a tag; see `task_figures.TaskFigures`.

Tags are those of the most probable valid sequence (`token_decoding`); probabilities are softmax(logits / T).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.errors import DataError
from baton.tasks import metrics, temperature, token_decoding
from baton.tasks.answers import Misfit, unexpected
from baton.texts import words

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Fitted = Mapping[str, Any]

COLUMN = "entities"  # of an answer


@dataclass(frozen=True)
class TokenFigures:
    """F1 of entities as seqeval and conlleval count them; the answer lists the entities of a text."""

    spec: Tokens

    directions: ClassVar[Mapping[str, int]] = {"loss": -1, "entity_f1": 1, "macro_f1": 1}
    main: ClassVar[str] = "entity_f1"
    gated: ClassVar[tuple[str, ...]] = ("entity_f1", "macro_f1")
    share: ClassVar[bool] = True
    probes: ClassVar[bool] = False

    def scores(self, logits: Ragged, targets: Ragged) -> dict[str, float]:
        """Return `loss` (mean log loss of words, nats), `entity_f1` and `macro_f1`.

        `entity_f1` counts entities of all types together; `macro_f1` is the mean over types with an
        entity, actual or predicted, as of seqeval.
        """
        metrics.check_units(logits, targets, "tags", "words")
        found = token_decoding.entities(token_decoding.decoded(logits), logits.offsets)
        loss = float(losses(logits.values, targets.values).mean()) if len(targets.values) else 0.0
        return {"loss": loss} | self.entity_scores(targets, found)

    def entity_scores(self, targets: Ragged, predicted: Integers) -> dict[str, float]:
        """Return `entity_f1` and `macro_f1` of entities, see `token_decoding.entities`."""
        actual = token_decoding.entities(targets.values, targets.offsets)
        hits, _ = token_decoding.matched(actual, predicted)
        types = len(self.spec.names)
        hit, chosen, true = (
            np.bincount(part[:, 3], minlength=types) for part in (actual[hits], predicted, actual)
        )
        f1, found = 2 * hit / np.maximum(chosen + true, 1), chosen + true > 0  # (types,)
        return {
            "entity_f1": float(2 * hit.sum() / max(chosen.sum() + true.sum(), 1)),
            "macro_f1": float(f1[found].mean()) if found.any() else 0.0,
        }

    def fitted(self, logits: Ragged, targets: Ragged) -> dict[str, Any]:
        """Return the `temperature` of the tags' softmax, see `temperature.fit`; words are its rows."""
        metrics.check_units(logits, targets, "tags", "words")
        found = temperature.fit(logits.values, targets.values) if len(targets.values) else 1.0
        return {"temperature": found}

    def texts(self, targets: Ragged) -> list[str]:
        """Return the types of entities in each row, as a JSON list."""
        found = token_decoding.entities(targets.values, targets.offsets)
        kinds: list[set[int]] = [set() for _ in range(len(targets))]
        for row, kind in found[:, [0, 3]].tolist():
            kinds[row].add(kind)
        return [_listed([self.spec.names[kind] for kind in sorted(own)]) for own in kinds]

    def identities(self, targets: Ragged) -> list[str]:
        """Return the entities of each row, as a JSON list of first word, end and type."""
        found: list[list[tuple[int, int, str]]] = [[] for _ in range(len(targets))]
        for row, first, end, kind in token_decoding.entities(targets.values, targets.offsets).tolist():
            begin = int(targets.offsets[row])
            found[row].append((first - begin, end - begin, self.spec.names[kind]))
        return [_listed(own) for own in found]

    def answer(self, logits: Ragged, fitted: Fitted, index: Any, texts: Sequence[str] = ()) -> pd.DataFrame:
        """Return `entities`: of each of the `texts`, a JSON list of what was found in it, in order.

        An object has `start` and `end` (characters of the text), `label`, `text`, `score`, the smallest
        probability of a tag of its words, and `words`, the first of them and the end.
        """
        found: list[list[dict[str, Any]]] = [[] for _ in texts]
        tags = token_decoding.decoded(logits)
        own = certainty(logits, tags, fitted.get("temperature", 1.0))
        places = [words.cut(text, self.spec.words) for text in texts]
        for row, first, end, kind in token_decoding.entities(tags, logits.offsets).tolist():
            begin = int(logits.offsets[row])
            start, stop = places[row][first - begin][0], places[row][end - 1 - begin][1]
            found[row].append(
                {
                    "start": start,
                    "end": stop,
                    "label": self.spec.names[kind],
                    "text": texts[row][start:stop],
                    "score": round(float(own[first:end].min()), 6),
                    "words": [first - begin, end - begin],
                }
            )
        return pd.DataFrame({COLUMN: [_listed(entities) for entities in found]}, index=index)

    def said(self, answers: pd.DataFrame) -> list[str]:
        """Return the types of entities in each answer, as `texts` writes them."""
        places = {name: place for place, name in enumerate(self.spec.names)}
        rows = ({one["label"] for one in json.loads(cell)} for cell in answers[COLUMN])
        return [_listed(sorted(row, key=lambda name: places.get(name, len(places)))) for row in rows]

    def aligned(self, answers: pd.DataFrame, texts: Iterable[str], targets: Ragged) -> pd.DataFrame:
        """Return answers whose `words` are those of the task: all that an entity has a character of.

        A model may cut texts into words otherwise. Its entities are fitted to words as those of raw data are.

        Raises:
            DataError: a text has another number of words than tags.
        """
        cells, tags = [], targets.counts.tolist()
        for row, (cell, text) in enumerate(zip(answers[COLUMN], texts, strict=True)):
            own = words.cut(text, self.spec.words)
            if len(own) != tags[row]:
                raise DataError(
                    f"row {row + 1} of the table has another number of words than tags",
                    got=f"{tags[row]} tags",
                    expected=f"{len(own)}, the words of its text",
                    hint="another version of Baton wrote the table: write it again by `dvc repro preprocess`",
                )
            found = json.loads(cell)
            for one in found:
                one["words"] = list(words.covering(own, one["start"], one["end"]))
            cells.append(_listed(found))
        return answers.assign(**{COLUMN: cells})

    def misfit(self, answers: pd.DataFrame) -> Misfit | None:
        """Return that answers have no entities, or entities of types that the task does not have, if so."""
        if COLUMN not in answers:
            return Misfit(f"no column {COLUMN}", comparable=False)
        more = sorted(
            {one["label"] for cell in answers[COLUMN] for one in json.loads(cell)} - {*self.spec.names}
        )
        return Misfit(unexpected(more), comparable=False) if more else None

    def output(self, fitted: Fitted) -> str:
        """Return the column in words, and the temperature."""
        column = (
            f"`{COLUMN}`, string, a JSON list of objects: `start` and `end` (characters of the text), "
            "`label`, `text`, `score` (the smallest probability, softmax(logits / T), of a tag of the "
            "entity's words) and `words` (the first of them, and the end)"
        )
        return f"{column}; T = {fitted.get('temperature', 1.0):.4g}, fitted on validation"

    @property
    def columns(self) -> Mapping[str, type]:
        """`entities`."""
        return {COLUMN: str}


def certainty(logits: Ragged, tags: Integers, temperature: float) -> Floats:
    """Return the probability softmax(logits / temperature) of each word's tag, (words,)."""
    scaled = metrics.log_probabilities(logits.values.astype(np.float64) / temperature)
    return np.exp(scaled[np.arange(len(tags)), tags])


def _listed(values: Sequence[Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


def losses(logits: NDArray[Any], tags: Integers) -> Floats:
    """Return the log loss of each word, (words,), in nats and double precision."""
    found: Floats = -metrics.log_probabilities(logits)[np.arange(len(tags)), tags]
    return np.minimum(found, -metrics.FLOOR)
