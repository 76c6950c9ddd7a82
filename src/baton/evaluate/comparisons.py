"""All comparisons of one report, so that p-values and intervals are right for all of them together.

Inputs: a bootstrap of the test rows and pairs of its models -> differences with intervals, p-values adjusted by Holm, and what is excluded.
"""

from collections.abc import Sequence
from typing import Any

from baton.evaluate import compare, proportions
from baton.evaluate.compare import Bootstrap

LOSSES = ("log_loss", "brier")


def compared(bootstrap: Bootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """`first_vs_second` -> `compare.paired` and `paired_losses` of the two, and what holds for all pairs together.

    The pairs' tests of one figure are a family: accuracy's `holm_p`, and `log_loss_holm_p` and `brier_holm_p`. `holm_interval` is the
    difference in accuracy at `holm_confidence`, Holm's level for this pair: it holds no 0 exactly where `holm_p` is below 1 - confidence.
    `excluded`: differences in accuracy beyond this, either way, are excluded by two one-sided tests at the same level.
    """
    hits = {name: bootstrap.hits(name) for pair in pairs for name in pair}
    result = {
        f"{first}_vs_{second}": compare.paired(bootstrap, hits, first, second) | paired_losses(bootstrap, first, second)
        for first, second in pairs
    }
    p_values = [proportions.paired_p(*compare.discordant(hits[first], hits[second])) for first, second in pairs]
    levels = proportions.holm_confidences(p_values, bootstrap.confidence)
    own: dict[str, Any]
    for own, (first, second), level, p_value in zip(result.values(), pairs, levels, proportions.holm(p_values), strict=True):
        table = (*compare.discordant(hits[first], hits[second]), len(hits[first]))
        own |= {"holm_p": p_value, "holm_confidence": level, "holm_interval": list(proportions.paired_interval(*table, level))}
        own["excluded"] = proportions.excluded(*table, level)
    for figure in LOSSES:
        tested: list[dict[str, Any]] = [one for one in result.values() if f"{figure}_p" in one]
        for own, p_value in zip(tested, proportions.holm([one[f"{figure}_p"] for one in tested]), strict=True):
            own[f"{figure}_holm_p"] = p_value
    return result


def paired_losses(bootstrap: Bootstrap, first: str, second: str) -> dict[str, float | list[float]]:
    """`first` minus `second` in log loss and Brier score with interval and p of the paired t-test; negative means the first is better.

    Empty where one of the two has no probabilities, or there is one row. Rows that do not differ at all have p = 1.
    """
    from scipy.stats import t

    result: dict[str, float | list[float]] = {}
    own, other = bootstrap.losses(first), bootstrap.losses(second)
    for figure in own.keys() & other.keys() if len(bootstrap.hits(first)) > 1 else ():
        change = own[figure] - other[figure]
        mean, error, freedom = float(change.mean()), float(change.std(ddof=1)) / len(change) ** 0.5, len(change) - 1
        half = float(t.isf((1 - bootstrap.confidence) / 2, freedom)) * error
        p_value = 2 * float(t.sf(abs(mean) / error, freedom)) if error else float(mean == 0)
        result |= {f"{figure}_difference": mean, f"{figure}_difference_interval": [mean - half, mean + half], f"{figure}_p": p_value}
    return result
