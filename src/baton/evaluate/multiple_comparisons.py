"""All comparisons of one report, with p-values and intervals that are valid for all of them jointly.

Inputs: a bootstrap of the test rows and pairs of its models -> differences with intervals, p-values adjusted
by Holm's method, and excluded differences.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from baton.evaluate import proportions, significance
from baton.evaluate.resampling import Resamples, widest
from baton.evaluate.significance import Bootstrap

LOSSES = ("log_loss", "brier")
SAME = 1e-9  # smaller differences between losses are rounding errors


class OfRows(Protocol):
    """Losses of the test rows."""

    confidence: float

    def hits(self, name: str) -> NDArray[np.bool_]:
        """Return which rows the model has right, (n)."""
        ...

    def losses(self, name: str) -> dict[str, NDArray[np.float64]]:
        """Return each loss of every row, (n)."""
        ...


def compared(bootstrap: Bootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Return `first_vs_second` -> `significance.paired`, `paired_losses` and the pair's part of `together`.

    The pairs' tests of one figure form a family: accuracy has `holm_p`, the losses have `log_loss_holm_p` and
    `brier_holm_p`.
    """
    hits = {name: bootstrap.hits(name) for pair in pairs for name in pair}
    result = {
        f"{first}_vs_{second}": significance.paired(bootstrap, hits, first, second)
        | paired_losses(bootstrap, first, second)
        for first, second in pairs
    }
    counts = [
        (*significance.discordant(hits[first], hits[second]), len(hits[first])) for first, second in pairs
    ]
    for name, joint in zip(result, together(counts, bootstrap.confidence), strict=True):
        result[name] |= joint
    adjust_losses(result)
    return result


def adjust(
    boot: Resamples, pairs: Sequence[tuple[str, str]], result: Mapping[str, dict[str, Any]], figure: str
) -> None:
    """Add to the comparisons of `pairs` what holds for all of them jointly, by the tests of one figure.

    `result` has them in the order of `pairs`, with `<figure>_p`. The keys are those of `together`; the
    interval is the bootstrap's, extended to 0 if Holm's method does not reject.
    """
    level = 1 - (1 - boot.confidence) / max(len(pairs), 1)
    adjusted = proportions.holm([own[f"{figure}_p"] for own in result.values()])
    for (first, second), own, p_value in zip(pairs, result.values(), adjusted, strict=True):
        bounds = boot.difference(first, second, figure, level)[1]
        if p_value >= 1 - boot.confidence:
            bounds = widest(bounds, (0.0, 0.0))
        own |= {
            "holm_p": p_value,
            "holm_confidence": level,
            "holm_interval": bounds,
            "excluded": max(abs(bound) for bound in bounds),
        }


def agree(result: Mapping[str, Any], figure: str, confidence: float) -> None:
    """Extend the interval of the kept `figure` to 1 if the test does not tell student and teacher apart."""
    kept, key = result["retention"], f"{figure}_interval"
    if result["comparison"]["student_vs_teacher"]["holm_p"] >= 1 - confidence and key in kept:
        kept[key] = widest(kept[key], (1.0, 1.0))


def adjust_losses(result: Mapping[str, dict[str, Any]]) -> None:
    """Add `<loss>_holm_p` to the comparisons that have `<loss>_p`: those of one loss are a family."""
    for figure in LOSSES:
        tested: list[dict[str, Any]] = [one for one in result.values() if f"{figure}_p" in one]
        for own, p_value in zip(
            tested, proportions.holm([one[f"{figure}_p"] for one in tested]), strict=True
        ):
            own[f"{figure}_holm_p"] = p_value


def together(pairs: Sequence[tuple[int, int, int]], confidence: float) -> list[dict[str, Any]]:
    """Return what holds for all pairs jointly.

    A pair is given as (rows that only the first has right, only the second, all rows). `holm_p` is adjusted
    by Holm's method. `holm_interval`, of the difference in accuracy, has the level of Bonferroni,
    `holm_confidence` = 1 - (1 - confidence) / pairs, so that all intervals hold jointly: at the levels of
    Holm's steps they would not, since those fall with each rejection. It contains 0 whenever Holm's method
    does not reject. When it rejects, the interval may still reach 0, since no two-sided interval that gives
    more than a sign matches the test. `excluded`: larger differences, in either direction, lie outside the
    interval.
    """
    level = 1 - (1 - confidence) / max(len(pairs), 1)
    p_values = proportions.holm([proportions.paired_p(first, second) for first, second, _ in pairs])
    return [
        {
            "holm_p": p_value,
            "holm_confidence": level,
            "holm_interval": list(proportions.paired_interval(*counts, level)),
            "excluded": proportions.excluded(*counts, level),
        }
        for counts, p_value in zip(pairs, p_values, strict=True)
    ]


def paired_losses(bootstrap: OfRows, first: str, second: str) -> dict[str, float | list[float]]:
    """Return `first` minus `second` in log loss and Brier score; negative means the first is better.

    Each difference has the interval and p of the paired t-test. The result is empty if one of the two has no
    probabilities, or if there is only one row. If all rows differ by the same amount, or not at all, the
    spread of differences is unknown: there is no interval and no p.
    """
    from scipy.stats import t

    result: dict[str, float | list[float]] = {}
    own, other = bootstrap.losses(first), bootstrap.losses(second)
    for figure in own.keys() & other.keys() if len(bootstrap.hits(first)) > 1 else ():
        change = own[figure] - other[figure]
        mean, error = float(change.mean()), proportions.standard_error(change)
        freedom = len(change) - 1
        result[f"{figure}_difference"] = mean
        if np.ptp(change) > SAME:
            half = float(t.isf((1 - bootstrap.confidence) / 2, freedom)) * error
            p_value = 2 * float(t.sf(abs(mean) / error, freedom))
            result |= {f"{figure}_difference_interval": [mean - half, mean + half], f"{figure}_p": p_value}
    return result
