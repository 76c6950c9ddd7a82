"""The gate: does a challenger deserve the champion's place? Pure functions of what both models made of one test table.

Every rule is a `Check` with its own reason in words; the verdict is their conjunction, so each one that failed is told, not the first.
The rule between challenger and champion is in `margins`, what no challenger may fall below in `floors`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from baton import params
from baton.evaluate import calibration, significance, timing
from baton.lifecycle.promotion import floors, margins
from baton.lifecycle.promotion.verdicts import CHALLENGER, CHAMPION, SOME, Check, Marks, Verdict
from baton.lifecycle.test_table import Table
from baton.tasks import metrics

ACCIDENT = 1e-3  # probability below which a swap of names is no accident


@dataclass(frozen=True)
class Scored:
    """What a model made of the table, and what it costs."""

    classes: list[str]  # in the order of the columns
    probabilities: NDArray[np.float64]  # (rows, classes)
    size: int  # bytes of the model folder
    latency: NDArray[
        np.float64
    ]  # ms of single samples: the same ones in the same order for every model, taken in turns
    training_rows: frozenset[str] | None  # digests; None if nobody knows


def decide(
    table: Table,
    challenger: Scored,
    champion: Scored | None,
    rules: params.Promotion,
    marks: Marks | None = None,
) -> Verdict:
    """Judge a challenger, also by the `marks` that were reached on the table before; without a champion by `first_minimum` too."""
    both = {CHALLENGER: challenger} | ({CHAMPION: champion} if champion else {})
    known = [_classes(name, scored, table) for name, scored in both.items()]
    checks = [*known, *(_leakage(name, scored, table) for name, scored in both.items())]
    if not all(check.passed for check in known):  # nothing can be compared
        return Verdict(tuple(checks), {})
    log_p = {name: _ordered(scored, table) for name, scored in both.items()}
    hits = {name: value.argmax(axis=1) == table.labels for name, value in log_p.items()}
    bootstrap = _bootstrap(log_p, table, rules)
    figures: dict[str, Any] = {
        name: bootstrap.figures(name) | _calibration(log_p[name], table, rules) | _costs(both[name])
        for name in both
    }
    checks.append(_label_map(log_p[CHALLENGER], table))
    if champion:
        figures["comparison"] = significance.paired(bootstrap, hits, CHALLENGER, CHAMPION)
        checks += [
            margins.better(figures["comparison"], len(table.ids), rules),
            *_ratios(challenger, champion, rules),
        ]
    else:
        checks.append(margins.first(figures[CHALLENGER], len(table.ids), rules))
    checks += [*floors.of_classes(hits, table, rules), *floors.permanent(figures, marks or Marks(), rules)]
    checks += _calibrated(figures[CHALLENGER], len(table.ids), rules)
    return Verdict(tuple(checks), figures)


def _classes(name: str, scored: Scored, table: Table) -> Check:
    """A champion may lack classes that are new: it is wrong there. Other names for its classes would make it worse than it is."""
    missing, more = (
        sorted(set(table.names) - set(scored.classes)),
        sorted(set(scored.classes) - set(table.names)),
    )
    got = ", ".join(
        [*(f"no {label}" for label in missing[:SOME]), *(f"{label} besides" for label in more[:SOME])]
    )
    if not missing and not more:
        return Check("classes", True, f"the {name} knows the table's {len(table.names)} classes")
    if name == CHAMPION and not more:
        return Check(
            "classes", True, f"the champion lacks classes of {table.path} ({got}) and cannot be right on them"
        )
    return Check("classes", False, f"the {name} does not have the classes of {table.path}: {got}")


def _leakage(name: str, scored: Scored, table: Table) -> Check:
    if scored.training_rows is None:
        return Check(
            "leakage",
            False,
            f"nobody knows what the {name} was trained on, so the test rows may be among it; register it anew",
        )
    known = [
        row for row, digest in zip(table.ids, table.digests, strict=True) if digest in scored.training_rows
    ]
    if not known:
        return Check(
            "leakage",
            True,
            f"no test row was in the {name}'s training data ({len(scored.training_rows):,} rows)",
        )
    some = ", ".join(known[:SOME])
    return Check(
        "leakage",
        False,
        f"{len(known):,} of {len(table.ids):,} test rows were in the {name}'s training data: {some}",
    )


def _ordered(scored: Scored, table: Table) -> NDArray[np.float64]:
    """Log-probabilities (rows, classes) in the table's order of classes; one that the model does not know is impossible to it."""
    probabilities = np.zeros((len(table.labels), len(table.names)))
    for place, name in enumerate(table.names):
        if name in scored.classes:
            probabilities[:, place] = scored.probabilities[:, scored.classes.index(name)]
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))


def _bootstrap(
    log_p: Mapping[str, NDArray[np.float64]], table: Table, rules: params.Promotion
) -> significance.Bootstrap:
    classes = len(table.names)
    rows = {
        name: metrics.statistics(table.labels, value.argmax(axis=1), classes, value, metrics.BINS)
        for name, value in log_p.items()
    }
    return significance.Bootstrap(rows, classes, rules.bootstrap)


def _label_map(log_p: NDArray[np.float64], table: Table) -> Check:
    """Whether its classes carry their right names.

    Names are suspected if the assignment that fits its predictions best renames some in a circle, each is more often right under its new
    name, and that is no accident (binomial test over the circle). A model that is no better than a constant, whatever its names, is bad
    and not swapped.
    """
    counts = np.zeros((len(table.names), len(table.names)), np.int64)
    np.add.at(counts, (log_p.argmax(axis=1), table.labels), 1)  # (predicted, actual)
    predicted, actual = linear_sum_assignment(counts, maximize=True)
    fits = counts[predicted, actual].sum() > counts.sum(axis=0).max()
    moved = [circle for circle in _circles(actual) if fits and _swapped(counts, circle)]
    if not moved:
        return Check("label map", True, "no other order of the classes fits its predictions better")
    names = [f"{table.names[i]} as {table.names[actual[i]]}" for circle in moved for i in circle]
    gained = sum(int(counts[i, actual[i]] - counts[i, i]) for circle in moved for i in circle)
    text = f"its label map looks swapped: read {', '.join(names[:SOME])}, {gained:,} more of {len(table.labels):,} rows would be right"
    return Check("label map", False, text)


def _circles(order: NDArray[np.int64]) -> Iterable[list[int]]:
    """The circles of a permutation, those of one element left out; each element is followed by its image."""
    left = set(range(len(order)))
    while left:
        circle = [left.pop()]
        while (following := int(order[circle[-1]])) in left:
            left.remove(following)
            circle.append(following)
        if len(circle) > 1:
            yield circle


def _swapped(counts: NDArray[np.int64], circle: list[int]) -> bool:
    renamed = [int(counts[i, j]) for i, j in zip(circle, [*circle[1:], circle[0]], strict=True)]
    kept = [int(counts[i, i]) for i in circle]
    more = all(new > old for new, old in zip(renamed, kept, strict=True))
    return more and bool(
        binomtest(sum(renamed), sum(renamed) + sum(kept), 0.5, alternative="greater").pvalue < ACCIDENT
    )


def _calibration(log_p: NDArray[np.float64], table: Table, rules: params.Promotion) -> dict[str, Any]:
    """The calibration error of the probabilities as they are served, which ECE's bias does not make larger on small tables."""
    error, bounds = calibration.error(
        table.labels, log_p.argmax(axis=1), log_p, metrics.BINS, rules.bootstrap.confidence
    )
    return {"calibration_error": error, "calibration_error_interval": bounds}


def _calibrated(figures: Mapping[str, Any], rows: int, rules: params.Promotion) -> Iterable[Check]:
    """Refuses what is certainly too far off, as with costs and losses of classes.

    Proof that it is near enough takes hundreds of rows, which a new project does not have, and a temperature mends what is wrong here
    without another training. Where the table is too small to tell, the check says so.
    """
    limit = rules.max_calibration_error
    if limit is None:
        return
    error, (low, high) = figures["calibration_error"], figures["calibration_error_interval"]
    text = f"calibration error is {error:.3f} ({low:.3f} to {high:.3f}); at most {limit:.3f} is allowed"
    if low <= limit < high:
        needed = margins.by_root(rows, error, low, limit) or margins.by_root(rows, -error, -high, -limit)
        enough = f"about {needed:,} like these would do" if needed else "more rows like these would not help"
        text = f"{text}; this cannot be judged on {rows:,} rows ({enough}), and only what is certainly above is refused"
    yield Check("calibration", bool(low <= limit), text)


def _ratios(challenger: Scored, champion: Scored, rules: params.Promotion) -> Iterable[Check]:
    if rules.max_size_ratio is not None:
        ratio = challenger.size / champion.size
        text = f"it has {challenger.size / 1e6:,.1f} MB, {ratio:.2f} times the champion's; allowed are {rules.max_size_ratio:.2f} times"
        yield Check("size", ratio <= rules.max_size_ratio, text)
    if rules.max_latency_ratio is not None:
        ratio, (low, high) = timing.ratio(challenger.latency, champion.latency, rules.bootstrap.confidence)
        found = f"a sample takes {np.median(challenger.latency):.1f} ms, {ratio:.2f} times the champion's ({low:.2f} to {high:.2f})"
        # A noisy machine makes the interval wide and no model slow: only what is certainly too slow is refused.
        yield Check(
            "latency",
            low <= rules.max_latency_ratio,
            f"{found}; the lower end may be {rules.max_latency_ratio:.2f}",
        )


def _costs(scored: Scored) -> dict[str, float]:
    return {"bytes": scored.size, "latency_p50_ms": float(np.median(scored.latency))}
