"""The content of reports/metrics.json.

Inputs: labels and outputs of val and test per model -> figures with intervals, paired comparisons and
retention. `dvc metrics show` omits lists (the intervals), and so shows only the figures themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.evaluate import intervals, ranking
from baton.evaluate.baselines import Outputs
from baton.evaluate.calibration import error, reliability
from baton.evaluate.inputs import Curve, Rows
from baton.evaluate.multiple_comparisons import compared
from baton.evaluate.report.image_galleries import Gallery, Sheet
from baton.evaluate.robustness import Robustness
from baton.evaluate.significance import Bootstrap, means
from baton.tasks import metrics

TRANSFORMERS = ("teacher", "student", "control")
SCALED = ("log_loss", "brier", "ece")
ENDINGS = ("", "_interval", "_difference", "_difference_interval", "_p", "_holm_p")

CALIBRATION = ("temperature", "calibration_error", "calibration_error_scaled")


@dataclass(frozen=True)
class Evaluation:
    """Everything that is shown: the source of tables and figures."""

    names: list[str]  # of the classes
    test: Rows
    outputs: dict[str, Outputs]  # model -> its answers on test; transformers first, then baselines
    bootstrap: Bootstrap
    curves: dict[str, Curve]
    best: str | None  # the strongest baseline
    bins: int
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)  # kept column -> values of the test rows
    robustness: Robustness | None = None  # this and the following: for images, if requested
    galleries: Mapping[str, Gallery] = field(default_factory=dict)  # model -> its mistakes
    sheet: Sheet | None = None

    @property
    def drawn(self) -> dict[str, Outputs]:
        """The transformers and the strongest baseline."""
        return {name: self.outputs[name] for name in (*TRANSFORMERS, *([self.best] if self.best else []))}


def bootstrap(test: Rows, outputs: dict[str, Outputs], classes: int, settings: params.Evaluate) -> Bootstrap:
    """Resample the test rows once for all models in `outputs`, with probabilities at the temperature."""
    bins = settings.calibration_bins
    statistics = {
        name: metrics.statistics(test.labels, one.predicted, classes, one.scaled, bins)
        for name, one in outputs.items()
    }
    return Bootstrap(statistics, classes, settings.bootstrap)


def calibrations(
    test: Rows, outputs: dict[str, Outputs], settings: params.Evaluate
) -> dict[str, dict[str, Any]]:
    """Return the calibration figures of every model.

    Model -> temperature; log loss, Brier score and ECE as trained; calibration error as trained and at the
    temperature.
    """
    bins, resampling = settings.calibration_bins, settings.bootstrap
    # (rows, 2 * models).
    losses = np.hstack([metrics.losses(test.labels, one.log_p) for one in outputs.values()])
    raw = (([float(end) for end in column]) for column in np.vstack(means(losses, resampling)).T)
    result: dict[str, dict[str, Any]] = {}
    for name, one in outputs.items():
        own: dict[str, Any] = {"temperature": one.temperature}
        for figure in ("log_loss", "brier"):
            own[figure], *own[f"{figure}_interval"] = next(raw)
        own["ece"] = reliability(test.labels, one.predicted, one.log_p, bins).ece
        for ending, log_p in (("", one.log_p), ("_scaled", one.scaled)):
            found = error(test.labels, one.predicted, log_p, bins, resampling.confidence)
            own[f"calibration_error{ending}"], own[f"calibration_error{ending}_interval"] = found
        result[name] = own
    return result


def renamed(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the same figures with those of `SCALED`, at the temperature, named `<figure>_scaled`."""
    places = {f"{figure}{ending}": f"{figure}_scaled{ending}" for figure in SCALED for ending in ENDINGS}
    return {places.get(name, name): value for name, value in figures.items()}


def strongest(baselines: Sequence[str], val: Rows, outputs: dict[str, Outputs]) -> str | None:
    """Return the baseline with the best validation accuracy; None without baselines.

    Ties go to the first. Test plays no part in the choice.
    """
    return max(baselines, key=lambda name: accuracy(val, outputs[name]), default=None)


def accuracy(rows: Rows, outputs: Outputs) -> float:
    """Return the share of `rows` with the right class."""
    return float((outputs.predicted == rows.labels).mean())


def build(
    boot: Bootstrap,
    splits: dict[str, Rows],
    outputs: dict[str, dict[str, Outputs]],
    more: dict[str, dict[str, Any]],
    confidence: float,
    recommended: str | None = None,
) -> dict[str, Any]:
    """Return the figures of every model, comparisons and retention.

    Args:
        boot: resampled test statistics of every model, at its temperature.
        splits: train (for its most frequent class), val and test.
        outputs: of every model on val and test, including teacher, student and control; all others are
            baselines.
        more: further figures of the models, such as `parameters`, `bytes` and the result of `calibrations`.
        confidence: of the intervals.
        recommended: a model to compare with the strongest baseline too, whichever it is.

    Returns:
        model -> figure and figure_interval, `skill` over train's most frequent class, `errors_removed` of the
            strongest baseline's (transformers), the figures of `more`, val_accuracy and C (baselines);
            `comparison` -> pair -> see `compared`; `retention` -> student / teacher (absent if the teacher's
            figure is 0); `test` -> the split measured on. All have 6 significant digits.
    """
    test = splits["test"]
    hits = {name: one.predicted == test.labels for name, one in outputs["test"].items()}
    baselines = [name for name in hits if name not in TRANSFORMERS]
    best = strongest(baselines, splits["val"], outputs["val"])
    majority = test.labels == np.bincount(splits["train"].labels).argmax()
    result: dict[str, Any] = {name: renamed(boot.figures(name)) | more.get(name, {}) for name in hits}
    for name, one in outputs["test"].items():
        result[name] |= ranking.figures(test.labels, one.scaled, confidence)
        result[name] |= _removed("skill", hits[name], majority, confidence)
        if best and name in TRANSFORMERS:
            result[name] |= _removed("errors_removed", hits[name], hits[best], confidence)
    for name in baselines:
        # The strongest baseline is chosen by this.
        result[name]["val_accuracy"] = accuracy(splits["val"], outputs["val"][name])
        chosen = outputs["test"][name].C
        result[name] |= {} if chosen is None else {"C": chosen}
    pairs = [("student", "control"), ("student", "teacher")] + (
        [("teacher", best), ("student", best)] if best else []
    )
    if best and recommended and recommended != best and (recommended, best) not in pairs:
        pairs.append((recommended, best))
    result["comparison"] = {pair: renamed(own) for pair, own in compared(boot, pairs).items()}
    result["retention"] = _skill_kept(result, majority)
    for figure in ("accuracy", "macro_f1"):
        ratio = boot.ratio("student", "teacher", figure)
        if ratio is not None:
            result["retention"][figure], result["retention"][f"{figure}_interval"] = ratio
    _agree(result, best, confidence)
    result["test"] = {
        "rows": len(test.labels),
        "classes": boot.classes,
        "confidence": confidence,
        "baselines": baselines,
        "strongest_baseline": best,
    }
    figures: dict[str, Any] = rounded(result)
    return figures


def _agree(result: dict[str, Any], best: str | None, confidence: float) -> None:
    """Extend intervals so that they agree with the report's tests.

    If a test does not distinguish two models, the interval of each figure that compares them is extended to
    the value that means no difference.
    """
    same = [("student", "teacher", result["retention"], figure, 1.0) for figure in ("accuracy", "skill")]
    same += [(name, best, result[name], "errors_removed", 0.0) for name in ("teacher", "student") if best]
    for first, second, figures, figure, value in same:
        told = result["comparison"][f"{first}_vs_{second}"]["holm_p"] < 1 - confidence
        if not told and f"{figure}_interval" in figures:
            low, high = figures[f"{figure}_interval"]
            figures[f"{figure}_interval"] = [min(value, low), max(value, high)]


def _removed(
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


def rounded(value: Any) -> Any:
    """Round all floats to 6 significant digits.

    That is more than 2000 resamples can resolve, and independent of the order in which a processor sums.
    """
    match value:
        case dict():
            return {key: rounded(item) for key, item in value.items()}
        case list():
            return [rounded(item) for item in value]
        case float():
            return float(f"{value:.6g}")
        case _:
            return value
