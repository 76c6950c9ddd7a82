"""What evaluation does for each kind of task.

The stage, `results` and `report` hold what all kinds share, and ask for the rest here; so does the gate.

Input: the description of a task (`contracts.task_spec`). Output: its `TaskReports`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Classes, Labels, Numbers, Spans, TaskSpec, Tokens
from baton.contracts.task_spec import Sequence as SequenceSpec
from baton.evaluate.class_reports import ClassReports
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.label_reports import LabelReports
from baton.evaluate.number_reports import NumberReports
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import Words
from baton.evaluate.selective import Claims
from baton.evaluate.sequence_reports import SequenceReports
from baton.evaluate.span_reports import SpanReports
from baton.evaluate.token_reports import TokenReports
from baton.tasks.task_figures import TaskFigures

Figures = Mapping[str, Any]
Targets = Any  # (n, …), as `Targets.take` of contracts.targets returns them


class TaskBaselines(Protocol):
    """The baselines of one kind of task.

    `measure.measurements` keeps what they answer, so their code, and all that it imports, lies in modules
    that are listed there.
    """

    @property
    def ridge(self) -> bool:
        """Whether a linear model is a ridge regression."""
        ...

    def fit(
        self,
        baseline: params.Baseline,
        inputs: Any,
        targets: Targets,
        validation: tuple[Any, Targets] | None,
        weights: NDArray[np.float32] | None,
    ) -> Any:
        """Fit a baseline on train; the result has `outputs(inputs)`, and `C` if validation chose one.

        `inputs` are texts (n) or a matrix (n, width), `weights` those of the rows (n).
        """
        ...

    def arrays(self, outputs: Any) -> dict[str, NDArray[Any]]:
        """Return the arrays of outputs, to keep them in a file."""
        ...

    def of_arrays(self, arrays: Mapping[str, NDArray[Any]], C: float | None) -> Any:  # noqa: N803
        """Return the outputs whose `arrays` these are."""
        ...


class TaskReports(Protocol):
    """What evaluation does for one kind of task.

    The `outputs` of a model have the kind's own type, a dataclass with a field for each value that the task
    fits on validation, and `C` of a linear baseline.
    """

    @property
    def spec(self) -> TaskSpec:
        """The task."""
        ...

    @property
    def figures(self) -> TaskFigures:
        """The figures of validation; its main one, on test, is that of intervals, p-values and sentences."""
        ...

    @property
    def baselines(self) -> TaskBaselines:
        """What models are compared with."""
        ...

    @property
    def words(self) -> Words:
        """The words of the terminal's summary."""
        ...

    # Names of figures.

    @property
    def over_seeds(self) -> tuple[str, ...]:
        """The figures of `of_seed` that are summarised over seeds; the main one is among them."""
        ...

    @property
    def tracked(self) -> tuple[str, ...]:
        """The figures of a model that are logged to MLflow."""
        ...

    @property
    def p(self) -> str:
        """The key in `paired` of the p-value of equal main figures."""
        ...

    @property
    def counting(self) -> str:
        """The figure that is the share of rows that are right, as `discordant` of `paired` counts them."""
        ...

    @property
    def fewest(self) -> int:
        """The fewest test rows by which the gate judges: with fewer, intervals do not hold what they say."""
        ...

    # Outputs of one model.

    def outputs(self, logits: Any, fitted: Mapping[str, Any]) -> Any:
        """Return a model's outputs from its logits and the values in its baton.json.

        Logits are those of `contracts.predictions`.
        """
        ...

    def served(self, answers: pd.DataFrame) -> Any:
        """Return a model's outputs from what it answered when served, in columns that are no `misfit`."""
        ...

    def fitted(self, targets: Targets, outputs: Any) -> dict[str, Any]:
        """Return what is fitted on validation rows of a baseline: fields of its outputs."""
        ...

    def parts(self, targets: Targets, outputs: Any) -> NDArray[np.float64]:
        """Return the numbers of each row, (n,) or (n, k), from whose sums over rows the main figure follows.

        Those of one number are the row's own figure; if it is an error, minus it.
        """
        ...

    def score(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a score of each row, (n,), from the `parts` of all rows; the mean is the main figure.

        Higher is better; if the main figure is an error, the mean is minus it. Where that is no mean over
        rows, scores may lie below 0 and above 1 (`f1_bootstrap.pseudo_values`).
        """
        ...

    def overall(self, targets: Targets, outputs: Any) -> float:
        """Return the main figure."""
        ...

    def of_rows(
        self, targets: Targets, outputs: Any, rows: NDArray[np.bool_], confidence: float
    ) -> tuple[float, float, float]:
        """Return the main figure on `rows` (n,) alone, and the ends of its interval."""
        ...

    def found(self, targets: Targets, outputs: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the name (an index) of each target, and whether the model found it, both (targets,).

        Their order depends on the targets alone, so that those of two models are pairs.
        """
        ...

    def label_map(self, targets: Targets, outputs: Any) -> tuple[bool, str] | None:
        """Return whether the names of a model's outputs look right, and why; None if no one can tell."""
        ...

    def claims(self, targets: Targets, outputs: Any) -> Claims | None:
        """Return what a model claims, with its probabilities; None if it gives none."""
        ...

    def of_seed(self, logits: Any, targets: Targets, fitted: Mapping[str, Any]) -> dict[str, float]:
        """Return the figures of one training run on test; `over_seeds` names some of them.

        `fitted` has the run's own values if `task_figures.decides`, else none.
        """
        ...

    # Figures on the test rows.

    def bootstrap(
        self, targets: Targets, outputs: Mapping[str, Any], bins: int, settings: params.Bootstrap
    ) -> Any:
        """Resample the test rows once for all models: `resampling.Resamples`."""
        ...

    def of_model(self, boot: Any, name: str) -> dict[str, Any]:
        """Return a model's figures, with `<figure>_interval: [low, high]`."""
        ...

    def calibrations(
        self, test: Rows, outputs: Mapping[str, Any], settings: params.Evaluate
    ) -> dict[str, dict[str, Any]]:
        """Return model -> `temperature` and its figures of calibration."""
        ...

    def calibration(
        self, targets: Targets, outputs: Any, bins: int, confidence: float
    ) -> tuple[float, list[float]] | None:
        """Return the calibration error at the temperature and its interval [low, high]; None without any."""
        ...

    def beyond(
        self, splits: Mapping[str, Rows], outputs: Mapping[str, Any], best: str | None, confidence: float
    ) -> dict[str, dict[str, Any]]:
        """Return model -> figures that need train, the probabilities' order or the best baseline."""
        ...

    def paired(self, boot: Any, first: str, second: str) -> dict[str, Any]:
        """Compare two models alone: `<figure>_difference` with `_interval`, and p-values."""
        ...

    def in_words(self, paired: Mapping[str, Any], first: str, second: str) -> str:
        """Return in words on which rows two models differ, and the p-value."""
        ...

    def compared(self, boot: Any, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
        """Return `first_vs_second` -> comparison, with p-values adjusted for all pairs.

        Of the main figure: `<figure>_difference`, `holm_p`, `holm_interval` at the level `holm_confidence`,
        and `excluded`, the size beyond which differences are excluded.
        """
        ...

    def retention(self, boot: Any, splits: Mapping[str, Rows], result: Mapping[str, Any]) -> dict[str, Any]:
        """Return figures of the student over those of the teacher, with intervals; without undefined ones."""
        ...

    def agree(self, result: dict[str, Any], best: str | None, confidence: float) -> None:
        """Extend intervals of metrics.json (`result`) that contradict its tests."""
        ...

    # What is shown.

    def tables(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return the files of reports/tables."""
        ...

    def plots(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return the files of reports/plots."""
        ...

    def draw(self, folder: Path, evaluation: Evaluation) -> None:
        """Draw the task's figures."""
        ...

    def summary(self, models: Mapping[str, Figures]) -> tuple[list[str], dict[str, list[str]]]:
        """Return columns of the terminal's table, and model -> cells, from metrics.json."""
        ...

    def beyond_summary(
        self, models: Mapping[str, Figures], test: Figures
    ) -> tuple[str, list[str], list[list[str]]] | None:
        """Return title, columns and rows of a second table, if there is one."""
        ...


def of(spec: TaskSpec) -> TaskReports:
    """Return what evaluation does for a task."""
    match spec:
        case Classes():
            return ClassReports(spec)
        case Labels():
            return LabelReports(spec)
        case Numbers():
            return NumberReports(spec)
        case SequenceSpec():
            return SequenceReports(spec)
        case Spans():
            return SpanReports(spec)
        case Tokens():
            return TokenReports(spec)


def together(portions: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Return the `TaskReports.parts` of all rows, in their order, from those of portions: (places, parts).

    The figure of all rows is not a mean of those of portions.
    """
    order = np.argsort(np.concatenate([places for places, _ in portions]))
    found: NDArray[np.float64] = np.concatenate([own for _, own in portions])[order]
    return found
