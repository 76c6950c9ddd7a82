"""The rule on the probabilities of labels that a model predicts, each label apart.

Of all decisions together nearly every one says that a row lacks a rare label, and is right: the gate's
calibration error then stays small whatever the probability with which that label is predicted.

Inputs: the challenger's outputs and the targets of the test table -> a check, if rows have several labels.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Labels, TaskSpec
from baton.evaluate.proportions import wilson
from baton.lifecycle.promotion.verdicts import Check, some

LEAST = 10  # rows for which a label must be predicted to be judged


def checks(task: TaskSpec, outputs: Any, targets: NDArray[Any], rules: params.Promotion) -> Iterable[Check]:
    """Refuse a label whose mean probability, where it is predicted, is certainly off by more than the limit.

    The share of those rows that have the label has Wilson's interval, at a level that holds for all judged
    labels together (Bonferroni).
    """
    limit = rules.max_calibration_error
    if limit is None or not isinstance(task, Labels):
        return
    predicted, actual = outputs.predicted, targets > 0
    rows, right = predicted.sum(axis=0), (predicted & actual).sum(axis=0)
    judged = np.flatnonzero(rows >= LEAST)
    small = [f"{task.names[place]} ({rows[place]:,} rows)" for place in np.flatnonzero(rows < LEAST)]
    left = f"; not judged: {some(small)}" if small else ""
    if not len(judged):
        yield Check("label calibration", True, f"no label is predicted for {LEAST} rows{left}")
        return
    level = 1 - (1 - rules.bootstrap.confidence) / len(judged)
    claimed = (outputs.probabilities * predicted).sum(axis=0)[judged] / rows[judged]
    low, high = wilson(right[judged], rows[judged], level)
    off = np.maximum(claimed - high, low - claimed)  # certainly, at least
    worst = int(off.argmax())
    where = f"{100 * claimed[worst]:.1f}% on average where it is predicted ({rows[judged[worst]]:,} rows)"
    there = f"{100 * low[worst]:.1f}% to {100 * high[worst]:.1f}%"
    text = (
        f"the probability is furthest off for {task.names[judged[worst]]}: {where}, of which {there} have "
        f"it; they may be {100 * limit:.1f} points apart{left}"
    )
    yield Check("label calibration", bool(off[worst] <= limit), text)
