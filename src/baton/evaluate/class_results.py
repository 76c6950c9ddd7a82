"""The figures of classifiers in reports/metrics.json, beyond those of `significance`.

Inputs: labels and outputs of the test rows per model -> calibration figures, skill, retention.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import intervals
from baton.evaluate.baselines import Outputs
from baton.evaluate.calibration import error, reliability
from baton.evaluate.inputs import Rows
from baton.evaluate.resampling import means
from baton.evaluate.significance import Bootstrap
from baton.tasks import metrics

SCALED = ("log_loss", "brier", "ece")
ENDINGS = ("", "_interval", "_difference", "_difference_interval", "_p", "_holm_p")
CALIBRATION = ("temperature", "calibration_error", "calibration_error_scaled")


def calibrations(
    test: Rows, outputs: Mapping[str, Outputs], settings: params.Evaluate
) -> dict[str, dict[str, Any]]:
    """Return the calibration figures of every model.

    Model -> temperature; log loss, Brier score and ECE as trained; calibration error as trained and at the
    temperature.
    """
    bins, resampling = settings.calibration_bins, settings.bootstrap
    # (rows, 2 * models).
    losses = np.hstack([metrics.losses(test.targets, one.log_p) for one in outputs.values()])
    raw = (([float(end) for end in column]) for column in np.vstack(means(losses, resampling)).T)
    result: dict[str, dict[str, Any]] = {}
    for name, one in outputs.items():
        own: dict[str, Any] = {"temperature": one.temperature}
        for figure in ("log_loss", "brier"):
            own[figure], *own[f"{figure}_interval"] = next(raw)
        own["ece"] = reliability(test.targets, one.predicted, one.log_p, bins).ece
        for ending, log_p in (("", one.log_p), ("_scaled", one.scaled)):
            found = error(test.targets, one.predicted, log_p, bins, resampling.confidence)
            own[f"calibration_error{ending}"], own[f"calibration_error{ending}_interval"] = found
        result[name] = own
    return result


def renamed(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the same figures with those of `SCALED`, at the temperature, named `<figure>_scaled`."""
    places = {f"{figure}{ending}": f"{figure}_scaled{ending}" for figure in SCALED for ending in ENDINGS}
    return {places.get(name, name): value for name, value in figures.items()}


def retention(boot: Bootstrap, result: Mapping[str, Any], majority: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the student's skill, accuracy and macro F1 over the teacher's, without undefined ones."""
    return _skill_kept(result, majority) | boot.ratios("student", "teacher", ("accuracy", "macro_f1"))


def agree(result: dict[str, Any], best: str | None, confidence: float) -> None:
    """Extend intervals so that they agree with the report's tests.

    If a test does not distinguish two models, the interval of each figure that compares them is extended to
    the value that means no difference.
    """
    same = [("student", "teacher", result["retention"], figure, 1.0) for figure in ("accuracy", "skill")]
    same += [(name, best, result[name], "errors_removed", 0.0) for name in ("teacher", "student") if best]
    for first, second, figures, figure, value in same:
        distinguished = result["comparison"][f"{first}_vs_{second}"]["holm_p"] < 1 - confidence
        if not distinguished and f"{figure}_interval" in figures:
            low, high = figures[f"{figure}_interval"]
            figures[f"{figure}_interval"] = [min(value, low), max(value, high)]


def removed(
    name: str, hits: NDArray[np.bool_], others: NDArray[np.bool_], confidence: float
) -> dict[str, Any]:
    """Return the share of the others' mistakes that are avoided; empty if the others make none."""
    found = intervals.errors_removed(hits, others, confidence)
    return {name: found[0], f"{name}_interval": found[1]} if found else {}


def _skill_kept(result: Mapping[str, Any], majority: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the student's skill over the teacher's; empty if the teacher has none.

    The teacher's gain over the majority class is treated as known, so the interval is that of the difference
    in accuracy.
    """
    gained, own = (
        result["teacher"]["accuracy"] - float(majority.mean()),
        result["comparison"]["student_vs_teacher"],
    )
    if gained <= 0:
        return {}
    bounds = [1 + bound / gained for bound in own["accuracy_difference_interval"]]
    return {"skill": 1 + own["accuracy_difference"] / gained, "skill_interval": bounds}
