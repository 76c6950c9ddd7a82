"""The parts of the HTML report, each made from the tables when the template asks for it.

Input: `Reports`, the folders of tables -> what report.html.j2 shows.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from baton.evaluate import knowledge, novel, other_tasks, results, single_inputs, task_reports
from baton.evaluate.evaluation import TRANSFORMERS
from baton.evaluate.report import differences, terminal
from baton.evaluate.report.html import (
    certainty,
    curves,
    failures,
    findings,
    forest,
    groups,
    pictures,
    seeds_table,
    spoken_words,
    svg,
    verdict,
)
from baton.evaluate.report.html.csv_reading import Reports
from baton.evaluate.report.html.known import Known, Point
from baton.tasks import figure_scale


class Parts:
    """The parts of one report."""

    def __init__(self, reports: Reports) -> None:
        """Read what the parts share."""
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
    def known(self) -> Known:
        """What the verdict is about."""
        return Known(self.metrics, self.timings, self.main, self.differences)

    @property
    def headline(self) -> str:
        """Which model to use."""
        return verdict.headline(self.known)

    @property
    def points(self) -> list[Point]:
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
        told += [novel.said(own["episodes"]) if "episodes" in own else ""]
        return [one for one in (*told, *other_tasks.said(own.get("tasks", {}))) if one]

    @cached_property
    def failures(self) -> list[failures.Failures]:
        """Where the recommended model and the student fail."""
        chosen = self.metrics["recommended"]["model"]
        focus = [name for name in dict.fromkeys((chosen, "student")) if name in self.drawn]
        return failures.read(self.reports, self.kind, focus)

    @cached_property
    def spoken(self) -> dict[str, spoken_words.SpokenWords]:
        """Model -> which words spoke for its answers."""
        level = self.test["confidence"]
        return {one.model: spoken_words.read(self.reports, one.model, level) for one in self.failures}

    def gallery(self, model: str) -> str:
        """Return the drawing of a model's mistakes with their attributions, if there is one."""
        return pictures.gallery(self.reports.folder / "figures", model)

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
