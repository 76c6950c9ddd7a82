"""The plot of precision against recall of labels.

Inputs: outputs and targets of the test rows -> reports/figures/precision_recall.png.
"""

from pathlib import Path

import numpy as np
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from baton.evaluate.evaluation import Evaluation
from baton.evaluate.report.canvas import canvas, colour, legend

POINTS = 1000  # of a curve: as many recalls at equal distances


def precision_recall(path: Path, evaluation: Evaluation) -> None:
    """Draw precision against recall of all decisions, by a common threshold; a dot is at the fitted ones."""
    targets = evaluation.test.targets > 0
    with canvas(path, 6, 4.6) as figure:
        axes = figure.add_subplot()
        for name, one in evaluation.drawn.items():
            recall, precision = curve(one.logits, targets)
            axes.plot(recall, precision, color=colour(name), label=name)
            hit, predicted = (targets & one.predicted).sum(), one.predicted.sum()
            if predicted and targets.any():
                axes.plot(hit / targets.sum(), hit / predicted, "o", color=colour(name))
        axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall of all labels", ylabel="precision")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
        axes.set_title("line: one threshold for all labels; dot: those fitted", loc="left", fontsize=10)
        axes.grid()
        legend(figure, axes)


def curve(
    scores: NDArray[np.float64], targets: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recall and precision of all decisions, the highest scores first, at up to `POINTS` recalls."""
    order = np.argsort(-scores, axis=None, kind="stable")
    ordered, hits = scores.ravel()[order], np.cumsum(targets.ravel()[order])
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # the last of equal scores
    recall, precision = hits[ends] / max(hits[-1], 1), hits[ends] / (ends + 1)
    some = np.unique(np.searchsorted(recall, np.linspace(0, 1, POINTS)).clip(max=len(ends) - 1))
    return recall[some], precision[some]
