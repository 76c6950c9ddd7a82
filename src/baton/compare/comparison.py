"""Statistics of a comparison: mean over seeds with an interval, and differences paired by seed.

Input: trials, each one training run or one fit of a baseline -> means, intervals and paired differences.

Trials with the same number of labels and the same seed have the same rows of train and test, so the
difference of two strategies is that of pairs, and its interval is Student's t over seeds. With one seed, or
if all seeds differ by the same amount, it is that of the test rows of the first seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from baton.contracts.training_costs import Costs
from baton.evaluate import proportions, seeds
from baton.tasks.figure_scale import Scale

Labels = int | None  # number of labels; None: all
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """One training run of a strategy, or one fit of a baseline."""

    name: str
    labels: Labels
    seed: int
    figures: Mapping[str, float]  # on test
    scores: Scores = field(repr=False)  # (rows,); the mean is the main figure (minus it if lower is better)
    used: float  # labels of train and validation, as `Comparison.unit` counts them
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True)
class Difference:
    """How much better the first of two is, in the main figure; positive also if lower figures are better."""

    mean: float
    low: float | None  # None: the interval is not known
    high: float | None

    @property
    def sign(self) -> int:
        """1 if the first is better, -1 if it is worse, 0 if the interval holds 0 or is not known."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True)
class Cell:
    """A strategy or baseline at one number of labels."""

    name: str
    labels: Labels
    seeds: tuple[int, ...]
    used: float  # mean over seeds
    figures: Mapping[str, float]  # means over seeds
    interval: tuple[float, float] | None  # of the main figure
    costs: Costs  # mean seconds, greatest memory


@dataclass(frozen=True)
class Comparison:
    """Everything that is shown."""

    figure: Scale  # by which is compared
    confidence: float
    unit: str  # what the numbers of labels count: labels per class
    candidates: tuple[str, ...]  # what may be recommended: strategies, or their students
    others: tuple[str, ...]  # what is shown beside them: the teachers and controls of students
    baselines: tuple[str, ...]
    labels: tuple[Labels, ...]
    trials: tuple[Trial, ...]

    @cached_property
    def _by_cell(self) -> dict[tuple[str, Labels], dict[int, Trial]]:
        found: dict[tuple[str, Labels], dict[int, Trial]] = {}
        for trial in self.trials:
            found.setdefault((trial.name, trial.labels), {})[trial.seed] = trial
        return {key: dict(sorted(own.items())) for key, own in found.items()}

    def cell(self, name: str, labels: Labels) -> Cell | None:
        """Return the means of a strategy or baseline; None if it has no trial."""
        own = list(self._by_cell.get((name, labels), {}).values())
        if not own:
            return None
        figures = {
            key: float(np.mean([trial.figures[key] for trial in own]))
            for key in own[0].figures
            if all(key in trial.figures for trial in own)
        }
        used = float(np.mean([trial.used for trial in own]))
        numbers = tuple(trial.seed for trial in own)
        return Cell(name, labels, numbers, used, figures, self._interval(own), _costs(own))

    def difference(self, first: str, second: str, labels: Labels) -> Difference | None:
        """Return how much better `first` is than `second`, over the seeds of both; None without any."""
        one, other = (self._by_cell.get((name, labels), {}) for name in (first, second))
        pairs = [(one[seed], other[seed]) for seed in one if seed in other]
        if not pairs:
            return None
        gains = np.array([self._gain(a) - self._gain(b) for a, b in pairs])
        low, high = seeds.student(gains, self.confidence).interval or paired_rows(
            pairs[0][0].scores, pairs[0][1].scores, self.confidence
        )
        return Difference(float(gains.mean()), low, high)

    def sign(self, first: str, second: str, labels: Labels) -> int:
        """Return 1 if `first` is better than `second`, -1 if it is worse, 0 if that is not known."""
        own = self.difference(first, second, labels)
        return 0 if own is None else own.sign

    def best(self, names: Sequence[str], labels: Labels) -> str | None:
        """Return the one with the best mean; None if none has a trial."""
        cells = [own for name in names if (own := self.cell(name, labels)) is not None]
        found = self.figure.best(cells, lambda own: own.figures[self.figure.name])
        return found.name if found is not None else None

    def _gain(self, trial: Trial) -> float:
        return self.figure.gain(trial.figures[self.figure.name])

    def _interval(self, own: Sequence[Trial]) -> tuple[float, float] | None:
        values = np.array([trial.figures[self.figure.name] for trial in own])
        if tested := seeds.student(values, self.confidence).interval:
            ends = [*tested]
        elif len(own) == 1:
            found = mean_rows(own[0].scores, self.confidence)
            ends = sorted(self.figure.gain(end) for end in found if end is not None)
        else:
            return None  # all seeds have the same figure: their spread is not known
        if self.figure.share:
            ends = [min(max(end, 0.0), 1.0) for end in ends]
        return (ends[0], ends[1]) if ends else None


def mean_rows(scores: Scores, confidence: float) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of the mean over rows (rows,).

    It is Wilson's for scores from 0 to 1, else Student's t.
    """
    if scores.min() >= 0 and scores.max() <= 1:
        low, high = proportions.mean_share(scores, confidence)
        return low, high
    return seeds.student(scores, confidence).interval or (None, None)


def paired_rows(first: Scores, second: Scores, confidence: float) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of the mean difference over rows (rows,) of both.

    If rows are right or wrong it is Tango's, else Student's t. Without a difference in any row it is not
    known.
    """
    if right_or_wrong(first, second):
        only_first, only_second = int((first > second).sum()), int((second > first).sum())
        return proportions.paired_interval(only_first, only_second, len(first), confidence)
    return seeds.student(first - second, confidence).interval or (None, None)


def right_or_wrong(*scores: Scores) -> bool:
    """Return whether all scores are 0 or 1."""
    return all(bool(np.isin(own, (0, 1)).all()) for own in scores)


def _costs(own: Sequence[Trial]) -> Costs:
    """Return the mean seconds and the greatest of the others, of the trials for which they are known."""
    found = {
        field.name: [value for trial in own if (value := getattr(trial.costs, field.name)) is not None]
        for field in fields(Costs)
    }
    means = {"seconds": float(np.mean(found["seconds"])) if found["seconds"] else None}
    return Costs(**{name: max(values, default=None) for name, values in found.items()} | means)
