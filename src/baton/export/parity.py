"""A model's logits and those of its export -> how far they agree, and the figures of both.

Answers are equal if a served model would say the same: the same names, entities at the same places, the same
span; numbers, if they differ by at most 2% of the targets' deviation on train.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from baton import params
from baton.contracts.predictions import Predicted
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Numbers, Tokens
from baton.evaluate.task_reports import TaskReports
from baton.tasks import token_decoding

TOLERANCE = 0.02  # of standardised numbers, whose unit is the deviation
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
            near = np.abs(logits - self.logits) <= TOLERANCE  # (n, width)
            return float(near.all(axis=1).mean())
        if isinstance(self.task.spec, Tokens):
            mine, other = (_tags(own) for own in (self.logits, logits))
            return float(np.mean([one == two for one, two in zip(mine, other, strict=True)]))
        mine, other = (
            figures.said(figures.answer(own, self.fitted, None, self.texts)) for own in (self.logits, logits)
        )
        return float(np.mean([one == two for one, two in zip(mine, other, strict=True)]))

    @staticmethod
    def finite(logits: Predicted) -> tuple[Predicted, bool]:
        """Return logits without infinities and NaN, to which few bits may lead, and whether they had none."""
        values = _values(logits)
        sound, filled = bool(np.isfinite(values).all()), np.nan_to_num(values)
        return Ragged(filled, logits.offsets) if isinstance(logits, Ragged) else filled, sound

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


def _tags(logits: Predicted) -> list[Any]:
    """Return the tags of each row's words, from which its entities follow, their places and types."""
    assert isinstance(logits, Ragged)
    return [row.tolist() for row in np.split(token_decoding.decoded(logits), logits.offsets[1:-1])]
