"""What evaluation does where targets are answers to questions; see `task_reports.TaskReports`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton import params
from baton.contracts.questions import Questions
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Spans
from baton.evaluate import calibration, multiple_comparisons, span_outputs, span_significance
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.report import span_tables
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import Words
from baton.evaluate.report_defaults import ReportDefaults
from baton.evaluate.selective import Claims
from baton.evaluate.span_baselines import SpanBaselines
from baton.evaluate.span_outputs import SpanOutputs
from baton.evaluate.span_significance import SpanBootstrap
from baton.tasks import span_answers
from baton.tasks.span_figures import SpanFigures


@dataclass(frozen=True)
class SpanReports(ReportDefaults):
    """F1 and exact match as SQuAD defines them; bootstrap and approximate randomisation over questions."""

    spec: Spans

    over_seeds: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    tracked: ClassVar[tuple[str, ...]] = (
        "f1",
        "exact_match",
        "answered",
        "has_answer_f1",
        "has_answer_exact",
        "no_answer_exact",
        "calibration_error",
        "temperature",
        "threshold",
    )
    words: ClassVar[Words] = Words(
        counted="outputs",
        tested="a randomisation test",
        bounded="the bootstrap's",
        remark=span_tables.REMARK,
    )
    p: ClassVar[str] = "f1_p"
    counting: ClassVar[str] = "exact_match"

    @property
    def figures(self) -> SpanFigures:
        """The figures of validation, and the answers."""
        return SpanFigures(self.spec)

    @property
    def baselines(self) -> SpanBaselines:
        """Always the same answer, and a sliding window."""
        return SpanBaselines(self.spec)

    def outputs(self, logits: Ragged, fitted: Mapping[str, Any]) -> SpanOutputs:
        """Return the logits, and the fitted values."""
        return SpanOutputs(self.spec, logits, **fitted)

    def served(self, answers: pd.DataFrame) -> SpanOutputs:
        """Return the answers of a served model."""
        return SpanOutputs(self.spec, answered=span_answers.of_frame(answers))

    def fitted(self, targets: Questions, outputs: SpanOutputs) -> dict[str, Any]:
        """Return the temperature and the threshold of no answer, see `SpanFigures.fitted`."""
        assert outputs.logits is not None, "baselines have logits"
        return self.figures.fitted(outputs.logits, targets)

    def parts(self, targets: Questions, outputs: SpanOutputs) -> NDArray[np.float64]:
        """Return F1 of each question."""
        found: NDArray[np.float64] = _statistics(targets, outputs)[:, span_outputs.F1]
        return found

    def overall(self, targets: Questions, outputs: SpanOutputs) -> float:
        """Return F1."""
        return float(self.parts(targets, outputs).mean())

    def of_rows(
        self, targets: Questions, outputs: SpanOutputs, rows: NDArray[np.bool_], confidence: float
    ) -> tuple[float, float, float]:
        """Return F1 on `rows`, see `span_outputs.mean`."""
        return span_outputs.mean(self.parts(targets[rows], outputs[rows]), confidence)

    def claims(self, targets: Questions, outputs: SpanOutputs) -> Claims:
        """Return what is answered, a span or none, with its probability; right is an exact match."""
        answers = outputs.answers(targets)
        right = span_outputs.statistics(targets, answers)[:, span_outputs.EXACT] > 0
        return Claims(answers.sure, np.asarray(right))

    def in_words(self, paired: Mapping[str, Any], first: str, second: str) -> str:
        """Return how many questions only one of two models answers exactly, and p of equal F1."""
        only_first, only_second = paired["discordant"]
        text = f"only {first} answers {only_first} questions exactly, only {second} {only_second}"
        return f"{text}, randomisation test of F1 p = {paired[self.p]:.2g}"

    def of_seed(self, logits: Ragged, targets: Questions, fitted: Mapping[str, Any]) -> dict[str, float]:
        """Return the figures of `span_outputs`."""
        sums = _statistics(targets, self.outputs(logits, fitted)).sum(axis=0)
        return {name: float(value) for name, value in span_outputs.figures(sums).items()}

    def bootstrap(
        self,
        targets: Questions,
        outputs: Mapping[str, SpanOutputs],
        bins: int,  # noqa: ARG002
        settings: params.Bootstrap,
    ) -> SpanBootstrap:
        """Resample the statistics of `span_outputs`."""
        return SpanBootstrap(targets, {name: own.answers(targets) for name, own in outputs.items()}, settings)

    def of_model(self, boot: SpanBootstrap, name: str) -> dict[str, Any]:
        """Return the figures of `span_outputs` with their intervals."""
        return boot.figures(name)

    def calibrations(
        self, test: Rows, outputs: Mapping[str, SpanOutputs], settings: params.Evaluate
    ) -> dict[str, dict[str, Any]]:
        """Return model -> what was fitted, and the calibration error of answers."""
        confidence, result = settings.bootstrap.confidence, dict[str, dict[str, Any]]()
        for name, one in outputs.items():
            error, ends = self.calibration(test.targets, one, settings.calibration_bins, confidence)
            result[name] = {
                "temperature": one.temperature,
                **({} if one.threshold is None else {"threshold": one.threshold}),
                "calibration_error": error,
                "calibration_error_interval": ends,
            }
        return result

    def calibration(
        self, targets: Questions, outputs: SpanOutputs, bins: int, confidence: float
    ) -> tuple[float, list[float]]:
        """Return the calibration error of the probability of what is answered, which is right if exact."""
        answers = outputs.answers(targets)
        hits = span_outputs.statistics(targets, answers)[:, span_outputs.EXACT] > 0
        return calibration.of_confidence(answers.sure, hits, bins, confidence)

    def paired(self, boot: SpanBootstrap, first: str, second: str) -> dict[str, Any]:
        """Compare two models alone, see `span_significance.paired`."""
        return span_significance.paired(boot, first, second)

    def compared(self, boot: SpanBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
        """Compare models jointly, see `span_significance.compared`."""
        return span_significance.compared(boot, pairs)

    def retention(
        self,
        boot: SpanBootstrap,
        splits: Mapping[str, Rows],  # noqa: ARG002
        result: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the student's figures over the teacher's."""
        known = [figure for figure in span_significance.KEPT if figure in boot.points["teacher"]]
        return boot.ratios("student", "teacher", known)

    def agree(self, result: dict[str, Any], best: str | None, confidence: float) -> None:  # noqa: ARG002
        """Extend the kept F1's interval to 1 if the page's test does not tell the two apart."""
        multiple_comparisons.agree(result, "f1", confidence)

    def tables(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return strata.csv, coverage.csv, examples.csv and errors.csv."""
        return span_tables.tables(evaluation)

    def draw(self, folder: Path, evaluation: Evaluation) -> None:
        """Draw F1 by the length of the answer, and by the share of questions answered."""
        from baton.evaluate.report import span_plots  # matplotlib, which the gate does not need

        span_plots.draw(folder, evaluation)

    def summary(self, models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
        """Return columns and cells of the terminal's table."""
        return span_tables.summary(models)


def _statistics(targets: Questions, outputs: SpanOutputs) -> NDArray[np.float64]:
    return span_outputs.statistics(targets, outputs.answers(targets))
