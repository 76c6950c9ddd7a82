"""How far a model's probabilities can be trusted: calibration, risk against coverage, thresholds.

Inputs: plots/calibration_*.csv, tables/risk_coverage.csv, coverage.csv and thresholds.csv -> charts, tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from baton.evaluate.report.html.csv_reading import Reports, Row, number, points
from baton.evaluate.report.html.line_charts import Scales, Series, draw
from baton.evaluate.report.html.svg import Chart
from baton.evaluate.report.wording import percent

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.5)
FEWEST = 10  # rows of a bin
LEAST = 0.05  # coverage in the chart: the risk of a handful of answers is chance
NAMED = 12  # names in the table of thresholds, those with the lowest precision on test

CLAIMS = {
    "classes": "rows",
    "labels": "predicted labels",
    "tokens": "predicted entities",
    "spans": "questions",
}


@dataclass(frozen=True)
class Risk:
    """The risk of one model at some coverages, in words."""

    model: str
    cells: Sequence[str]


@dataclass(frozen=True)
class Certainty:
    """The parts of the section; empty ones are left out of the page."""

    reliability: Sequence[Chart]
    counted: str  # what is answered: rows, labels, entities
    risk: Chart | None
    risks: Sequence[Risk]
    coverages: Sequence[str]
    thresholds: Sequence[dict[str, Any]]
    of_names: Sequence[tuple[str, Sequence[dict[str, Any]]]]  # model, its names


def read(reports: Reports, models: Sequence[str], kind: str, focus: Sequence[str]) -> Certainty:
    """Return what the tables say of all `models`, and of the names of those in `focus`."""
    rows, chosen = reports.table("risk_coverage.csv"), reports.table("thresholds.csv")
    named = [(model, of_names(chosen, model)) for model in focus]
    return Certainty(
        reliability(reports, models),
        CLAIMS.get(kind, "answers"),
        risk_chart(rows, models, kind),
        risk_table(rows, models),
        [percent(share, 0) for share in COVERAGES],
        thresholds(chosen, focus),
        [(model, own) for model, own in named if own],
    )


def reliability(reports: Reports, models: Sequence[str]) -> list[Chart]:
    """Return the charts of calibration, at the temperature and as trained; none without probabilities."""
    charts = []
    for name, title, when in (
        ("calibration", "Calibration at the temperature", "as served, at the temperature"),
        ("calibration_raw", "Calibration as trained", "before the temperature"),
    ):
        series = [
            Series(model, points(_filled(reports.plot(f"{name}_{model}.csv")), "confidence", "accuracy"))
            for model in models
        ]
        described = f"Accuracy of the test rows by the probability of the predicted class, {when}. "
        described += (
            f"A calibrated model lies on the diagonal. Bins of fewer than {FEWEST} rows are left out."
        )
        scales = Scales("probability of the predicted class", "accuracy", (0.0, 1.0), (0.0, 1.0))
        charts.append(draw(name.replace("_", "-"), title, described, series, scales, diagonal=True))
    return [chart for chart in charts if chart]


def _filled(rows: Sequence[Row]) -> list[Row]:
    """Return the bins with enough rows to say anything."""
    return [row for row in rows if int(row["rows"]) >= FEWEST]


def risk_chart(rows: Sequence[Row], models: Sequence[str], kind: str) -> Chart | None:
    """Return the share of wrong claims among the surest, by their share of all."""
    shown = [row for row in rows if number(row["coverage"]) >= LEAST]
    series = [
        Series(model, points([row for row in shown if row["model"] == model], "coverage", "risk"))
        for model in models
    ]
    counted = CLAIMS.get(kind, "answers")
    highest = max((point[1] for one in series for point in one.points), default=0.0)
    scales = Scales(
        f"share of {counted} answered", "wrong among them", (0.0, 1.0), (0.0, highest * 1.05 or 0.1)
    )
    title = "Coverage against risk"
    described = (
        f"The share of wrong answers if only the surest {counted} are answered, for each share of them."
    )
    return draw("risk", title, described, series, scales, marks=False)


def risk_table(rows: Sequence[Row], models: Sequence[str]) -> list[Risk]:
    """Return each model's risk at COVERAGES, or at the nearest coverage that is at least as large."""
    found = []
    for model in models:
        own = [row for row in rows if row["model"] == model]
        if own:
            at = (
                min(
                    (row for row in own if number(row["coverage"]) >= wanted - 1e-9),
                    key=lambda row: number(row["coverage"]),
                    default=own[-1],
                )
                for wanted in COVERAGES
            )
            found.append(Risk(model, [_risk(row) for row in at]))
    return found


def _risk(row: Row) -> str:
    low, high = (100 * number(row[f"risk_{end}"]) for end in ("low", "high"))
    return f"{percent(number(row['risk']))} ({low:.1f} to {high:.1f})"


def thresholds(rows: Sequence[Row], models: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of the table of thresholds for all claims."""
    return [_threshold(row) for row in rows if not row["name"] and row["model"] in models]


def of_names(rows: Sequence[Row], model: str) -> list[dict[str, Any]]:
    """Return those of the names whose precision on test is lowest."""
    own = [row for row in rows if row["name"] and row["model"] == model]
    own.sort(key=lambda row: (number(row["precision"]) if row["precision"] else 2.0, row["name"]))
    return [_threshold(row) for row in own[:NAMED]]


def _threshold(row: Row) -> dict[str, Any]:
    held = row["precision"]
    reached = "no threshold reaches it on validation"
    shown = "no answer on test is that sure"
    if held:
        low, high = (100 * number(row[f"precision_{end}"]) for end in ("low", "high"))
        shown = f"{percent(number(held))} ({low:.1f} to {high:.1f})"
    return {
        "model": row["model"],
        "name": row["name"],
        "wanted": f"{100 * number(row['wanted']):g}%",
        "threshold": f"{number(row['threshold']):.3f}" if row["threshold"] else "–",
        "kept": percent(number(row["kept"])) if row["kept"] else "–",
        "precision": shown if row["threshold"] else reached,
        "missed": bool(held) and number(row["precision_high"]) < number(row["wanted"]),
    }
