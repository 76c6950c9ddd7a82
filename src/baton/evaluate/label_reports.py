"""What evaluation does where rows have any number of labels; see `task_reports.TaskReports`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Labels
from baton.evaluate import (
    calibration,
    f1_bootstrap,
    label_outputs,
    label_ranking,
    label_significance,
    multiple_comparisons,
)
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.label_baselines import LabelBaselines
from baton.evaluate.label_outputs import LabelOutputs
from baton.evaluate.label_significance import LabelBootstrap
from baton.evaluate.report import label_tables
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import Words
from baton.evaluate.report_defaults import ReportDefaults
from baton.evaluate.resampling import means
from baton.evaluate.selective import Claims
from baton.tasks import label_figures
from baton.tasks.label_figures import LabelFigures

Marks = NDArray[np.float32]  # (n, labels), 0 or 1


@dataclass(frozen=True)
class LabelReports(ReportDefaults):
    """F1 of labels at their thresholds; paired bootstrap, and approximate randomisation of micro F1."""

    spec: Labels

    over_seeds: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "log_loss")
    tracked: ClassVar[tuple[str, ...]] = (
        "micro_f1",
        "macro_f1",
        "samples_f1",
        "subset_accuracy",
        "hamming_loss",
        "micro_average_precision",
        "macro_average_precision",
        "coverage_error",
        "ranking_loss",
        "log_loss",
        "log_loss_scaled",
        "temperature",
    )
    words: ClassVar[Words] = Words(
        counted="labels",
        tested="a randomisation test",
        bounded="the bootstrap's",
        remark=label_tables.REMARK,
    )
    p: ClassVar[str] = "micro_f1_p"
    counting: ClassVar[str] = "subset_accuracy"

    @property
    def figures(self) -> LabelFigures:
        """The figures of validation, and the answers."""
        return LabelFigures(self.spec)

    @property
    def baselines(self) -> LabelBaselines:
        """Each label's share, and linear models."""
        return LabelBaselines()

    def outputs(self, logits: NDArray[np.float32], fitted: Mapping[str, Any]) -> LabelOutputs:
        """Return the logits in double precision."""
        return LabelOutputs(logits.astype(np.float64), **fitted)

    def served(self, answers: pd.DataFrame) -> LabelOutputs:
        """Return the labels that a served model answered, and the logits of its probabilities."""
        return label_outputs.of_answers(self.spec.names, answers, self.spec.column)

    def fitted(self, targets: Marks, outputs: LabelOutputs) -> dict[str, Any]:
        """Return temperature and thresholds, see `LabelFigures.fitted`."""
        return self.figures.fitted(outputs.logits, targets)

    def parts(self, targets: Marks, outputs: LabelOutputs) -> NDArray[np.float64]:
        """Return how many labels each row has that are hit, and that are predicted or actual, (n, 2)."""
        actual, predicted = targets > 0, outputs.predicted
        both = actual.sum(axis=1) + predicted.sum(axis=1)
        return np.stack([(actual & predicted).sum(axis=1), both], axis=1).astype(np.float64)

    def score(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `f1_bootstrap.pseudo_values` of micro F1."""
        return f1_bootstrap.pseudo_values(parts)

    def overall(self, targets: Marks, outputs: LabelOutputs) -> float:
        """Return micro F1."""
        return label_figures.micro_f1(targets, outputs.predicted)

    def of_rows(
        self, targets: Marks, outputs: LabelOutputs, rows: NDArray[np.bool_], confidence: float
    ) -> tuple[float, float, float]:
        """Return micro F1 on `rows`, see `f1_bootstrap.f1_of_rows`."""
        return f1_bootstrap.f1_of_rows(self.parts(targets, outputs)[rows], confidence)

    def found(self, targets: Marks, outputs: LabelOutputs) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return each label of each row, and whether it was predicted."""
        rows, names = np.nonzero(targets)
        return names, outputs.predicted[rows, names]

    def claims(self, targets: Marks, outputs: LabelOutputs) -> Claims:
        """Return the labels that are predicted, with their probabilities at the temperature."""
        rows, names = np.nonzero(outputs.predicted)
        return Claims(outputs.probabilities[rows, names], np.asarray(targets[rows, names] > 0), names)

    def in_words(self, paired: Mapping[str, Any], first: str, second: str) -> str:
        """Return how many rows only one of two models has exactly right, and p of equal micro F1."""
        only_first, only_second = paired["discordant"]
        text = f"only {first} has every label of {only_first} rows right, only {second} of {only_second}"
        return f"{text}, randomisation test of micro F1 p = {paired[self.p]:.2g}"

    def of_seed(
        self, logits: NDArray[np.float32], targets: Marks, fitted: Mapping[str, Any]
    ) -> dict[str, float]:
        """Return the figures of `label_outputs` at the seed's own thresholds; log loss is as trained."""
        own = self.outputs(logits, fitted)
        sums = np.asarray(label_outputs.statistics(targets, own).sum(axis=0))
        found = {name: float(value) for name, value in label_outputs.figures(sums, self.spec.width).items()}
        return found | {"log_loss": float(label_outputs.losses(targets, own.logits).mean())}

    def bootstrap(
        self,
        targets: Marks,
        outputs: Mapping[str, LabelOutputs],
        bins: int,  # noqa: ARG002
        settings: params.Bootstrap,
    ) -> LabelBootstrap:
        """Resample the statistics of `label_outputs`, with probabilities at the temperature."""
        rows = {name: label_outputs.statistics(targets, one) for name, one in outputs.items()}
        return LabelBootstrap(rows, self.spec.width, settings)

    def of_model(self, boot: LabelBootstrap, name: str) -> dict[str, Any]:
        """Return the figures of `label_outputs`; log loss, at the temperature, is `log_loss_scaled`."""
        return {
            key.replace("log_loss", "log_loss_scaled"): value for key, value in boot.figures(name).items()
        }

    def calibrations(
        self, test: Rows, outputs: Mapping[str, LabelOutputs], settings: params.Evaluate
    ) -> dict[str, dict[str, Any]]:
        """Return model -> temperature, and log loss as trained with its interval."""
        rows = [label_outputs.losses(test.targets, one.logits) for one in outputs.values()]
        values, bounds = means(np.stack(rows, axis=1), settings.bootstrap)
        return {
            name: {
                "temperature": one.temperature,
                "log_loss": float(values[place]),
                "log_loss_interval": [float(end) for end in bounds[:, place]],
            }
            for place, (name, one) in enumerate(outputs.items())
        }

    def calibration(
        self, targets: Marks, outputs: LabelOutputs, bins: int, confidence: float
    ) -> tuple[float, list[float]]:
        """Return the calibration error of all decisions together, see `calibration.pooled`."""
        return calibration.pooled(outputs.probabilities, targets, bins, confidence)

    def beyond(
        self,
        splits: Mapping[str, Rows],
        outputs: Mapping[str, LabelOutputs],
        best: str | None,  # noqa: ARG002
        confidence: float,
    ) -> dict[str, dict[str, Any]]:
        """Return average precision, see `label_ranking.figures`."""
        targets = splits["test"].targets
        return {name: label_ranking.figures(one.logits, targets, confidence) for name, one in outputs.items()}

    def paired(self, boot: LabelBootstrap, first: str, second: str) -> dict[str, Any]:
        """Compare two models alone, see `label_significance.paired`."""
        return label_significance.paired(boot, first, second)

    def compared(self, boot: LabelBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
        """Compare models jointly, see `label_significance.compared`."""
        return {
            pair: {key.replace("log_loss", "log_loss_scaled"): value for key, value in own.items()}
            for pair, own in label_significance.compared(boot, pairs).items()
        }

    def retention(
        self,
        boot: LabelBootstrap,
        splits: Mapping[str, Rows],  # noqa: ARG002
        result: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the student's micro, macro and samples F1 over the teacher's."""
        return boot.ratios("student", "teacher", label_significance.COMPARED)

    def agree(self, result: dict[str, Any], best: str | None, confidence: float) -> None:  # noqa: ARG002
        """Extend the interval of the kept micro F1 to 1 if the page's test does not tell the two apart."""
        multiple_comparisons.agree(result, "micro_f1", confidence)

    def tables(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return per_label.csv and errors.csv."""
        return label_tables.tables(evaluation)

    def plots(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return F1 per label of each transformer."""
        return label_tables.plots(evaluation)

    def draw(self, folder: Path, evaluation: Evaluation) -> None:
        """Draw F1 per label, and precision against recall."""
        from baton.evaluate.report import label_plots  # matplotlib, which the gate does not need
        from baton.evaluate.report.class_plots import per_class_f1

        f1 = {name: evaluation.bootstrap.per_class(name)["f1"] for name in evaluation.drawn}
        per_class_f1(folder / "per_label_f1.png", evaluation.names, f1, self.words.counted)
        label_plots.precision_recall(folder / "precision_recall.png", evaluation)

    def summary(self, models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
        """Return columns and cells of the terminal's table."""
        return label_tables.summary(models)
