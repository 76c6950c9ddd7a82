"""What evaluation does where targets are texts; see `task_reports.TaskReports`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton import params
from baton.contracts import task_spec
from baton.evaluate import multiple_comparisons, sequence_outputs, sequence_significance
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.report import sequence_tables
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import Words
from baton.evaluate.report_defaults import ReportDefaults
from baton.evaluate.sequence_baselines import SequenceBaselines
from baton.evaluate.sequence_outputs import SequenceOutputs
from baton.evaluate.sequence_significance import SequenceBootstrap
from baton.tasks import text_scores
from baton.tasks.sequence_figures import SequenceFigures

References = NDArray[Any]  # (n,) of strings


@dataclass(frozen=True)
class SequenceReports(ReportDefaults):
    """chrF, BLEU and exact match; paired bootstrap, and approximate randomisation of chrF."""

    spec: task_spec.Sequence

    over_seeds: ClassVar[tuple[str, ...]] = ("chrf", "bleu", "exact_match")
    tracked: ClassVar[tuple[str, ...]] = ("chrf", "bleu", "exact_match")
    words: ClassVar[Words] = Words(
        counted="outputs",
        tested="a randomisation test",
        bounded="the bootstrap's",
        remark=sequence_tables.REMARK,
    )
    p: ClassVar[str] = "chrf_p"
    counting: ClassVar[str] = "exact_match"

    @property
    def figures(self) -> SequenceFigures:
        """The figures of validation, and the answers."""
        return SequenceFigures(self.spec)

    @property
    def baselines(self) -> SequenceBaselines:
        """Copies of the source, and the nearest train source's target."""
        return SequenceBaselines()

    def outputs(self, logits: Any, fitted: Mapping[str, Any]) -> SequenceOutputs:  # noqa: ARG002
        """Return the texts."""
        return SequenceOutputs(tuple(logits.values))

    def served(self, answers: pd.DataFrame) -> SequenceOutputs:
        """Return the texts that a served model answered."""
        return SequenceOutputs(tuple(self.figures.said(answers)))

    def fitted(self, targets: References, outputs: SequenceOutputs) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing: a text has no probability to calibrate."""
        return {}

    def parts(self, targets: References, outputs: SequenceOutputs) -> NDArray[np.float64]:
        """Return `text_scores.statistics`."""
        return outputs.statistics(targets.tolist())

    def score(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `sequence_outputs.pseudo_values` of chrF."""
        return sequence_outputs.pseudo_values(parts)

    def overall(self, targets: References, outputs: SequenceOutputs) -> float:
        """Return chrF."""
        return float(text_scores.chrf(self.parts(targets, outputs).sum(axis=0)))

    def of_rows(
        self, targets: References, outputs: SequenceOutputs, rows: NDArray[np.bool_], confidence: float
    ) -> tuple[float, float, float]:
        """Return chrF on `rows`, see `sequence_outputs.of_rows`."""
        return sequence_outputs.of_rows(self.parts(targets, outputs)[rows], confidence)

    def in_words(self, paired: Mapping[str, Any], first: str, second: str) -> str:
        """Return how many rows only one of two models has exactly right, and p of equal chrF."""
        only_first, only_second = paired["discordant"]
        text = f"only {first} has exactly the reference of {only_first} rows, only {second} of {only_second}"
        return f"{text}, randomisation test of chrF p = {paired[self.p]:.2g}"

    def of_seed(
        self,
        logits: Any,
        targets: References,
        fitted: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, float]:
        """Return the figures of `text_scores`."""
        sums = self.parts(targets, self.outputs(logits, {})).sum(axis=0)
        return {name: float(value) for name, value in text_scores.figures(sums).items()}

    def bootstrap(
        self,
        targets: References,
        outputs: Mapping[str, SequenceOutputs],
        bins: int,  # noqa: ARG002
        settings: params.Bootstrap,
    ) -> SequenceBootstrap:
        """Resample the statistics of `text_scores`."""
        rows = {name: self.parts(targets, one) for name, one in outputs.items()}
        return SequenceBootstrap(rows, settings)

    def of_model(self, boot: SequenceBootstrap, name: str) -> dict[str, Any]:
        """Return chrF, BLEU and exact match with their intervals."""
        return boot.figures(name)

    def calibrations(
        self,
        test: Rows,
        outputs: Mapping[str, SequenceOutputs],
        settings: params.Evaluate,  # noqa: ARG002
    ) -> dict[str, dict[str, Any]]:
        """Return the length of each model's texts over that of the references; nothing is calibrated."""
        wanted = max(sum(map(len, test.targets)), 1)
        return {name: {"length_ratio": sum(map(len, one.texts)) / wanted} for name, one in outputs.items()}

    def calibration(
        self,
        targets: References,  # noqa: ARG002
        outputs: SequenceOutputs,  # noqa: ARG002
        bins: int,  # noqa: ARG002
        confidence: float,  # noqa: ARG002
    ) -> tuple[float, list[float]] | None:
        """Return None: a text has no probability."""
        return None

    def paired(self, boot: SequenceBootstrap, first: str, second: str) -> dict[str, Any]:
        """Compare two models alone, see `sequence_significance.paired`."""
        return sequence_significance.paired(boot, first, second)

    def compared(
        self, boot: SequenceBootstrap, pairs: Sequence[tuple[str, str]]
    ) -> dict[str, dict[str, Any]]:
        """Compare models jointly, see `sequence_significance.compared`."""
        return sequence_significance.compared(boot, pairs)

    def retention(
        self,
        boot: SequenceBootstrap,
        splits: Mapping[str, Rows],  # noqa: ARG002
        result: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the student's figures over the teacher's."""
        return boot.ratios("student", "teacher", sequence_significance.FIGURES)

    def agree(self, result: dict[str, Any], best: str | None, confidence: float) -> None:  # noqa: ARG002
        """Extend the kept chrF's interval to 1 if the test does not tell the two apart; add signatures."""
        multiple_comparisons.agree(result, "chrf", confidence)
        result["signatures"] = text_scores.signatures()

    def tables(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return examples.csv and errors.csv."""
        return sequence_tables.tables(evaluation)

    def draw(self, folder: Path, evaluation: Evaluation) -> None:
        """Draw chrF by the length of the reference."""
        from baton.evaluate.report.sequence_plots import by_length  # matplotlib, which the gate does not need

        by_length(folder / "chrf_by_length.png", evaluation)

    def summary(self, models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
        """Return columns and cells of the terminal's table."""
        return sequence_tables.summary(models)
