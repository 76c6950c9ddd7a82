"""Learning curves, and numbers predicted against actual ones.

Inputs: plots/training_*.csv, validation_*.csv, main_*.csv and predicted_*.csv -> charts.
"""

from collections.abc import Sequence

from baton.evaluate.report.html import svg
from baton.evaluate.report.html.csv_reading import Reports, points
from baton.evaluate.report.html.line_charts import Scales, Series, draw
from baton.evaluate.report.wording import spelled
from baton.tasks.figure_scale import Scale

POINTS = 150  # of a model in a chart


def learning(reports: Reports, models: Sequence[str], main: Scale) -> list[svg.Chart]:
    """Return the charts of training loss, validation loss and the main figure on validation."""
    shown = svg.percent if main.share else svg.number
    charts = []
    for name, file, column, label, formatter in (
        ("training", "training", "loss", "training loss", svg.number),
        ("val-loss", "validation", "val_loss", "validation loss", svg.number),
        ("val-main", "main", "value", f"validation {spelled(main.name)}", shown),
    ):
        series = [
            Series(
                model,
                _thinned(points(reports.plot(f"{file}_{model}.csv"), "epoch", column)),
            )
            for model in models
        ]
        scales = Scales("epoch", label, x_shown=svg.number, y_shown=formatter)
        described = f"{label.capitalize()} by epoch of training, of the seed that is used."
        marks = name != "training"
        charts.append(draw(name, label.capitalize(), described, series, scales, marks=marks))
    return [chart for chart in charts if chart]


def predicted(reports: Reports, models: Sequence[str]) -> list[svg.Chart]:
    """Return a chart for each number of the task: predicted against actual values."""
    rows = {model: reports.plot(f"predicted_{model}.csv") for model in models}
    names = dict.fromkeys(row["number"] for own in rows.values() for row in own if "number" in row)
    charts = []
    for place, name in enumerate(names):
        series = [
            Series(
                model,
                _thinned(points([row for row in own if row["number"] == name], "actual", "predicted")),
            )
            for model, own in rows.items()
        ]
        values = [value for one in series for point in one.points for value in point]
        ends = (min(values), max(values)) if values and min(values) < max(values) else (0.0, 1.0)
        scales = Scales(f"actual {name}", f"predicted {name}", ends, ends, svg.number, svg.number)
        described = "Predicted against actual numbers of test rows; on the diagonal they are equal."
        title = f"Predicted and actual {name}"
        charts.append(
            draw(f"predicted-{place}", title, described, series, scales, lines=False, diagonal=True)
        )
    return [chart for chart in charts if chart]


def _thinned(every: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most POINTS points, spread evenly."""
    step = -(-len(every) // POINTS) or 1
    return list(every[::step])
