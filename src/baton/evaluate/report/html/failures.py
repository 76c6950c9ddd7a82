"""Where one model fails: its names, confusions and most confident mistakes.

Inputs: tables/per_class.csv (per_label, per_type), confusion.csv and errors.csv -> `Failures`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from baton.evaluate.report.html import confusions, mistakes, names
from baton.evaluate.report.html.confusions import Matrix
from baton.evaluate.report.html.csv_reading import Reports, Row, number
from baton.evaluate.report.html.mistakes import Mistake
from baton.evaluate.report.html.names import Name
from baton.evaluate.report.wording import percent

FIRST = 12  # names whose blocks are shown outright, if there are more than a matrix holds
CONFIDENT = 30  # mistakes
NO_ENTITY = "no entity"  # in confusion.csv of tagged words

SHARES = ("f1", "chrf", "score")

# Columns of errors.csv of kinds of task without names -> what the report calls them.
PLAIN = {
    "id": "row",
    "number": "number",
    "actual": "actual",
    "predicted": "predicted",
    "low": "interval from",
    "high": "to",
    "error": "error",
    "f1": "F1",
    "chrf": "chrF",
    "score": "probability",
    "question": "question",
    "true": "true answers",
    "answer": "answer",
    "context": "context",
    "source": "source",
    "reference": "reference",
    "written": "written",
    "text": "text",
    "name": "name",
}


@dataclass(frozen=True)
class Failures:
    """What one model gets wrong."""

    model: str
    slug: str
    names: Sequence[Name] = ()
    matrix: Matrix | None = None
    top: Sequence[tuple[str, str, int, str]] = ()  # actual, predicted, rows, where the texts are
    unit: str = "rows"  # of the matrix
    confident: Sequence[Mistake] = ()
    mistakes: int = 0  # of all
    columns: Sequence[str] = ()  # of kinds without names: the worst rows as a table
    rows: Sequence[Sequence[str]] = ()
    ids: Sequence[str] = field(default=(), repr=False)  # of those rows

    @property
    def worst(self) -> list[Name]:
        """The names with the lowest F1 that have mistakes and test rows."""
        return [name for name in self.names if name.support and name.f1.defined and name.f1.value < 1]

    @property
    def many(self) -> bool:
        """Whether there are more names than a page shows outright."""
        return len(self.names) > confusions.MOST

    @property
    def shown(self) -> Sequence[Name]:
        """The names whose blocks are shown outright."""
        return self.names[:FIRST] if self.many else self.names

    @property
    def others(self) -> Sequence[Name]:
        """All other names."""
        return self.names[FIRST:] if self.many else ()

    @property
    def wanted(self) -> list[str]:
        """Ids of the rows that are shown, the most important ones first."""
        listed = [text.id for name in self.names for pair in name.pairs for text in pair.texts]
        return [*(one.id for one in self.confident), *self.ids, *listed]


def read(reports: Reports, kind: str, models: Sequence[str]) -> list[Failures]:
    """Return where each model fails."""
    errors, slugs = reports.table("errors.csv"), {model: f"m{place}" for place, model in enumerate(models)}
    if kind not in names.TABLES:
        return [_plain(errors, model, slug) for model, slug in slugs.items()]
    figures, confusion = reports.table(f"per_{names.TABLES[kind]}.csv"), reports.table("confusion.csv")
    return [_named(kind, errors, figures, confusion, model, slug) for model, slug in slugs.items()]


def _named(
    kind: str,
    errors: Sequence[Row],
    figures: Sequence[Row],
    confusion: Sequence[Row],
    model: str,
    slug: str,
) -> Failures:
    """Return where a model fails, by names; `slug` begins the ids of its parts of the page."""
    shown = "text" if errors and "text" in errors[0] else "name"
    own = mistakes.read(kind, errors, model, shown)
    named = names.read(kind, figures, model, own, slug)
    counts = confusions.counted(confusion, model)
    slugs = {
        (pair.actual or NO_ENTITY, pair.predicted or NO_ENTITY): pair.slug
        for name in named
        for pair in name.pairs
    }
    if not counts:  # several labels: a row has no one class that another is taken for
        counts.update(
            {(p.actual, p.predicted): p.count for n in named for p in n.pairs if p.actual and p.predicted}
        )
    order = sorted(named, key=lambda name: int(name.slug.rpartition("-")[2]))
    every = [name.name for name in order] + ([NO_ENTITY] if kind == "tokens" else [])
    matrix = confusions.matrix(every, counts, slugs) if confusion else None
    top = [(*pair, slugs.get(pair[:2], "")) for pair in confusions.top(counts)]
    unit = "words" if kind == "tokens" else "rows"
    return Failures(model, slug, named, matrix, top, unit, own[:CONFIDENT], len(own))


def _cell(column: str, value: str) -> str:
    return percent(number(value)) if column in SHARES and value else value


def _plain(errors: Sequence[Row], model: str, slug: str) -> Failures:
    own = [row for row in errors if row["model"] == model]
    if not own:
        return Failures(model, slug)
    columns = [column for column in own[0] if column != "model"]
    rows = [[_cell(column, row[column]) for column in columns] for row in own[:CONFIDENT]]
    shown = [PLAIN.get(column, column) for column in columns]
    ids = [row["id"] for row in own[:CONFIDENT]]
    return Failures(model, slug, columns=shown, rows=rows, mistakes=len(own), ids=ids)
