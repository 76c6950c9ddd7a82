"""The plot of texts as targets: chrF by the length of the reference.

Inputs: an evaluation -> reports/figures/chrf_by_length.png.
"""

from pathlib import Path

import numpy as np
from matplotlib.ticker import PercentFormatter

from baton.evaluate.evaluation import Evaluation
from baton.evaluate.report.canvas import canvas, colour, legend
from baton.tasks import text_scores

PARTS = 5  # of the test rows, equally large, from short to long references


def by_length(path: Path, evaluation: Evaluation) -> None:
    """Draw each drawn model's chrF on rows of similar length, over their mean length in characters."""
    lengths = np.array([len(text) for text in evaluation.test.targets])
    order = np.argsort(lengths, kind="stable")
    parts = [part for part in np.array_split(order, PARTS) if len(part)]
    with canvas(path, 6.4, 4.0) as figure:
        axes = figure.add_subplot()
        for name in evaluation.drawn:
            statistics = evaluation.bootstrap.statistics[name]
            values = [float(text_scores.chrf(statistics[part].sum(axis=0))) for part in parts]
            axes.plot(
                [float(lengths[part].mean()) for part in parts], values, "o-", color=colour(name), label=name
            )
        axes.set_xlabel("length of the reference, characters")
        axes.set_ylabel("chrF")
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(axis="y")
        legend(figure, axes)
