"""The gate: decide whether a challenger replaces the champion.

The functions are pure; their inputs are both models' answers on one test table. Every rule is a `Check`
with its own reason in words; the verdict is their conjunction, so every failed rule is reported, not only the
first. The rule between challenger and champion is in `margins`; the floors for every challenger are in
`floors`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import TaskSpec
from baton.errors import ParamsError
from baton.evaluate import task_reports, timing
from baton.evaluate.task_reports import TaskReports
from baton.lifecycle.promotion import floors, label_calibration, margins
from baton.lifecycle.promotion.verdicts import CHALLENGER, CHAMPION, SOME, Check, Marks, Verdict
from baton.lifecycle.test_table import Table
from baton.tasks import figure_scale, metrics, task_figures


@dataclass(frozen=True)
class Scored:
    """A model's answers on the table, and its costs."""

    answers: pd.DataFrame  # as served, one row per row of the table
    size: int  # bytes of the model folder
    # Milliseconds of single samples: the same samples in the same order for every model, measured in turns.
    latency: NDArray[np.float64]
    training_rows: frozenset[str] | None  # digests; None if unknown


def decide(
    table: Table,
    challenger: Scored,
    champion: Scored | None,
    rules: params.Promotion,
    marks: Marks | None = None,
) -> Verdict:
    """Judge a challenger against the champion, or against `first_minimum` if there is none.

    Args:
        table: the test table.
        challenger: the challenger's answers on it.
        champion: the champion's, if there is one.
        rules: the rules of params.promotion.
        marks: what was reached on the table earlier.
    """
    both = {CHALLENGER: challenger} | ({CHAMPION: champion} if champion else {})
    known = [_fits(name, scored, table) for name, scored in both.items()]
    checks = [*known, *(_leakage(name, scored, table) for name, scored in both.items())]
    if not all(check.passed for check in known):  # nothing can be compared
        return Verdict(tuple(checks), {})
    reports, targets = task_reports.of(table.task), table.targets
    if len(table.ids) < reports.fewest:
        return Verdict((*checks, _too_few(table, reports)), {})
    outputs = {name: reports.served(scored.answers) for name, scored in both.items()}
    bootstrap = reports.bootstrap(targets, outputs, metrics.BINS, rules.bootstrap)
    figures: dict[str, Any] = {
        name: bootstrap.figures(name) | _calibration(reports, targets, own, rules) | _costs(both[name])
        for name, own in outputs.items()
    }
    if (named := reports.label_map(targets, outputs[CHALLENGER])) is not None:
        checks.append(Check("label map", *named))
    if champion:
        figures["comparison"] = reports.paired(bootstrap, CHALLENGER, CHAMPION)
        checks += [
            margins.better(figures["comparison"], len(table.ids), rules, reports),
            *_ratios(challenger, champion, rules),
        ]
    else:
        checks.append(margins.first(figures[CHALLENGER], len(table.ids), rules, reports))
    found = {name: reports.found(targets, own) for name, own in outputs.items()}
    checks += [
        *floors.of_names(found, table.task, rules),
        *floors.permanent(figures, marks or Marks(), rules, figure_scale.of(reports.figures, rules.metric)),
    ]
    checks += _calibrated(figures[CHALLENGER], len(table.ids), rules)
    checks += label_calibration.checks(table.task, outputs[CHALLENGER], targets, rules)
    return Verdict(tuple(checks), figures)


def check_metric(rules: params.Promotion, task: TaskSpec) -> None:
    """Refuse a metric by which the gate cannot decide.

    Raises:
        ParamsError: it is not a figure of the task.
    """
    known = task_figures.of(task).gated
    if rules.metric not in known:
        raise ParamsError(
            f"promotion.metric is not a figure by which the gate judges the task `{task.kind}`",
            got=rules.metric,
            expected=", ".join(known),
            hint="set it to one of them",
        )


def _fits(name: str, scored: Scored, table: Table) -> Check:
    """Check that a model's answers are those of the table's task.

    A champion may lack what is new, if it is merely wrong there. Other names for its outputs would make it
    look worse than it is.
    """
    kind, misfit = table.task.kind, task_figures.of(table.task).misfit(scored.answers)
    if misfit is None:
        return Check(kind, True, f"the {name} knows the table's {kind}")
    if name == CHAMPION and misfit.comparable:
        lacking = f"the champion lacks {kind} of {table.path} ({misfit.text}) and cannot be right on them"
        return Check(kind, True, lacking)
    return Check(kind, False, f"the {name} does not have the {kind} of {table.path}: {misfit.text}")


def _too_few(table: Table, reports: TaskReports) -> Check:
    """Return the check that fails because no interval of so few rows holds what it says."""
    text = (
        f"{table.path} has {len(table.ids):,} rows, too few to judge {table.task.kind} by: at least "
        f"{reports.fewest} are needed"
    )
    return Check("rows", False, text)


def _leakage(name: str, scored: Scored, table: Table) -> Check:
    if scored.training_rows is None:
        return Check(
            "leakage",
            False,
            f"the training data of the {name} is unknown and may include the test rows; register it again",
        )
    what = "rows and images" if table.images else "rows"
    seen = [
        [digest in scored.training_rows for digest in own] for own in (table.digests, table.images) if own
    ]
    known = [row for row, *marks in zip(table.ids, *seen, strict=True) if any(marks)]
    if not known:
        return Check(
            "leakage",
            True,
            f"no test row was in the {name}'s training data ({len(scored.training_rows):,} {what})",
        )
    some = ", ".join(known[:SOME])
    return Check(
        "leakage",
        False,
        f"{len(known):,} of {len(table.ids):,} test rows were in the {name}'s training data: {some}",
    )


def _calibration(
    reports: TaskReports, targets: NDArray[Any], outputs: Any, rules: params.Promotion
) -> dict[str, Any]:
    """Return the calibration error of the answers; for probabilities, unlike ECE, it has no bias."""
    found = reports.calibration(targets, outputs, metrics.BINS, rules.bootstrap.confidence)
    if found is None:
        return {}
    error, bounds = found
    return {"calibration_error": error, "calibration_error_interval": bounds}


def _calibrated(figures: Mapping[str, Any], rows: int, rules: params.Promotion) -> Iterable[Check]:
    """Refuse a calibration error that is certainly too large, as for costs and losses of classes.

    Proving that the error is small enough takes hundreds of rows, which a new project does not have, and a
    temperature corrects it without another training run. If the table is too small to decide, the check says
    so.
    """
    limit = rules.max_calibration_error
    if limit is None:
        return
    error, (low, high) = figures["calibration_error"], figures["calibration_error_interval"]
    text = f"calibration error is {error:.3f} ({low:.3f} to {high:.3f}); at most {limit:.3f} is allowed"
    if low <= limit < high:
        needed = margins.by_root(rows, error, low, limit) or margins.by_root(rows, -error, -high, -limit)
        enough = (
            f"about {needed:,} similar rows would be enough" if needed else "more similar rows would not help"
        )
        text = (
            f"{text}; this cannot be judged on {rows:,} rows ({enough}), so only an error certainly above "
            "the limit is refused"
        )
    yield Check("calibration", bool(low <= limit), text)


def _ratios(challenger: Scored, champion: Scored, rules: params.Promotion) -> Iterable[Check]:
    if rules.max_size_ratio is not None:
        ratio = challenger.size / champion.size
        text = (
            f"it takes {challenger.size / 1e6:,.1f} MB, {ratio:.2f} times the champion's size; at most "
            f"{rules.max_size_ratio:.2f} times is allowed"
        )
        yield Check("size", ratio <= rules.max_size_ratio, text)
    if rules.max_latency_ratio is not None:
        ratio, (low, high) = timing.ratio(challenger.latency, champion.latency, rules.bootstrap.confidence)
        found = (
            f"one sample takes {np.median(challenger.latency):.1f} ms, {ratio:.2f} times the champion's "
            f"({low:.2f} to {high:.2f})"
        )
        # A busy machine widens the interval but makes no model slow: only a model that is certainly too slow
        # is refused.
        yield Check(
            "latency",
            low <= rules.max_latency_ratio,
            f"{found}; the lower end may be at most {rules.max_latency_ratio:.2f}",
        )


def _costs(scored: Scored) -> dict[str, float]:
    return {"bytes": scored.size, "latency_p50_ms": float(np.median(scored.latency))}
