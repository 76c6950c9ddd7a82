"""The floors below which no challenger may fall, however good its average.

They apply to every class and to what was reached earlier on the same test table.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import TaskSpec
from baton.evaluate import proportions
from baton.evaluate.results import rounded
from baton.lifecycle.promotion.verdicts import CHALLENGER, CHAMPION, Check, Mark, Marks, some
from baton.tasks.figure_scale import Scale

Hits = NDArray[np.bool_]
# The name (an index) of each target, and whether the model found it, both (targets,): `TaskReports.found`.
Found = tuple[NDArray[np.int64], Hits]


def of_names(found: Mapping[str, Found], task: TaskSpec, rules: params.Promotion) -> Iterable[Check]:
    """Check the recall of each name, alone and, if there is a champion, against the champion's."""
    if rules.class_floor is None:
        return
    names, new = found[CHALLENGER]
    yield _lowest(names, new, task, rules.class_floor)
    if CHAMPION in found:
        _, old = found[CHAMPION]
        yield _losses(names, (new, old), task, rules.class_floor, 1 - rules.bootstrap.confidence)


def permanent(
    figures: Mapping[str, Any], marks: Marks, rules: params.Promotion, metric: Scale
) -> Iterable[Check]:
    """Check a challenger against what was reached earlier on this table.

    Without this check, a chain of challengers, each only slightly worse, would lead downwards. Baselines are
    known to the precision of metrics.json, so everything is compared at that precision: otherwise the omitted
    digits would decide a tie.
    """
    floor, value = rules.permanent_floor, rounded(figures[CHALLENGER][rules.metric])
    measured, gain = f"the challenger's {rules.metric} is {metric.value(value, 2)}", metric.gain(value)
    above, below = ("above", "below") if metric.direction > 0 else ("below", "above")
    if floor is None:
        return
    if floor.below_best is not None:
        now = [Mark("the current champion", figures[CHAMPION][rules.metric])] if CHAMPION in figures else []
        best = metric.best([*([marks.champion] if marks.champion else []), *now], lambda mark: mark.value)
        if best:
            room = f"{metric.number(floor.below_best)}{metric.points}"
            wanted = f"at most {room} {below} the best champion so far on this table"
            text = f"{measured} and must be {wanted}, {best.name}: {metric.value(best.value, 2)}"
            least = rounded(metric.gain(best.value) - floor.below_best)
            yield Check("best champion", bool(gain >= least), text)
    if floor.below_baseline is not None:
        if marks.baseline is None:
            yield Check(
                "baseline",
                True,
                "not judged against baselines: no `evaluate` run in this store measured any on this table",
            )
            return
        room = f"less than {metric.number(floor.below_baseline)}{metric.points} {below}"
        wanted = room if floor.below_baseline else above
        text = (
            f"{measured} and must be {wanted} the best baseline, {marks.baseline.name}: "
            f"{metric.value(marks.baseline.value, 2)}"
        )
        least = rounded(metric.gain(marks.baseline.value) - floor.below_baseline)
        yield Check("baseline", bool(gain > least), text)


def _lowest(names: NDArray[np.int64], hits: Hits, task: TaskSpec, floor: params.ClassFloor) -> Check:
    rows, right = (np.bincount(own, minlength=len(task.names)) for own in (names, names[hits]))
    judged = [
        (right[place] / count, name, count)
        for place, (name, count) in enumerate(zip(task.names, rows, strict=True))
        if count >= floor.rows
    ]
    small = [
        f"{name} ({count:,} rows)" for name, count in zip(task.names, rows, strict=True) if count < floor.rows
    ]
    left = f"; not judged: {some(small)}" if small else ""
    wanted = f"every {task.word} with {floor.rows} test rows must reach {100 * floor.recall:.1f}%"
    if not judged:
        hint = "use a larger test table, lower promotion.class_floor.rows, or set class_floor to null"
        return Check(
            f"{task.word} floor",
            False,
            f"no {task.word} has {floor.rows} test rows, so none can be judged ({hint}){left}",
        )
    recall, name, count = min(judged)
    text = f"recall is lowest for {name}: {100 * recall:.1f}% of {count:,} rows; {wanted}{left}"
    return Check(f"{task.word} floor", bool(recall >= floor.recall), text)


def _losses(
    names: NDArray[np.int64], hits: tuple[Hits, Hits], task: TaskSpec, floor: params.ClassFloor, level: float
) -> Check:
    """Check that no name loses significantly more than `floor.loss` against the champion.

    The p-values are adjusted for the number of names (Holm 1979). A name is judged if it has rows, and
    losing every one that the champion has right would be significant. `hits` are those of the challenger and
    of the champion.
    """
    (new, old), classes = hits, len(task.names)
    rows, right, only_new, only_old = (
        np.bincount(names[own], minlength=classes)
        for own in (np.full(len(new), True), old, new & ~old, old & ~new)
    )
    judged = [
        place
        for place in range(classes)
        if rows[place] and classes * _lost(int(right[place]), 0, int(rows[place]), floor.loss) < level
    ]
    small = [
        f"{task.names[place]} ({rows[place]:,} rows, {right[place]:,} right)"
        for place in range(classes)
        if place not in judged
    ]
    left = f"; not judged, because even losing every row could be chance: {some(small)}" if small else ""
    p_values = proportions.holm(
        [_lost(int(only_old[place]), int(only_new[place]), int(rows[place]), floor.loss) for place in judged]
    )
    worse = []
    for place, p in zip(judged, p_values, strict=True):
        if p < level:
            then, now = (
                right[place] / rows[place],
                (right[place] - only_old[place] + only_new[place]) / rows[place],
            )
            worse.append(
                (
                    p,
                    (
                        f"{task.names[place]} from {100 * then:.1f}% to {100 * now:.1f}% of "
                        f"{rows[place]:,} rows (p = {p:.2g})"
                    ),
                )
            )
    allowed = f"no {task.word} may lose significantly more than {100 * floor.loss:.1f} points"
    if worse:
        return Check(
            f"{task.word} losses",
            False,
            (
                "recall falls further below the champion's than allowed: "
                f"{some([text for _, text in sorted(worse)])}; {allowed}{left}"
            ),
        )
    text = f"no {task.word} has lost significantly more than allowed against the champion"
    return Check(f"{task.word} losses", True, f"{text} ({len(judged)} judged; {allowed}){left}")


def _lost(only_old: int, only_new: int, rows: int, loss: float) -> float:
    """Return the one-sided p-value of "at most `loss` is lost".

    It is that of Tango's score test or McNemar's mid-p for "nothing is lost", whichever is larger: with few
    rows the score test, an approximation, becomes significant too early.
    """
    return max(
        proportions.noninferiority_p(only_old, only_new, rows, -loss),
        proportions.mcnemar_midp(only_old, only_new, "greater"),
    )
