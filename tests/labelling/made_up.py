"""Learning curves that follow a known law, with the noise of draws and of rows."""

from functools import lru_cache

import numpy as np

from baton.labelling import curve, subsets

FLOOR, SCALE, EXPONENT = 0.05, 1.6, 0.5


def law(labels: float, scale: float = SCALE) -> float:
    return FLOOR + scale * labels**-EXPONENT


@lru_cache
def simulated(
    seed: int,
    labels: int = 1000,
    rows: int = 1000,
    draws: int = 5,
    scale: float = SCALE,
    noise: float = 0.3,
    floor_of_last: float = 0.0,
) -> curve.Curve:
    """Return a curve of two classes. The variance of a draw of n labels is noise**2 / n; N share all rows.

    A row of validation is wrong if its difficulty, and a little of its own for each model, is below the
    error. `floor_of_last` is added to the error at all labels.
    """
    draw = np.random.default_rng(seed)
    sizes = subsets.sizes(labels, 2)
    difficulty = draw.uniform(size=rows)
    answers = []
    for size in sizes:
        share = size / labels
        both = draw.normal()
        own = []
        for _ in range(draws):
            moved = noise / size**0.5 * (share**0.5 * both + (1 - share) ** 0.5 * draw.normal())
            error = law(size, scale) + moved + floor_of_last * (size == labels)
            again = draw.uniform(size=rows) < 0.1  # rows whose answer depends on the model
            own.append((np.where(again, draw.uniform(size=rows), difficulty) < error).astype(np.int64))
        answers.append(np.array([own[0]] * draws if size == labels else own))
    return curve.of_answers(sizes, np.array(answers), np.zeros(rows, np.int64), 2, "accuracy", 100, seed)
