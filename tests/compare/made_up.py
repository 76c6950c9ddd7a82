"""Made-up trials for the tests of the comparison."""

from collections.abc import Mapping, Sequence

import numpy as np

from baton.compare.comparison import Comparison, Labels, Trial
from baton.contracts.training_costs import Costs
from baton.tasks.figure_scale import Scale

ACCURACY = Scale("accuracy", 1, share=True)
ERROR = Scale("mae", -1, share=False)
ROWS = 200


def trial(
    name: str, labels: Labels, seed: int, value: float, seconds: float | None = None, figure: Scale = ACCURACY
) -> Trial:
    """A trial with this main figure; the first rows are right."""
    right = round(ROWS * value)
    scores = np.where(np.arange(ROWS) < right, 1.0, 0.0) if figure.share else np.full(ROWS, -value)
    figures = {figure.name: value, "macro_f1": value / 2}
    used = 300.0 if labels is None else float(labels)
    return Trial(name, labels, seed, figures, scores, used, Costs(seconds, 1.5e9, 12_000, 22_700_000))


def comparison(
    values: Mapping[str, Mapping[Labels, Sequence[float]]],
    seconds: Mapping[str, float] | None = None,
    baselines: Sequence[str] = ("tfidf_svm",),
    figure: Scale = ACCURACY,
) -> Comparison:
    """A comparison of strategies and baselines: name -> number of labels -> the figure of each seed."""
    trials = [
        trial(name, labels, seed, value, (seconds or {}).get(name), figure)
        for name, cells in values.items()
        for labels, own in cells.items()
        for seed, value in enumerate(own)
    ]
    names = [name for name in values if name not in baselines]
    there = tuple(name for name in baselines if name in values)
    counts = {labels: None for cells in values.values() for labels in cells}
    return Comparison(figure, 0.95, "labels per class", tuple(names), (), there, tuple(counts), tuple(trials))
