"""What the cells of tagged texts mean; see `target_cells.TargetCells`.

A row is a text with spans of characters, or a list of tokens with a tag each. Either way the text is cut into
words (`texts.words`), to which the entities are fitted.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple

from baton.contracts.task_spec import Tokens
from baton.tables import label_checks, labels, name_sets, token_spans
from baton.tables.checks import Check
from baton.tables.row_sets import Rows
from baton.tables.rows import Cell, Joined, RawTable, is_null, plain
from baton.tables.token_spans import BEGINS, INSIDE, WIDENED
from baton.texts import words

SHOWN = 3  # rows that a note names


class Entities(NamedTuple):
    """The entities of a row whose text has `words` words: (first word, end, type), in order."""

    words: int
    entities: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class TokenCells:
    """A cell is a list of spans or of tags, or the text of such a JSON list; so may be the tokens of tags.

    `Row.label` is the JSON of `Entities`; '' if the cell is null: it is then unknown what the text holds.
    """

    cut: words.Cut

    word: ClassVar[str] = "entity type"
    words: ClassVar[str] = "entity types"
    small_policies: ClassVar[str] = "drop"
    found: ClassVar[str] = "predicted"
    names_leave: ClassVar[bool] = True
    contexts: ClassVar[bool] = False

    def joined(self, text: Any, value: Any, pair: Any = None) -> Joined | str:  # noqa: ARG002
        """Return the text and the JSON of its `Entities`, from any form of either, or the fault."""
        items = None if is_null(value) else _listed(value)
        if isinstance(items, str):
            return items
        tagged = bool(items) and all(isinstance(item, str | bytes) for item in items or ())
        given = text if isinstance(text, list) else None if items and not tagged else _written_tokens(text)
        tokens: list[words.Span] | None = None
        if given is not None:
            found = token_spans.of_tokens(given)
            if isinstance(found, str):
                return found
            whole, tokens = found
        elif (spelled := plain(text)) is not None:
            whole = spelled
        else:
            return f"text is a {type(text).__name__}"
        if items is None:
            return Joined(whole, None)
        if tokens is None and tagged:
            tokens = token_spans.between_spaces(whole)
        spans = token_spans.of_spans(whole, items) if tokens is None else token_spans.of_tags(tokens, items)
        if isinstance(spans, str):
            return spans
        own = words.cut(whole, self.cut)
        fitted = token_spans.fitted(whole, spans.spans, own)
        if isinstance(fitted, str):
            return fitted
        label = _written(Entities(len(own), tuple(fitted.spans)))
        return Joined(whole, label, frozenset(spans.marks | fitted.marks))

    def read(self, value: Any) -> Cell | str:
        """Return the label that `joined` made, with normalized types, or the fault."""
        if is_null(value):
            return Cell("")
        found, changed = _entities(value), {}
        for _, _, name in found.entities:
            kept = labels.normal(name)
            if not kept:
                return f"{name!r} is not the name of an entity type"
            changed[name] = kept
        respelled = tuple((name, kept) for name, kept in changed.items() if name != kept)
        return Cell(self.renamed(value, changed.__getitem__), respelled)

    def names(self, label: str) -> tuple[str, ...]:
        """Return the types of the row's entities, each once."""
        return _names(label)

    def renamed(self, label: str, new: Callable[[str], str | None]) -> str:
        """Return the entities under their new types; those whose type becomes None are left out."""
        if not label:
            return label
        found = _entities(label)
        kept = ((first, end, name) for first, end, old in found.entities if (name := new(old)))
        return _written(Entities(found.words, tuple(kept)))

    def checks(self) -> dict[str, Check]:
        """Return the checks of labels that are null, look alike or contradict each other."""
        return {
            "missing_label": label_checks.missing_label,
            "similar_labels": partial(label_checks.similar_labels, names=self.names),
            "conflict": partial(label_checks.conflict, shown=_shown),
        }

    def strata(self, rows: Rows) -> Iterable[str]:
        """Return of each row the type that is rarest up to there; '' for rows without entities."""
        return name_sets.strata(rows, self.names)

    def drift(self, rows: Rows) -> dict[str, Any] | None:
        """Compare the shares of rows with each type, see `name_sets.drift`."""
        return name_sets.drift(rows, self.names)

    def too_few(self, train: Iterable[str]) -> str:
        """Return that no row of train has an entity, if so."""
        if any(self.names(label) for label in train):
            return ""
        return "no entities: no row of train has one after the checks; at least one type is needed"

    def small_advice(self, left: int, listed: str) -> str:
        """Return what to do about rare types; `listed` are all types of the rows found."""
        advice = "small_class may be drop (takes such entities out of their rows, which stay) or keep"
        return f"{advice}; {left} entity types are in train; the types of the rows found: {listed}"

    def notes(self, table: RawTable, known: Mapping[str, str]) -> list[str]:  # noqa: ARG002
        """Return notes on tags that were repaired, and on spans that were widened to whole words."""
        notes, inside = [], table.marked[INSIDE]
        if inside and table.marked[BEGINS]:
            notes.append(
                f"{_rows(table, inside)} I-TYPE where no tag of that type precedes it; it is read as the "
                "beginning of an entity, as conlleval reads it"
            )
        elif inside:
            notes.append(
                f"{table.path} is read as IOB1: entities begin with I-TYPE, or with B-TYPE next to another"
            )
        if widened := table.marked[WIDENED]:
            notes.append(f"{_rows(table, widened)} a span that cuts a word; it is widened to whole words")
        return notes

    def summary(self, parts: Mapping[str, Rows]) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing: types are counted."""
        return {}

    def spec(self, names: list[str], train: Iterable[str] = ()) -> Tokens:  # noqa: ARG002
        """Return the task with these types."""
        return Tokens(tuple(names), self.cut)

    def type(self) -> Any:
        """Return the Arrow type of the clean column: a list of int32."""
        import pyarrow as pa

        return pa.list_(pa.int32())

    def target(self, label: str, places: Mapping[str, int]) -> list[int]:
        """Return the tag of each word, an index into `Tokens.tags`."""
        found = _entities(label)
        tags = [0] * found.words
        for first, end, name in found.entities:
            tags[first:end] = [2 * places[name] + 1, *[2 * places[name] + 2] * (end - first - 1)]
        return tags


def _listed(value: Any) -> list[Any] | str:
    if isinstance(value, list):
        return value
    if (written := plain(value)) is None:
        return f"label is a {type(value).__name__}; a list of spans or tags is needed"
    try:
        found = json.loads(written) if written.strip() else []
    except (ValueError, RecursionError):
        found = None
    shown = f"label {written[:60]!r} is not a JSON list of spans or tags"
    return found if isinstance(found, list) else shown


def _written_tokens(text: Any) -> list[Any] | None:
    """Return the tokens in the text of a JSON list of strings; None if it is another text."""
    written = (plain(text) or "").strip()
    if not (written.startswith("[") and written.endswith("]")):
        return None
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return None
    return found if found and all(isinstance(one, str) for one in found) else None


def _written(found: Entities) -> str:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=65_536)
def _entities(label: str) -> Entities:
    count, found = json.loads(label)
    return Entities(count, tuple((first, end, name) for first, end, name in found))


@lru_cache(maxsize=65_536)
def _names(label: str) -> tuple[str, ...]:
    return (
        tuple(sorted({name for _, _, name in _entities(label).entities}, key=labels.order)) if label else ()
    )


def _shown(label: str) -> str:
    found = _entities(label).entities if label else ()
    return ", ".join(f"{name} at words {first + 1} to {end}" for first, end, name in found) or "no entity"


def _rows(table: RawTable, ids: list[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    has = "has" if len(ids) == 1 else "have"
    return f"{table.path}: {len(ids)} row{'s' * (len(ids) > 1)} ({', '.join(ids[:SHOWN])}{more}) {has}"
