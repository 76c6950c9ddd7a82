"""The outputs of a model that tags words, and their figures as functions of sums over texts.

As for classes (`tasks.metrics`), every figure is a function of sums of per-row statistics, so that all rows
and each resample share one code path. Entities are those of seqeval by default: right if first word, end and
type all are.

Inputs: logits of words, or the entities that a served model answered -> `figures`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.tasks import token_decoding, token_figures
from baton.tasks.metrics import Statistics, counts, per_class

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# The last columns of `statistics`: whether all entities of a text are right, 1, its words with the right tag,
# its words, and their log loss, if there are probabilities.
ROW = ("exact", "rows", "right_words", "words", "log_loss")


@dataclass(frozen=True)
class TokenOutputs:
    """A model's outputs for n texts: logits of words as trained, or entities that it answered."""

    logits: Ragged | None = None  # of words, (words, tags)
    tags: Integers | None = None  # (words,), of a model that does not choose them by the logits
    answered: tuple[Integers, Floats] | None = None  # entities and their scores, if there are no logits
    temperature: float = 1.0  # fitted on validation
    C: float | None = field(default=None, init=False)  # no baseline has one

    @cached_property
    def entities(self) -> Integers:
        """Entities, (entities, 4): row, first word and end within the row, and type."""
        if self.logits is None:
            assert self.answered is not None, "outputs have logits or entities"
            return self.answered[0]
        return within(token_decoding.entities(self.chosen, self.logits.offsets), self.logits.offsets)

    @cached_property
    def scores(self) -> Floats:
        """The smallest probability of a tag of each entity's words, at the temperature, (entities,)."""
        if self.logits is None:
            assert self.answered is not None, "outputs have logits or entities"
            return self.answered[1]
        found, tags = token_decoding.entities(self.chosen, self.logits.offsets), self.chosen
        if not len(found):
            return np.zeros(0)
        own = token_figures.certainty(self.logits, tags, self.temperature)
        return np.array([own[first:end].min() for _, first, end, _ in found.tolist()])

    @cached_property
    def chosen(self) -> Integers:
        """The tag of each word, (words,)."""
        assert self.logits is not None, "only logits are decoded"
        return token_decoding.decoded(self.logits) if self.tags is None else self.tags

    def losses(self, targets: Ragged, temperature: float) -> Floats | None:
        """Return the log loss of each word at a temperature, (words,); None without logits."""
        if self.logits is None:
            return None
        return token_figures.losses(self.logits.values.astype(np.float64) / temperature, targets.values)


def of_answers(spec: Tokens, cells: Iterable[str]) -> TokenOutputs:
    """Return the outputs that a served model's column `entities` describes, whose types the task has."""
    places = {name: place for place, name in enumerate(spec.names)}
    found, scores = [], []
    for row, cell in enumerate(cells):
        for one in json.loads(cell):
            found.append((row, *one["words"], places[one["label"]]))
            scores.append(float(one["score"]))
    return TokenOutputs(answered=(np.array(found, np.int64).reshape(-1, 4), np.array(scores, np.float64)))


def within(entities: Integers, offsets: Integers) -> Integers:
    """Return entities whose words are counted within their row."""
    begin = offsets[entities[:, 0]]
    return entities - np.stack([np.zeros_like(begin), begin, begin, np.zeros_like(begin)], axis=1)


def actual(targets: Ragged) -> Integers:
    """Return the entities of tags, as `TokenOutputs.entities`."""
    return within(token_decoding.entities(targets.values, targets.offsets), targets.offsets)


def tags_of(entities: Integers, offsets: Integers) -> Integers:
    """Return the tag of each word, (words,); an answered entity may have no word."""
    tags = np.zeros(offsets[-1], np.int64)
    for row, first, end, kind in entities[entities[:, 1] < entities[:, 2]].tolist():
        begin = offsets[row]
        tags[begin + first] = 2 * kind + 1
        tags[begin + first + 1 : begin + end] = 2 * kind + 2
    return tags


def statistics(spec: Tokens, targets: Ragged, outputs: TokenOutputs) -> Statistics:
    """Return the per-row statistics whose sums `figures` reads, (n, 3 * types + 4 or 5), sparse.

    Columns: entities of each type that are hit, predicted and actual, as in `metrics.counts`; then `ROW`.
    """
    from scipy.sparse import csr_array, hstack

    rows, types, true, own = len(targets), len(spec.names), actual(targets), outputs.entities
    hit, right = token_decoding.matched(true, own)
    parts = []
    for part in (true[hit], own, true):
        ones = np.ones(len(part))
        parts.append(csr_array((ones, (part[:, 0], part[:, 3])), (rows, types)))  # repeats are summed
    missed = np.bincount(true[~hit, 0], minlength=rows) + np.bincount(own[~right, 0], minlength=rows)
    same = tags_of(own, targets.offsets) == targets.values
    row = [missed == 0, np.ones(rows), targets.sums(same.astype(np.int64)), targets.counts]
    if (losses := outputs.losses(targets, outputs.temperature)) is not None:
        row.append(targets.sums(losses))
    last = csr_array(np.stack([np.asarray(one, np.float64) for one in row], axis=1))
    return hstack([*parts, last], format="csr")


def figures(sums: Floats, types: int, whole: Floats | None = None) -> dict[str, Floats]:
    """Return the figures for sums (..., columns of `statistics`); each value has the leading shape of `sums`.

    - entity_f1, entity_precision, entity_recall: of the entities of all types together; 0 if there are none.
    - macro_f1: mean of the types' F1, over types with an entity in the test split, or predicted there.
    - exact: share of texts whose entities are all right, with none too many.
    - token_accuracy: share of words with the right tag.
    - log_loss: mean over words of the negative log-probability of the tag, in nats; absent without
      probabilities.

    If `sums` are those of resamples, `whole` (columns) are the sums over all rows, as in `metrics.figures`.
    """
    hit, chosen, true = counts(sums, types)
    row = dict(zip(ROW, np.moveaxis(sums[..., 3 * types :], -1, 0), strict=False))
    _, all_chosen, all_true = (hit, chosen, true) if whole is None else counts(whole, types)
    present = np.asarray(all_chosen + all_true > 0)
    f1 = per_class(sums, types)["f1"]
    if whole is not None:
        f1 = np.where(np.isnan(f1), per_class(whole, types)["f1"], f1)
    right, predicted, there = (part.sum(axis=-1) for part in (hit, chosen, true))
    result = {
        "entity_f1": 2 * right / np.maximum(predicted + there, 1),
        "entity_precision": right / np.maximum(predicted, 1),
        "entity_recall": right / np.maximum(there, 1),
        "macro_f1": np.where(present, f1, 0).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1),
        "exact": row["exact"] / row["rows"],
        "token_accuracy": row["right_words"] / np.maximum(row["words"], 1),
    }
    if "log_loss" in row:
        result["log_loss"] = row["log_loss"] / np.maximum(row["words"], 1)
    return result


def confusion(spec: Tokens, targets: Ragged, outputs: TokenOutputs) -> NDArray[np.int64]:
    """Return counts (actual, predicted) of words by type; the last of each is "no entity"."""
    none = len(spec.names)
    kinds = [
        np.where(tags > 0, (tags - 1) // 2, none)
        for tags in (targets.values, tags_of(outputs.entities, targets.offsets))
    ]
    flat = np.bincount(kinds[0] * (none + 1) + kinds[1], minlength=(none + 1) ** 2)
    found: NDArray[Any] = flat.reshape(none + 1, none + 1)
    return found
