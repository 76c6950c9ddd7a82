"""A model's logits and those of its export -> how far they agree, and the figures of both.

Answers are equal if a served model would say the same; numbers, if they differ by at most 2% of the targets'
deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from baton import params
from baton.contracts.predictions import Predicted
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Numbers
from baton.evaluate.task_reports import TaskReports

TOLERANCE = 0.02  # of the deviation of numbers
BINS = 15  # of calibration error
MODEL, EXPORT = "model", "export"


@dataclass(frozen=True)
class Reference:
    """Rows, and what the model itself says of them."""

    task: TaskReports
    targets: Any  # (n, …)
    logits: Predicted
    fitted: dict[str, Any]
    texts: Sequence[str]  # (n), for answers that quote them

    def part(self, rows: Any) -> "Reference":
        """Return the same for some rows."""
        assert isinstance(self.logits, np.ndarray | Ragged), "models that write texts are refused"
        texts = [self.texts[row] for row in rows]
        return Reference(self.task, self.targets[rows], self.logits[rows], self.fitted, texts)

    def same(self, logits: Predicted) -> float:
        """Return the share of rows on which other logits give the same answer."""
        figures = self.task.figures
        if isinstance(self.task.spec, Numbers):
            assert isinstance(logits, np.ndarray)
            assert isinstance(self.logits, np.ndarray)
            near = np.abs(logits - self.logits) <= TOLERANCE * self.logits.std(axis=0)  # (n, width)
            return float(near.all(axis=1).mean())
        mine, other = (
            figures.said(figures.answer(own, self.fitted, None, self.texts)) for own in (self.logits, logits)
        )
        return float(np.mean([one == two for one, two in zip(mine, other, strict=True)]))

    def difference(self, logits: Predicted) -> float:
        """Return the largest difference of a logit."""
        mine, other = (_values(own) for own in (self.logits, logits))
        return float(np.abs(mine - other).max())

    def main(self, logits: Predicted) -> float:
        """Return the main figure."""
        return self.task.overall(self.targets, self.task.outputs(logits, self.fitted))

    def figures(self, logits: Predicted, settings: params.Bootstrap) -> dict[str, Any]:
        """Return the figures of the model and of its export with their intervals, and the difference."""
        own = {MODEL: self.logits, EXPORT: logits}
        outputs = {name: self.task.outputs(found, self.fitted) for name, found in own.items()}
        boot = self.task.bootstrap(self.targets, outputs, BINS, settings)
        return {
            **{name: self.task.of_model(boot, name) for name in own},
            "difference": self.task.paired(boot, EXPORT, MODEL),
        }


def _values(logits: Predicted) -> Any:
    return logits.values if isinstance(logits, Ragged) else logits
