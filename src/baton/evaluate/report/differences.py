"""Differences between two models in every figure that was compared, and what can be said of them.

Input: the section `comparison` of metrics.json -> `Difference`s, and sentences. A sentence that finds no
difference names the figures in which none was found, and is only written if none of them shows one: two
models with equal accuracy may differ in macro F1 or in log loss.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baton.evaluate.evaluation import TRANSFORMERS
from baton.evaluate.report.wording import spelled
from baton.tasks.figure_scale import Scale

END = "_difference"
# Figures of which less is better, and those that are no shares.
LOWER = ("log_loss", "brier", "mae", "rmse", "hamming_loss", "coverage_error", "ranking_loss")
NAMES = {
    "brier": "Brier score",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "chrf": "chrF",
    "bleu": "BLEU",
    "hamming_loss": "Hamming loss",
}
PLAIN = (*LOWER, "r2", "spearman", "pearson")


@dataclass(frozen=True)
class Difference:
    """The first model's figure minus the second's."""

    first: str
    second: str
    scale: Scale
    value: float
    interval: tuple[float, float] | None
    p: float | None  # adjusted for all comparisons of the page, if the figure has a test
    alone: float | None  # the p-value of this comparison alone
    limit: float  # p-values below it are significant

    @property
    def differs(self) -> bool:
        """Whether the figure's own test tells the models apart; without one, whether its interval does."""
        if self.p is not None:
            return self.p < self.limit
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def hinted(self) -> bool:
        """Whether the models would differ if this comparison had been the only one."""
        return not self.differs and self.alone is not None and self.alone < self.limit

    @property
    def better(self) -> bool:
        """Whether the first model's figure is the better one."""
        return self.scale.gain(self.value) > 0

    @property
    def name(self) -> str:
        """The figure in words."""
        return figure_name(self.scale.name)

    @property
    def shown(self) -> str:
        """The difference with its interval in words."""
        value = f"{signed(self.scale, self.value)}{self.scale.points}"
        if self.interval is None:
            return value
        low, high = (signed(self.scale, end) for end in self.interval)
        return f"{value}, {low} to {high}"

    @property
    def found(self) -> str:
        """The same of a difference that was found, which may have an interval that contains 0."""
        unclear = self.interval is not None and self.interval[0] <= 0 <= self.interval[1]
        return f"{self.shown}; it is not clear by how much" if unclear else self.shown


def figure_name(name: str) -> str:
    """Return a figure's name in words."""
    own = name.removesuffix("_scaled")
    return NAMES.get(own, spelled(own))


def model_name(name: str) -> str:
    """Return a model's name in a sentence."""
    return f"the {name}" if name in TRANSFORMERS else name


def signed(scale: Scale, value: float) -> str:
    """Return a difference with its sign: in points with one decimal, or with two digits."""
    if not scale.share:
        return f"{value:+.2g}".replace("-", "−")
    digits = 2 if 0 < abs(value) < 0.0005 else 1  # never "-0.0": the sign counts
    return f"{100 * value:+.{digits}f}".replace("-", "−")


def read(metrics: Mapping[str, Any], main: Scale, p: str) -> list[Difference]:
    """Return every difference of metrics.json, the main figure's first; `p` is the key of its p-value.

    Of a student that was chosen among several seeds there is no comparison with its control: the chosen seed
    is the student's best (`seeds`).
    """
    several, confidence = "comparison" in metrics.get("seeds", {}), metrics["test"]["confidence"]
    pairs = {
        pair: own
        for pair, own in metrics["comparison"].items()
        if not (several and pair == "student_vs_control")
    }
    return [one for pair, own in pairs.items() for one in of(pair, own, main, confidence, p)]


def of(pair: str, own: Mapping[str, Any], main: Scale, confidence: float, p: str) -> list[Difference]:
    """Return the differences of one pair, such as student_vs_teacher; the main figure's comes first."""
    first, second = pair.split("_vs_", 1)
    # A name with "/" is the figure of one of several numbers.
    names = [key.removesuffix(END) for key in own if key.endswith(END) and "/" not in key]
    return [
        _of(
            own,
            first,
            second,
            main if name == main.name else scale_of(name),
            1 - confidence,
            p if name == main.name else None,
        )
        for name in sorted(names, key=lambda name: (name != main.name, name))
    ]


def scale_of(name: str) -> Scale:
    """Return how a figure is written and which way is better."""
    own = name.removesuffix("_scaled")
    return Scale(name, -1 if own in LOWER else 1, own not in PLAIN)


def _of(
    own: Mapping[str, Any], first: str, second: str, scale: Scale, limit: float, joint: str | None
) -> Difference:
    """Return one difference; `joint` is the key of the main figure's p-value."""
    name = scale.name
    interval = own.get("holm_interval" if joint else f"{name}{END}_interval")
    alone = own.get(joint or f"{name}_p")
    return Difference(
        first,
        second,
        scale,
        own[f"{name}{END}"],
        (float(interval[0]), float(interval[1])) if interval else None,
        own.get("holm_p") if joint else own.get(f"{name}_holm_p", alone),
        alone,
        limit,
    )


def of_pair(found: Iterable[Difference], first: str, second: str) -> list[Difference]:
    """Return the differences of one pair of models."""
    return [one for one in found if (one.first, one.second) == (first, second)]


def said(own: Sequence[Difference], excluded: float | None = None) -> str:
    """Return sentences on one pair: the figures in which the first model is better or worse, or that none is.

    `excluded` is the size beyond which differences in the main figure are excluded.
    """
    first, second = (model_name(name) for name in (own[0].first, own[0].second))
    if found := better_and_worse(own):
        rest = [one.name for one in own if not one.differs]
        tail = f" In {listed(rest)} no difference is shown." if rest else ""
        return f"{sentence(first)} is {found} than {second}.{tail}"
    names = listed([one.name for one in own], "or")
    told = f"{sentence(first)} and {second} do not differ significantly in {names}."
    if excluded is not None:
        size = signed(own[0].scale, excluded).removeprefix("+")
        told += f" A difference of more than {size}{own[0].scale.points} in {own[0].name} is excluded."
    if hints := [f"{one.name} (p = {one.alone:.2g})" for one in own if one.hinted]:
        told += f" As the only comparison of the page it would be significant in {listed(hints)}."
    return told


def better_and_worse(own: Iterable[Difference]) -> str:
    """Return in which figures the first model is better, and in which it is worse; "" if in none."""
    sides: dict[str, list[str]] = {"better": [], "worse": []}
    for one in own:
        if one.differs:
            sides["better" if one.better else "worse"].append(f"{one.name} ({one.found})")
    return " and ".join(f"{word} in {listed(some)}" for word, some in sides.items() if some)


def sentence(words: str) -> str:
    """Return words as the beginning of a sentence; the name of a baseline stays as it is."""
    return f"T{words[1:]}" if words.startswith("the ") else words


def listed(items: Sequence[str], word: str = "and") -> str:
    """Return items as an enumeration."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"
