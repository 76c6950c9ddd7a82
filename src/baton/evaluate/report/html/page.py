"""Write reports/report.html from the tables of the report.

Inputs: reports/ (metrics.json, timings.json, tables, plots), the reports of data/clean and data/arrays, what
is known of the run -> one file without scripts of others, styles of others or any other request.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from baton import storage
from baton.evaluate import knowledge, other_tasks, results, single_inputs, task_reports
from baton.evaluate.evaluation import TRANSFORMERS
from baton.evaluate.report import terminal
from baton.evaluate.report.html import (
    certainty,
    curves,
    differences,
    failures,
    findings,
    forest,
    groups,
    pictures,
    seeds_table,
    svg,
    verdict,
)
from baton.evaluate.report.html.about import About
from baton.evaluate.report.html.csv_reading import Reports
from baton.evaluate.report.wording import percent
from baton.tasks import figure_scale

TEMPLATES = Path(__file__).parent / "templates"
NAME = "report.html"


def write(reports: Reports, about: About) -> Path:
    """Write the report next to its tables; return its path."""
    path = reports.folder / NAME
    with storage.atomic_file(path) as temporary:
        temporary.write_text(render(reports, about), encoding="utf-8")
    return path


def render(reports: Reports, about: About) -> str:
    """Return the page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "plain": plain, "capital": _capital}
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8").strip() for name in ("report.css", "report.js")
    )
    page = _Page(reports)
    return environment.get_template("report.html.j2").render(
        page=page,
        about=about,
        style=Markup(style),  # noqa: S704  our own files
        script=Markup(script),  # noqa: S704
        policy=_policy(style, script),
        kind=svg.kind,
        pictures=pictures.read(reports.clean, page.wanted),
    )


def _capital(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def plain(text: str) -> Markup:
    """Return a sentence for the terminal as HTML: escaped, with its bold words and without its colours."""
    escaped = str(Markup.escape(text))
    for style in ("bold green", "bold red", "bold"):
        escaped = escaped.replace(f"[{style}]", "<strong>")
    return Markup(escaped.replace("[/]", "</strong>"))  # noqa: S704  escaped above


def _policy(style: str, script: str) -> str:
    """Return a policy under which the page loads nothing and runs nothing but its own script."""
    own = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script))
    hashed = dict(zip(("style-src", "script-src"), own, strict=True))
    parts = ["default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    return "; ".join(parts + [f"{name} 'sha256-{digest}'" for name, digest in hashed.items()])


class _Page:
    """The parts of the page, each made from the tables when the template asks for it."""

    def __init__(self, reports: Reports) -> None:
        self.reports = reports
        self.metrics = reports.json(reports.folder / "metrics.json")
        self.timings = reports.json(reports.folder / "timings.json") or {"models": {}}
        self.test: Mapping[str, Any] = self.metrics["test"]
        self.task = task_reports.of(results.task_of(self.test))
        self.kind = self.task.spec.kind
        self.word = self.task.spec.word
        self.main = figure_scale.of(self.task.figures)
        self.figure = differences.figure_name(self.main.name)

    @cached_property
    def models(self) -> list[str]:
        """All models: transformers, then baselines."""
        return [*(name for name in TRANSFORMERS if name in self.metrics), *self.test["baselines"]]

    @cached_property
    def drawn(self) -> list[str]:
        """The transformers and the strongest baseline."""
        best = self.test["strongest_baseline"]
        return [name for name in self.models if name in TRANSFORMERS or name == best]

    @cached_property
    def known(self) -> verdict.Known:
        """What the verdict is about."""
        return verdict.Known(self.metrics, self.timings, self.main, self.differences)

    @property
    def headline(self) -> str:
        """Which model to use."""
        return verdict.headline(self.known)

    @property
    def points(self) -> list[verdict.Point]:
        """The verdict."""
        return verdict.points(self.known)

    @cached_property
    def differences(self) -> list[differences.Difference]:
        """All comparisons of two models."""
        return differences.read(self.metrics, self.main, self.task.p)

    @property
    def forest(self) -> list[svg.Chart]:
        """The charts of differences."""
        return forest.charts(self.differences)

    @property
    def comparisons_note(self) -> str:
        """How the comparisons were made."""
        return terminal.tests_said(self.task, self.metrics, self.test)

    @property
    def table(self) -> tuple[list[str], list[tuple[str, list[str]]]]:
        """Columns, and model -> cells, of the main table."""
        columns, cells = self.task.summary({name: self.metrics[name] for name in self.models})
        speeds = self.timings["models"]
        rows = [
            (name, [*own, *terminal.costs(self.metrics[name], speeds.get(name, {}))])
            for name, own in cells.items()
        ]
        return [*columns, *terminal.COSTS], rows

    @property
    def beyond(self) -> tuple[str, list[str], list[list[str]]] | None:
        """A second table of the models, if the kind of task has one."""
        return self.task.beyond_summary({name: self.metrics[name] for name in self.models}, self.test)

    @property
    def over_seeds(self) -> seeds_table.SeedsTable:
        """The figures of several trainings."""
        return seeds_table.read(self.metrics["seeds"], self.main, self.test["confidence"])

    @property
    def remarks(self) -> list[str]:
        """What else was measured, in sentences for the terminal."""
        own = self.metrics
        told = [knowledge.said(own["knowledge"], self.main) if "knowledge" in own else ""]
        told += [terminal.robustness_said(own["robustness"]) if "robustness" in own else ""]
        told += [single_inputs.said(self.task, own["single_inputs"]) if "single_inputs" in own else ""]
        return [one for one in (*told, *other_tasks.said(own.get("tasks", {}))) if one]

    @cached_property
    def failures(self) -> list[failures.Failures]:
        """Where the recommended model and the student fail."""
        chosen = self.metrics["recommended"]["model"]
        focus = [name for name in dict.fromkeys((chosen, "student")) if name in self.drawn]
        return [failures.read(self.reports, self.kind, name, f"m{place}") for place, name in enumerate(focus)]

    @property
    def wanted(self) -> list[str]:
        """Ids of the rows that are shown."""
        return [id_ for one in self.failures for id_ in one.wanted]

    @property
    def groups(self) -> list[groups.Group]:
        """The main figure by groups of rows."""
        overall = {name: self.metrics[name][self.main.name] for name in self.drawn}
        return groups.read(self.reports, self.drawn, self.main, overall)

    @cached_property
    def certainty(self) -> certainty.Certainty:
        """Calibration, risks and thresholds."""
        return certainty.read(self.reports, self.drawn, self.kind, [one.model for one in self.failures])

    @property
    def scatter(self) -> list[svg.Chart]:
        """Charts of predicted and actual numbers."""
        return curves.predicted(self.reports, self.drawn) if self.kind == "numbers" else []

    @property
    def learning(self) -> list[svg.Chart]:
        """Charts of training."""
        return curves.learning(self.reports, TRANSFORMERS, self.main)

    @property
    def findings(self) -> findings.Findings:
        """What was found in the data."""
        clean, arrays = self.reports.clean / "report.json", self.reports.arrays / "report.json"
        return findings.read(self.reports.json(clean), self.reports.json(arrays))
