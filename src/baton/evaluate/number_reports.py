"""What evaluation does where rows have numbers; see `task_reports.TaskReports`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Numbers
from baton.evaluate import multiple_comparisons, number_outputs, number_significance, proportions
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.number_baselines import NumberBaselines
from baton.evaluate.number_outputs import NumberOutputs
from baton.evaluate.number_significance import NumberBootstrap
from baton.evaluate.report import number_tables
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import Words
from baton.evaluate.report_defaults import ReportDefaults
from baton.tasks.number_figures import HIGH, LOW, NumberFigures

Targets = NDArray[np.float64]  # (n, numbers), in their units


@dataclass(frozen=True)
class NumberReports(ReportDefaults):
    """Errors, correlations and coverage; bootstrap intervals, and a test by exchanging errors."""

    spec: Numbers

    over_seeds: ClassVar[tuple[str, ...]] = ("mae", "rmse", "r2", "spearman")
    tracked: ClassVar[tuple[str, ...]] = (
        "mae",
        "rmse",
        "r2",
        "spearman",
        "pearson",
        "coverage",
        "interval_width",
    )
    words: ClassVar[Words] = Words(
        counted="numbers",
        tested="a test of equal mean absolute errors by exchanging signs",
        bounded="the bootstrap's",
        remark=number_tables.REMARK,
        loss="loss of standardised numbers",
    )
    p: ClassVar[str] = "mae_p"
    counting: ClassVar[str] = ""
    fewest: ClassVar[int] = number_significance.FEWEST

    @property
    def figures(self) -> NumberFigures:
        """The figures of validation, and the answers."""
        return NumberFigures(self.spec)

    @property
    def baselines(self) -> NumberBaselines:
        """The mean, and ridge regressions."""
        return NumberBaselines(self.spec)

    def outputs(self, logits: NDArray[np.float32], fitted: Mapping[str, Any]) -> NumberOutputs:
        """Return the numbers that logits stand for."""
        return NumberOutputs(self.figures.values(logits), **fitted)

    def served(self, answers: pd.DataFrame) -> NumberOutputs:
        """Return the numbers and intervals that a served model answered."""
        values, low, high = (
            answers[[f"{name}{end}" for name in self.spec.names]].to_numpy(dtype=np.float64)
            for end in ("", LOW, HIGH)
        )
        return NumberOutputs(values, ends=(low, high))

    def fitted(self, targets: Targets, outputs: NumberOutputs) -> dict[str, Any]:
        """Return half the width of intervals, see `NumberFigures.half_widths`."""
        return {"quantiles": self.figures.half_widths(outputs.values, targets)}

    def parts(self, targets: Targets, outputs: NumberOutputs) -> NDArray[np.float64]:
        """Return minus each row's absolute error."""
        return -number_outputs.errors(targets, outputs, self.spec)

    def overall(self, targets: Targets, outputs: NumberOutputs) -> float:
        """Return the mean absolute error."""
        return float(number_outputs.errors(targets, outputs, self.spec).mean())

    def of_rows(
        self, targets: Targets, outputs: NumberOutputs, rows: NDArray[np.bool_], confidence: float
    ) -> tuple[float, float, float]:
        """Return the mean absolute error on `rows`, with Student's interval."""
        own = number_outputs.errors(targets, outputs, self.spec)[rows]
        return float(own.mean()), *number_significance.mean_interval(own, confidence)

    def in_words(self, paired: Mapping[str, Any], first: str, second: str) -> str:
        """Return on how many rows each of two models is closer, and p of equal errors."""
        closer, farther = paired["discordant"]
        text = f"{first} is closer on {closer} rows, {second} on {farther}"
        return f"{text}, test of equal errors p = {paired[self.p]:.2g}"

    def of_seed(
        self,
        logits: NDArray[np.float32],
        targets: Targets,
        fitted: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, float]:
        """Return the figures of validation, on test."""
        return self.figures.scores(logits, targets)

    def bootstrap(
        self,
        targets: Targets,
        outputs: Mapping[str, NumberOutputs],
        bins: int,  # noqa: ARG002
        settings: params.Bootstrap,
    ) -> NumberBootstrap:
        """Resample the test rows, see `NumberBootstrap`."""
        return NumberBootstrap(targets, outputs, self.spec, settings)

    def of_model(self, boot: NumberBootstrap, name: str) -> dict[str, Any]:
        """Return the figures; of several numbers, `numbers` has those of each."""
        found = boot.figures(name)
        result: dict[str, Any] = {key: value for key, value in found.items() if "/" not in key}
        if self.spec.width > 1:
            result["numbers"] = {
                own: {key.replace(f"/{own}", ""): found[key] for key in found if _is_of(key, own)}
                for own in self.spec.names
            }
        return result

    def calibrations(
        self, test: Rows, outputs: Mapping[str, NumberOutputs], settings: params.Evaluate
    ) -> dict[str, dict[str, Any]]:
        """Return model -> coverage and mean width of its prediction intervals, and what they should cover.

        `interval_width` is absent if an interval is infinite.
        """
        result: dict[str, dict[str, Any]] = {}
        for name, one in outputs.items():
            inside = number_outputs.covered(test.targets, one).mean(axis=1)  # (n,)
            result[name] = {
                "coverage": float(inside.mean()),
                "coverage_interval": proportions.mean_share(inside, settings.bootstrap.confidence),
                "coverage_wanted": self.spec.coverage,
            }
            low, high = one.bounds
            if np.isfinite(high - low).all():
                result[name]["interval_width"] = float(((high - low) / np.array(self.spec.units)).mean())
        return result

    def calibration(
        self,
        targets: Targets,
        outputs: NumberOutputs,
        bins: int,  # noqa: ARG002
        confidence: float,
    ) -> tuple[float, list[float]]:
        """Return how far the coverage of the intervals is from the one wanted, and the ends of its interval.

        Of several numbers it is that of the farthest one, with an interval that holds for all (Bonferroni).
        """
        inside, wanted = number_outputs.covered(targets, outputs), self.spec.coverage
        level = 1 - (1 - confidence) / self.spec.width
        found = []
        for own in inside.T:
            low, high = (float(end) for end in proportions.wilson(float(own.sum()), len(own), level))
            ends = sorted((abs(low - wanted), abs(high - wanted)))
            found.append(
                (abs(float(own.mean()) - wanted), [0.0 if low <= wanted <= high else ends[0], ends[1]])
            )
        return max(found, key=lambda one: (one[1][0], one[0]))  # the number that is surest to be wrong

    def paired(self, boot: NumberBootstrap, first: str, second: str) -> dict[str, Any]:
        """Compare two models alone, see `number_significance.with_tests`."""
        return number_significance.with_tests(boot, first, second)

    def compared(self, boot: NumberBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
        """Compare models jointly, see `number_significance.compared`."""
        return number_significance.compared(boot, pairs)

    def retention(
        self,
        boot: NumberBootstrap,
        splits: Mapping[str, Rows],  # noqa: ARG002
        result: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the student's errors, R2 and Spearman's correlation over the teacher's.

        R2 and Spearman's correlation are left out if the teacher's is not above 0.
        """
        teacher = boot.points["teacher"]
        positive = [figure for figure in number_significance.COMPARED if float(teacher[figure]) > 0]
        return boot.ratios("student", "teacher", positive)

    def agree(self, result: dict[str, Any], best: str | None, confidence: float) -> None:  # noqa: ARG002
        """Extend the interval of the ratio of errors to 1 if the page's test does not tell the two apart."""
        multiple_comparisons.agree(result, "mae", confidence)

    def tables(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return per_number.csv and errors.csv."""
        return number_tables.tables(evaluation)

    def plots(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return actual and predicted numbers of each transformer."""
        return number_tables.plots(evaluation)

    def draw(self, folder: Path, evaluation: Evaluation) -> None:
        """Draw predicted against actual numbers, and residuals."""
        from baton.evaluate.report import number_plots  # matplotlib, which the gate does not need

        number_plots.draw(folder, evaluation)

    def summary(self, models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
        """Return columns and cells of the terminal's table."""
        return number_tables.summary(models)


def _is_of(key: str, name: str) -> bool:
    """Return whether a figure, or its interval, is that of the number `name`."""
    return key.partition("/")[2] in (name, f"{name}_interval")
