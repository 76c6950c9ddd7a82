"""Measure how often the intervals of numbers hold the truth on few test rows, by simulation.

    python -m benchmarks.number_coverage [--trials 500] [--rows 5 10 20 30 50 100]

A model predicts 0.8 of a number plus an error, and another model makes similar errors. Numbers and errors are
normal, or both are exponential (`skew`), or errors are heavy-tailed (`t5`, Student's t with 5 degrees of
freedom). Each trial draws a test table and asks whether the 95% interval of each figure, and of each
difference between the two models, holds the figure of half a million rows. Printed: the share of trials in
which it does, and of those in which the truth lies below and above the interval.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import console, params
from baton.contracts.task_spec import Numbers
from baton.evaluate.number_outputs import NumberOutputs
from baton.evaluate.number_significance import COMPARED, NumberBootstrap
from baton.tasks import number_metrics

Floats = NDArray[np.float64]
KINDS = ("normal", "t5", "skew")
SPEC = Numbers(("number",), (0.0,), (1.0,), "mse", 0.9)
SETTINGS = params.Bootstrap(resamples=1000, confidence=0.95, seed=0)
WHOLE = 500_000


def drawn(kind: str, rows: int, seed: Any) -> tuple[Floats, Floats, Floats]:
    """Return targets and the predictions of two models, each (rows, 1)."""
    generator = np.random.default_rng(seed)

    def errors() -> Floats:
        match kind:
            case "t5":
                return 0.4 * generator.standard_t(5, rows)
            case "skew":
                return 0.4 * (generator.exponential(size=rows) - 1)
            case _:
                return 0.5 * generator.normal(size=rows)

    targets = generator.exponential(size=rows) if kind == "skew" else generator.normal(size=rows)
    first = errors()
    second = 0.8 * first + 0.75 * errors()
    return targets[:, None], (0.8 * targets + first)[:, None], (0.8 * targets + second)[:, None]


def truth(kind: str) -> dict[str, tuple[float, float]]:
    """Return figure -> that of the first model, and its difference to the second, on many rows."""
    targets, first, second = drawn(kind, WHOLE, 0)
    found = {
        name: [float(number_metrics.FIGURES[name](targets, own)[0]) for own in (first, second)]
        for name in COMPARED
    }
    return {name: (one, one - other) for name, (one, other) in found.items()}


def held(
    kind: str, rows: int, trials: int, known: dict[str, tuple[float, float]]
) -> dict[str, list[tuple[bool, bool]]]:
    """Return figure -> for each trial whether the truth is below, and whether it is above the interval."""
    found: dict[str, list[tuple[bool, bool]]] = {}
    for trial in range(trials):
        targets, *values = drawn(kind, rows, (rows, trial))
        outputs = {name: NumberOutputs(own) for name, own in zip("ab", values, strict=True)}
        boot = NumberBootstrap(targets, outputs, SPEC, SETTINGS)
        figures = boot.figures("a")
        for name, (one, change) in known.items():
            ends: Any = {
                name: figures[f"{name}_interval"],
                f"{name}_difference": boot.difference("a", "b", name)[1],
            }
            for key, value in zip(ends, (one, change), strict=True):
                found.setdefault(key, []).append((value < ends[key][0], value > ends[key][1]))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each kind, number of rows and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--rows", type=int, nargs="+", default=[5, 10, 20, 30, 50, 100])
    asked = parser.parse_args(arguments)
    for kind in KINDS:
        known = truth(kind)
        for rows in asked.rows:
            for figure, misses in held(kind, rows, asked.trials, known).items():
                below, above = 100 * np.mean(misses, axis=0)
                console.say(
                    f"{kind} {rows} {figure}: {100 - below - above:.1f}% "
                    f"({below:.1f}% below, {above:.1f}% above)"
                )


if __name__ == "__main__":
    console.run(main)
