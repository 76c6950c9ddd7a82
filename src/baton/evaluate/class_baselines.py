"""Baselines that give each row one class; see `task_reports.TaskBaselines`.

What they answer is kept by a digest of this code (`measure.measurements`), so it stands apart from reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Classes
from baton.evaluate import baselines
from baton.evaluate.baselines import Fitted, Inputs, Outputs


@dataclass(frozen=True)
class ClassBaselines:
    """The baselines of `baselines`."""

    spec: Classes

    ridge: ClassVar[bool] = False

    def fit(
        self,
        baseline: params.Baseline,
        inputs: Inputs,
        targets: NDArray[np.int64],
        validation: tuple[Inputs, NDArray[np.int64]] | None,
        weights: NDArray[np.float32] | None,
    ) -> Fitted:
        """Fit a baseline, see `baselines.fit`."""
        return baselines.fit(baseline, inputs, targets, self.spec.width, validation, weights)

    def arrays(self, outputs: Outputs) -> dict[str, NDArray[Any]]:
        """Return `predicted` and `log_p`."""
        return {"predicted": outputs.predicted, "log_p": outputs.log_p}

    def of_arrays(self, arrays: Mapping[str, NDArray[Any]], C: float | None) -> Outputs:  # noqa: N803
        """Return the outputs whose `arrays` these are."""
        return Outputs(arrays["predicted"], arrays["log_p"], C=C)
