"""What evaluation does for a classifier that gives each row one class; see `task_reports.TaskReports`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Classes
from baton.evaluate import (
    calibration,
    class_results,
    multiple_comparisons,
    ranking,
    significance,
    swapped_names,
)
from baton.evaluate.baselines import Outputs
from baton.evaluate.class_baselines import ClassBaselines
from baton.evaluate.evaluation import TRANSFORMERS, Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.proportions import wilson
from baton.evaluate.report import class_tables, class_terminal
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import Words
from baton.evaluate.report_defaults import ReportDefaults
from baton.evaluate.selective import Claims
from baton.evaluate.significance import Bootstrap
from baton.tasks import metrics
from baton.tasks.answers import probabilities
from baton.tasks.class_figures import ClassFigures

Labels = NDArray[np.int64]


class Served(Outputs):
    """Answers of a served model, whose log-probabilities are at its temperature."""

    @property
    def scaled(self) -> NDArray[np.float64]:
        """Log-probabilities (n, classes) as they are: dividing by 1 would change their last digits."""
        return self.log_p


@dataclass(frozen=True)
class ClassReports(ReportDefaults):
    """Figures of the most probable class and of the probabilities; McNemar's test and Tango's interval."""

    spec: Classes

    over_seeds: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "log_loss")
    tracked: ClassVar[tuple[str, ...]] = (
        *metrics.FIGURES,
        *metrics.MORE_FIGURES,
        *(f"{figure}_scaled" for figure in class_results.SCALED),
        *class_results.CALIBRATION,
    )
    words: ClassVar[Words] = Words(
        counted="classes",
        tested="McNemar's mid-p test",
        bounded="Tango's",
        remark=class_terminal.REMARK,
    )
    counting: ClassVar[str] = "accuracy"
    p: ClassVar[str] = "mcnemar_p"

    @property
    def figures(self) -> ClassFigures:
        """The figures of validation, and the answers."""
        return ClassFigures(self.spec)

    @property
    def baselines(self) -> ClassBaselines:
        """The majority class, and linear models."""
        return ClassBaselines(self.spec)

    def outputs(self, logits: NDArray[np.float32], fitted: Mapping[str, Any]) -> Outputs:
        """Return the most probable classes and the log-probabilities."""
        log_p = metrics.log_probabilities(logits)
        return Outputs(log_p.argmax(axis=1), log_p, **fitted)

    def served(self, answers: pd.DataFrame) -> Outputs:
        """Return the same for the probabilities that a served model answered."""
        found = probabilities(self.spec.names, answers)
        log_p = np.log(np.maximum(found, np.finfo(np.float64).tiny))
        return Served(log_p.argmax(axis=1), log_p)

    def fitted(self, targets: Labels, outputs: Outputs) -> dict[str, Any]:
        """Return the temperature of softmax, see `ClassFigures.fitted`."""
        return self.figures.fitted(outputs.log_p, targets)

    def parts(self, targets: Labels, outputs: Outputs) -> NDArray[np.float64]:
        """Return 1 for rows that are right, else 0."""
        return np.asarray(outputs.predicted == targets, np.float64)

    def overall(self, targets: Labels, outputs: Outputs) -> float:
        """Return the accuracy."""
        return float((outputs.predicted == targets).mean())

    def of_rows(
        self, targets: Labels, outputs: Outputs, rows: NDArray[np.bool_], confidence: float
    ) -> tuple[float, float, float]:
        """Return the accuracy on `rows`, with Wilson's interval."""
        hits, count = int((outputs.predicted == targets)[rows].sum()), int(rows.sum())
        low, high = wilson(hits, count, confidence)
        return hits / count, float(low), float(high)

    def found(self, targets: Labels, outputs: Outputs) -> tuple[Labels, NDArray[np.bool_]]:
        """Return each row's class, and whether it was predicted."""
        return targets, np.asarray(outputs.predicted == targets)

    def label_map(self, targets: Labels, outputs: Outputs) -> tuple[bool, str]:
        """Return whether classes have each other's names, see `swapped_names.judge`."""
        return swapped_names.judge(outputs.predicted, targets, self.spec.names)

    def claims(self, targets: Labels, outputs: Outputs) -> Claims:
        """Return each row's class, with its probability at the temperature."""
        sure = np.exp(outputs.scaled[np.arange(len(targets)), outputs.predicted])
        return Claims(sure, np.asarray(outputs.predicted == targets), outputs.predicted)

    def of_seed(
        self,
        logits: NDArray[np.float32],
        targets: Labels,
        fitted: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, float]:
        """Return the figures of `metrics`, as trained."""
        return metrics.scores(logits, targets)

    def bootstrap(
        self, targets: Labels, outputs: Mapping[str, Outputs], bins: int, settings: params.Bootstrap
    ) -> Bootstrap:
        """Resample the statistics of `metrics`, with probabilities at the temperature."""
        classes = self.spec.width
        statistics = {
            name: metrics.statistics(targets, one.predicted, classes, one.scaled, bins)
            for name, one in outputs.items()
        }
        return Bootstrap(statistics, classes, settings)

    def of_model(self, boot: Bootstrap, name: str) -> dict[str, Any]:
        """Return the figures of `significance`; those at the temperature end in `_scaled`."""
        return class_results.renamed(boot.figures(name))

    def calibrations(
        self, test: Rows, outputs: Mapping[str, Outputs], settings: params.Evaluate
    ) -> dict[str, dict[str, Any]]:
        """Return model -> its calibration figures, see `class_results.calibrations`."""
        return class_results.calibrations(test, outputs, settings)

    def calibration(
        self, targets: Labels, outputs: Outputs, bins: int, confidence: float
    ) -> tuple[float, list[float]]:
        """Return the calibration error at the temperature and its interval, see `calibration.error`."""
        return calibration.error(targets, outputs.predicted, outputs.scaled, bins, confidence)

    def beyond(
        self, splits: Mapping[str, Rows], outputs: Mapping[str, Outputs], best: str | None, confidence: float
    ) -> dict[str, dict[str, Any]]:
        """Return the figures of `ranking`, skill and errors removed."""
        test, majority = splits["test"], self._majority(splits)
        hits = {name: one.predicted == test.targets for name, one in outputs.items()}
        result = {}
        for name, one in outputs.items():
            result[name] = ranking.figures(test.targets, one.scaled, confidence)
            result[name] |= class_results.removed("skill", hits[name], majority, confidence)
            if best and name in TRANSFORMERS:
                result[name] |= class_results.removed("errors_removed", hits[name], hits[best], confidence)
        return result

    def paired(self, boot: Bootstrap, first: str, second: str) -> dict[str, Any]:
        """Compare two models alone, see `significance.paired`."""
        return dict(
            significance.paired(boot, {name: boot.hits(name) for name in (first, second)}, first, second)
        )

    def in_words(self, paired: Mapping[str, Any], first: str, second: str) -> str:
        """Return how many rows only one of two models has right, and McNemar's p."""
        only_first, only_second = paired["discordant"]
        text = f"only {first} is right on {only_first} rows, only {second} on {only_second}"
        return f"{text}, McNemar's mid-p = {paired[self.p]:.2g}"

    def compared(self, boot: Bootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
        """Compare models jointly, see `multiple_comparisons.compared`."""
        return {
            pair: class_results.renamed(own)
            for pair, own in multiple_comparisons.compared(boot, pairs).items()
        }

    def retention(
        self, boot: Bootstrap, splits: Mapping[str, Rows], result: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the student's skill, accuracy and macro F1 over the teacher's."""
        return class_results.retention(boot, result, self._majority(splits))

    def agree(self, result: dict[str, Any], best: str | None, confidence: float) -> None:
        """Extend intervals so that they agree with the tests, see `class_results.agree`."""
        class_results.agree(result, best, confidence)

    def tables(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return per_class.csv and errors.csv."""
        return class_tables.tables(evaluation)

    def plots(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return confusions, per-class F1 and calibration of each model."""
        return class_tables.plots(evaluation)

    def draw(self, folder: Path, evaluation: Evaluation) -> None:
        """Draw confusions, reliability and per-class F1."""
        from baton.evaluate.report import class_plots  # matplotlib, which the gate does not need

        class_plots.draw(folder, evaluation)

    def summary(self, models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
        """Return columns and cells of the terminal's first table."""
        return class_terminal.summary(models)

    def beyond_summary(
        self, models: Mapping[str, Mapping[str, Any]], test: Mapping[str, Any]
    ) -> tuple[str, list[str], list[list[str]]]:
        """Return title, columns and rows of the terminal's second table."""
        return class_terminal.beyond(models, test)

    def _majority(self, splits: Mapping[str, Rows]) -> NDArray[np.bool_]:
        """Return which test rows have train's most frequent class."""
        return np.asarray(splits["test"].targets == np.bincount(splits["train"].targets).argmax())
