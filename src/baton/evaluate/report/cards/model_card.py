"""The model card: what a model is, what it may be used for, its figures, and how it was made.

Inputs: the parts of the report and the facts -> the context of templates/model_card.md.j2.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from baton.evaluate.report.cards import limits, metadata
from baton.evaluate.report.cards.facts import Facts
from baton.evaluate.report.cards.markdown import Markdown, code, table
from baton.evaluate.report.differences import figure_name, scale_of
from baton.evaluate.report.html import names
from baton.evaluate.report.html.parts import Parts
from baton.evaluate.report.wording import p_value, percent

MOST = 20  # names in a table; of more, the worst and the best half as many
CALIBRATION = (
    "temperature",
    "calibration_error",
    "calibration_error_scaled",
    "coverage_wanted",
    "coverage",
    "interval_width",
)
# Params that say how a model was trained; the rest are technical.
LEFT_OUT = ("log_every", "keep")
SECTIONS = {"teacher": ("finetune",), "student": ("distill", "finetune")}


def context(parts: Parts, facts: Facts, model: str) -> dict[str, Any]:
    """Return what the template shows."""
    own = parts.metrics[model]
    return {
        "model": model,
        "description": facts.project.description,
        "task": parts.kind,
        "word": parts.word,
        "names": facts.names,
        "reads": facts.reads,
        "parameters": own.get("parameters"),
        "bytes": own.get("bytes"),
        "base": metadata.base_of(facts, model),
        "data": metadata.name_of(facts.source),
        "licence": facts.source.get("licence"),
        "other_sources": facts.other_sources,
        "limits": limits.sentences(parts, facts, model),
        "test": parts.test,
        "figures": _figures(parts, model),
        "models": _models(parts),
        "compared": limits.compared(parts, model),
        "differences": _differences(parts),
        "note": parts.comparisons_note,
        "seeds": _seeds(parts),
        "remarks": parts.remarks,
        "named": _named(parts, model),
        "named_file": f"tables/per_{names.TABLES[parts.kind]}.csv" if parts.kind in names.TABLES else "",
        "calibration": _calibration(parts),
        "rows": parts.findings.rows,
        "settings": _settings(facts, model),
        "digests": _digests(facts),
        "versions": facts.versions,
    }


def _interval(own: Mapping[str, Any], figure: str, parts: Parts) -> str:
    if f"{figure}_interval" not in own:
        return "–"
    scale = parts.main if figure == parts.main.name else scale_of(figure)
    low, high = (scale.number(end, 2) for end in own[f"{figure}_interval"])
    return f"{low} to {high}"


def _figures(parts: Parts, model: str) -> Markdown:
    """Return every figure of the model that has an interval, the main one first."""
    own, main = parts.metrics[model], parts.main
    wanted = dict.fromkeys((main.name, *parts.task.tracked))
    rows = []
    for figure in (name for name in wanted if f"{name}_interval" in own):
        scale = main if figure == main.name else scale_of(figure)
        told = figure_name(figure) + (" (at the temperature)" if figure.endswith("_scaled") else "")
        rows.append((told, scale.value(own[figure], 2), _interval(own, figure, parts)))
    return table(("figure", "test", f"{percent(parts.test['confidence'], 0)} interval"), rows)


def _models(parts: Parts) -> Markdown:
    """Return the main table of all models, without speeds, which differ from run to run."""
    columns, cells = parts.task.summary({name: parts.metrics[name] for name in parts.models})
    rows = [(name, *own, _millions(parts.metrics[name].get("parameters"))) for name, own in cells.items()]
    return table(("model", *columns, "parameters"), rows)


def _millions(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def _differences(parts: Parts) -> Markdown:
    rows = [
        (f"{one.first} − {one.second}", one.name, one.shown, "–" if one.p is None else p_value(one.p))
        for one in parts.differences
    ]
    return table(("models", "figure", "difference and interval", "p, adjusted"), rows)


def _seeds(parts: Parts) -> Markdown | None:
    found = parts.over_seeds
    columns = ("model", "figure", "mean", "interval over seeds", "each seed")
    return table(columns, found.rows) if found.several else None


def _named(parts: Parts, model: str) -> Markdown | None:
    """Return the figures of each class, label or type, or of each number."""
    if parts.kind == "numbers":
        return _per_number(parts, model)
    if parts.kind not in names.TABLES:
        return None
    column = names.TABLES[parts.kind]
    found = names.read(parts.kind, parts.reports.table(f"per_{column}.csv"), model, [], "n")
    shown = found if len(found) <= MOST else [*found[: MOST // 2], *found[-MOST // 2 :]]
    columns = (parts.word, "test rows", "precision", "recall", "F1", "F1, interval")
    return table(columns, (_named_row(one) for one in shown))


def _named_row(one: names.Name) -> tuple[str, ...]:
    shares = (
        percent(figure.value) if figure.defined else "–" for figure in (one.precision, one.recall, one.f1)
    )
    interval = f"{100 * one.f1.low:.1f} to {100 * one.f1.high:.1f}" if one.f1.defined else "–"
    return one.name, f"{one.support:,}", *shares, interval


def _per_number(parts: Parts, model: str) -> Markdown | None:
    rows = [row for row in parts.reports.table("per_number.csv") if row["model"] == model]
    if not rows:
        return None
    columns = [column for column in rows[0] if column != "model"]
    return table(columns, ([row[column] for column in columns] for row in rows))


def _calibration(parts: Parts) -> Markdown | None:
    keys = [
        key for key in CALIBRATION if any(_is_number(parts.metrics[name].get(key)) for name in parts.models)
    ]
    if not keys:
        return None
    columns = [key.replace("_scaled", " at the temperature").replace("_", " ") for key in keys]
    rows = ((name, *(_calibrated(parts.metrics[name], key) for key in keys)) for name in parts.models)
    return table(("model", *columns), rows)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int)


def _calibrated(own: Mapping[str, Any], key: str) -> str:
    if not _is_number(own.get(key)):
        return "–"
    shown = f"{own[key]:.3g}"
    if (interval := own.get(f"{key}_interval")) is not None:
        low, high = interval
        shown += f" ({low:.3f} to {high:.3f})"
    return shown


def _settings(facts: Facts, model: str) -> Markdown:
    """Return the params of the training that made the model."""
    rows = [
        (f"{section}.{key}", json.dumps(value, ensure_ascii=False))
        for section in SECTIONS[model]
        for key, value in facts.project.settings.get(section, {}).items()
        if key not in LEFT_OUT
    ]
    return table(("setting", "value"), rows, numbers=False)


def _digests(facts: Facts) -> Markdown:
    """Return the digests by which a card and what it describes find each other."""
    found: Iterable[tuple[str, str]] = (
        *((f"models/{name}", digest) for name, digest in facts.digests.items()),
        *((("data/clean/test.parquet", facts.test_digest),) if facts.test_digest else ()),
        ("params finetune, distill and evaluate", facts.settings_digest),
    )
    return table(("what", "sha256"), ((name, code(digest)) for name, digest in found), numbers=False)
