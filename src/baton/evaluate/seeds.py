"""The effect of training seeds: mean and deviation over seeds, student and control paired by seed.

Inputs: the seeds trained and the seed used (metrics/*.json), their figures on test -> the section `seeds` of
metrics.json, and sentences about it. The intervals of `significance` vary the test rows and keep the models;
here the training runs vary and the rows stay. Only this can judge a method: one student may beat one control
by the luck of a seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import storage
from baton.contracts.predictions import HINT
from baton.errors import DataError
from baton.evaluate import proportions
from baton.evaluate.inputs import Rows, read_fitted, read_logits
from baton.evaluate.report.wording import p_value, spelled
from baton.evaluate.task_reports import TaskReports
from baton.tasks import task_figures
from baton.tasks.figure_scale import Scale

PAIR = ("student", "control")  # for each seed, both see the same batches in the same order
ROUNDING = 1e-9


@dataclass(frozen=True)
class Seeds:
    """The training runs of one model."""

    chosen: int  # by validation
    all: tuple[int, ...]  # ascending


def read(paths: Sequence[Path]) -> dict[str, Seeds]:
    """Return model -> its seeds, as written by `finetune` and `distill`.

    Raises:
        DataError: a file is missing or has another form.
    """
    found: dict[str, Seeds] = {}
    for path in paths:
        try:
            content = storage.read_json(path)
            trained = tuple(int(seed) for seed in content["seeds"])
            found |= {
                name: Seeds(own["seed"], tuple(sorted(trained)))
                for name, own in content.items()
                if name != "seeds"
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            expected = "validation figures of every seed, and the seed that is used"
            raise DataError(f"{path} cannot be read", got=repr(error), expected=expected, hint=HINT) from None
    return found


def test_figures(
    task: TaskReports, seeds: Mapping[str, Seeds], predictions: Path, test: Rows
) -> dict[str, dict[int, dict[str, float]]]:
    """Return model -> seed -> its figures on test.

    Inputs: predictions/MODEL/SEED.parquet, and SEED.json if what is fitted decides.
    """

    def of_seed(folder: Path, seed: int) -> dict[str, float]:
        logits = read_logits(folder / f"{seed}.parquet", test, task.spec.width)
        fitted = read_fitted(folder, f"{seed}.json") if task_figures.decides(task.spec) else {}
        return task.of_seed(logits, test.targets, fitted)

    return {
        name: {seed: of_seed(predictions / name, seed) for seed in own.all} for name, own in seeds.items()
    }


def figures(
    seeds: Mapping[str, Seeds],
    test: Mapping[str, Mapping[int, Mapping[str, float]]],
    shown: Sequence[str],
    confidence: float,
) -> dict[str, Any]:
    """Return the section `seeds`.

    Args:
        seeds: of each model.
        test: model -> seed -> its figures on test.
        shown: the figures to summarise.
        confidence: of the intervals.

    Returns:
        model -> `chosen`, `all`, and for each of `shown` its values in the order of `all`, `_mean` and, with
            two or more, `_deviation` (n - 1); `comparison` -> student_vs_control -> see `paired`, with two or
            more seeds.
    """
    result: dict[str, Any] = {}
    for name, own in seeds.items():
        result[name] = {"chosen": own.chosen, "all": list(own.all)}
        for figure in shown:
            result[name] |= spread(figure, [test[name][seed][figure] for seed in own.all])
    both = seeds[PAIR[0]].all
    if len(both) > 1:
        first, second = ([test[name][seed] for seed in both] for name in PAIR)
        result["comparison"] = {"student_vs_control": paired(first, second, shown, confidence)}
    return result


def spread(figure: str, values: Sequence[float]) -> dict[str, Any]:
    """Return a figure's values, mean and deviation (n - 1)."""
    result = {figure: list(values), f"{figure}_mean": float(np.mean(values))}
    return result | ({f"{figure}_deviation": float(np.std(values, ddof=1))} if len(values) > 1 else {})


def paired(
    first: Sequence[Mapping[str, float]],
    second: Sequence[Mapping[str, float]],
    shown: Sequence[str],
    confidence: float,
) -> dict[str, Any]:
    """Return `first` minus `second`, paired by seed.

    The keys end in `_difference` (mean), `_difference_deviation`, `_difference_interval` and `_p`. This is
    Student's paired t-test (1908) and its interval. If all seeds differ by the same amount, which can happen
    to the accuracy on a small table, the spread of differences is unknown: there is no interval and no p.
    """
    result: dict[str, Any] = {"seeds": len(first)}
    for figure in shown:
        differences = np.array(
            [one[figure] - other[figure] for one, other in zip(first, second, strict=True)]
        )
        # Shares of rows differ by at least 1 / rows, errors by some part of themselves; less is rounding.
        size = max(abs(own[figure]) for own in (*first, *second))
        found = student(differences, confidence, min(1.0, size))
        result[f"{figure}_difference"] = found.mean
        result[f"{figure}_difference_deviation"] = float(differences.std(ddof=1))
        if found.interval is not None and found.p is not None:
            result |= {f"{figure}_difference_interval": [*found.interval], f"{figure}_p": found.p}
    return result


@dataclass(frozen=True)
class Mean:
    """The mean of values, with what Student's t (1908) says of it."""

    mean: float
    interval: tuple[float, float] | None = None
    p: float | None = None


def student(values: NDArray[np.float64], confidence: float, size: float = 1.0) -> Mean:
    """Return the mean of `values` (n,), with its interval and the p of a mean of 0.

    There is neither with one value, nor if all are equal, up to rounding of figures of this `size`: their
    spread is then unknown.
    """
    from scipy.stats import ttest_1samp

    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) <= ROUNDING * size:
        return Mean(mean)
    tested = ttest_1samp(values, 0.0)
    low, high = tested.confidence_interval(confidence)
    return Mean(mean, (float(low), float(high)), float(tested.pvalue))


def said(section: Mapping[str, Any], main: Scale, confidence: float) -> list[str]:
    """Return what several seeds show in the main figure, as sentences; empty for one seed."""
    parts, figure, name_ = [], main.name, spelled(main.name)
    for name in ("teacher", *PAIR):
        own = section[name]
        if f"{figure}_deviation" in own:
            spread_ = f"{main.number(own[f'{figure}_mean'])} ± {main.value(own[f'{figure}_deviation'])}"
            parts.append(f"{name} {spread_} ({len(own['all'])} seeds, {own['chosen']} is used)")
    first = name_[0].upper() + name_[1:]
    sentences = [f"{first} over seeds, mean ± deviation: {'; '.join(parts)}."] if parts else []
    if "comparison" in section:
        sentences.insert(0, _verdict(section["comparison"]["student_vs_control"], main, confidence))
    return sentences


def _verdict(own: Mapping[str, Any], main: Scale, confidence: float) -> str:
    """Return the verdict on the method, over seeds: by the main figure, and by others that differ."""
    key = f"{main.name}_difference"
    change, deviation = main.number(own[key], 2, "+"), main.number(own[f"{key}_deviation"], 2)
    shown = f"{change} ± {deviation}{main.points} of {spelled(main.name)}"
    over, others = f"over {own['seeds']} seeds", _others(own, main, 1 - confidence)
    unclear = f"[bold]It is not clear whether distillation helps[/] {over}"
    if others:
        unclear = f"Distillation {others} on these test rows, {over}; in {spelled(main.name)} it is not clear"
    if f"{main.name}_p" not in own:
        same = (
            "the student differs from its control by the same amount in each, "
            "so a test has no deviation to go by"
        )
        return f"{unclear}: {same} ({shown})."
    low, high = (main.number(end, 2, "+") for end in own[f"{key}_interval"])
    p = f"t-test paired by seed {p_value(own[f'{main.name}_p'])}"
    evidence = f"{shown}, {100 * confidence:.0f}% interval {low} to {high}, {p}"
    if own[f"{main.name}_p"] >= 1 - confidence:
        return f"{unclear} ({evidence})."
    helps = main.gain(own[key]) > 0
    verdict = "[bold green]Distillation helps[/]" if helps else "[bold red]Distillation hurts[/]"
    return f"{verdict} on these test rows, {over} ({evidence}){f'; it {others}' if others else ''}."


def _others(own: Mapping[str, Any], main: Scale, limit: float) -> str:
    """Return in which other figures distillation helps or hurts, "" if in none.

    Their p-values are adjusted for each other by Holm's method.
    """
    from baton.evaluate.report.differences import figure_name, listed, scale_of, signed

    names = [key.removesuffix("_p") for key in own if key.endswith("_p") and key != f"{main.name}_p"]
    sides: dict[str, list[str]] = {"helps": [], "hurts": []}
    for name, p in zip(names, proportions.holm([own[f"{name}_p"] for name in names]), strict=True):
        if p < limit:
            scale, change = scale_of(name), own[f"{name}_difference"]
            shown = f"{figure_name(name)} ({signed(scale, change)}{scale.points}, {p_value(p)})"
            sides["helps" if scale.gain(change) > 0 else "hurts"].append(shown)
    return " and ".join(f"[bold]{word}[/] in {listed(some)}" for word, some in sides.items() if some)
