"""What most kinds of task answer to `task_reports.TaskReports`: that they have nothing of the sort."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.report.csv_files import Table
from baton.evaluate.selective import Claims


class ReportDefaults:
    """The base of a kind's reports; a kind that has one of these overrides it."""

    fewest: ClassVar[int] = 1

    def score(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the parts themselves: the main figure is a mean over rows."""
        return parts

    def found(self, targets: Any, outputs: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:  # noqa: ARG002
        """Return nothing: targets have no names."""
        return np.empty(0, np.int64), np.empty(0, np.bool_)

    def label_map(self, targets: Any, outputs: Any) -> tuple[bool, str] | None:  # noqa: ARG002
        """Return None: there are no names that may be swapped, or no one can tell."""
        return None

    def claims(self, targets: Any, outputs: Any) -> Claims | None:  # noqa: ARG002
        """Return None: answers have no probability."""
        return None

    def beyond(
        self,
        splits: Mapping[str, Rows],  # noqa: ARG002
        outputs: Mapping[str, Any],  # noqa: ARG002
        best: str | None,  # noqa: ARG002
        confidence: float,  # noqa: ARG002
    ) -> dict[str, dict[str, Any]]:
        """Return no further figures."""
        return {}

    def plots(self, evaluation: Evaluation) -> dict[str, Table]:  # noqa: ARG002
        """Return no plot of the task's own: learning curves are those of every task."""
        return {}

    def beyond_summary(
        self,
        models: Mapping[str, Mapping[str, Any]],  # noqa: ARG002
        test: Mapping[str, Any],  # noqa: ARG002
    ) -> tuple[str, list[str], list[list[str]]] | None:
        """Return None: one table holds everything."""
        return None
