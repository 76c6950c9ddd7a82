"""All comparisons of one report, so that p-values and intervals are right for all of them together.

Inputs: a bootstrap of the test rows and pairs of its models -> differences with intervals, p-values adjusted by Holm, and what is excluded.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from baton.evaluate import proportions, significance
from baton.evaluate.significance import Bootstrap

LOSSES = ("log_loss", "brier")
SAME = 1e-9  # losses that differ by less differ by rounding


def compared(bootstrap: Bootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """`first_vs_second` -> `compare.paired` and `paired_losses` of the two, and what holds for all pairs together.

    The pairs' tests of one figure are a family: accuracy's `holm_p`, and `log_loss_holm_p` and `brier_holm_p`; see `together` for the rest.
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
    for figure in LOSSES:
        tested: list[dict[str, Any]] = [one for one in result.values() if f"{figure}_p" in one]
        for own, p_value in zip(
            tested, proportions.holm([one[f"{figure}_p"] for one in tested]), strict=True
        ):
            own[f"{figure}_holm_p"] = p_value
    return result


def together(pairs: Sequence[tuple[int, int, int]], confidence: float) -> list[dict[str, Any]]:
    """What holds for all pairs at once, of (rows that only the first has right, only the second, all rows) each.

    `holm_p` is adjusted by Holm's method. `holm_interval`, of the difference in accuracy, stands beside it at the level of Bonferroni,
    `holm_confidence` = 1 - (1 - confidence) / pairs, so that all intervals hold together: at the levels of Holm's steps they would not,
    since those fall with each rejection. It holds 0 wherever Holm does not reject. Where he does it may still reach 0, as no two-sided
    interval that tells more than a sign goes with his test. `excluded`: differences beyond this, either way, lie outside of the interval.
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


def paired_losses(bootstrap: Bootstrap, first: str, second: str) -> dict[str, float | list[float]]:
    """`first` minus `second` in log loss and Brier score with interval and p of the paired t-test; negative means the first is better.

    Empty where one of the two has no probabilities, or there is one row. Where all rows differ by the same amount, or not at all, nothing
    is known of how differences spread: there is no interval and no p.
    """
    from scipy.stats import t

    result: dict[str, float | list[float]] = {}
    own, other = bootstrap.losses(first), bootstrap.losses(second)
    for figure in own.keys() & other.keys() if len(bootstrap.hits(first)) > 1 else ():
        change = own[figure] - other[figure]
        mean, error, freedom = (
            float(change.mean()),
            float(change.std(ddof=1)) / len(change) ** 0.5,
            len(change) - 1,
        )
        result[f"{figure}_difference"] = mean
        if np.ptp(change) > SAME:
            half = float(t.isf((1 - bootstrap.confidence) / 2, freedom)) * error
            p_value = 2 * float(t.sf(abs(mean) / error, freedom))
            result |= {f"{figure}_difference_interval": [mean - half, mean + half], f"{figure}_p": p_value}
    return result
