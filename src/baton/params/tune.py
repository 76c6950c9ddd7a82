"""`tune`: what `baton tune` varies, how long it searches, and how the best is chosen."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from baton.params.fields import Count, Section, Seed, Share

# Sections of which a trial may change keys. Others change the rows on which trials are compared, or how fast
# they are.
SECTIONS = ("base", "tokenize", "finetune", "distill")
# Keys that decide how a trial is judged, or that `baton tune` sets itself.
FIXED = ("seeds", "metric", "evaluations_per_epoch", "keep", "episodes")


class FloatRange(Section):
    """Decimals from `low` to `high`.

    `log` draws from their logarithm, `step` from a grid that starts at `low`.
    """

    kind: Literal["float"]
    low: float
    high: float
    log: bool
    step: Annotated[float, Field(gt=0)] | None

    @model_validator(mode="after")
    def _ordered(self) -> "FloatRange":
        _check(self.low, self.high, self.log, gridded=self.step is not None)
        return self


class IntRange(Section):
    """Whole numbers from `low` to `high`, as for `FloatRange`."""

    kind: Literal["int"]
    low: int
    high: int
    log: bool
    step: Count

    @model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        _check(self.low, self.high, self.log, gridded=self.step > 1)
        return self


class Choice(Section):
    """One of several values: numbers without an order, words, or whole sections such as a head."""

    kind: Literal["choice"]
    values: Annotated[tuple[Any, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _distinct(self) -> "Choice":
        if len({json.dumps(value, sort_keys=True) for value in self.values}) < len(self.values):
            raise ValueError("values must be distinct")
        return self


Range = Annotated[FloatRange | IntRange | Choice, Field(discriminator="kind")]


def _check(low: float, high: float, log: bool, gridded: bool) -> None:
    if not low < high:
        raise ValueError(f"low must be below high, not {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"log needs low above 0, not {low}")
    if log and gridded:
        raise ValueError("log has no grid: set log to false, or step to null (of whole numbers to 1)")


def _tunable(ranges: dict[str, Range]) -> dict[str, Range]:
    for key in ranges:
        section, _, name = key.partition(".")
        if section not in SECTIONS or (not name and section != "base"):
            raise ValueError(f"{key} cannot be tuned: name a key of {', '.join(SECTIONS)}")
        if name in FIXED:
            raise ValueError(f"{key} cannot be tuned: trials would not be judged alike")
    for key in ranges:
        if inner := [other for other in ranges if other.startswith(f"{key}.")]:
            raise ValueError(f"{inner[0]} lies inside {key}: tune one of them")
    return ranges


class Prune(Section):
    """When a trial is stopped: its best validation so far is not in the best share `keep` of earlier trials.

    They are compared at the same number of validations (a percentile pruner; for 0.5 it is the median
    stopping rule of Golovin et al. 2017, Google Vizier). The first `validations` of a trial never stop it,
    and none does before so many `trials` are complete.
    """

    keep: Share
    trials: Count
    validations: Annotated[int, Field(ge=0)]


class Tune(Section):
    """A study: trials, each the recipe with other values, and the best of them chosen over several seeds.

    Trial 0 is the recipe as it is. Trials are proposed `generation` at a time, from the results of earlier
    generations alone, so that neither the number of workers nor a kill changes what is proposed. The first
    `random` trials are drawn at random; later ones by a tree-structured Parzen estimator (Bergstra et al.
    2011). No trial starts after `trials`, or after so many `minutes` of training over all workers.

    `metric`, on validation, is by default that of the stage whose model is tuned. Test is never read. The
    best `finalists` of the trials, and trial 0, are trained again with each of `seeds`, and the best mean
    wins.
    """

    ranges: Annotated[dict[str, Range], Field(min_length=1), AfterValidator(_tunable)]
    metric: str | None
    trials: Count | None
    minutes: Annotated[float, Field(gt=0)] | None
    generation: Count
    random: Count
    seed: Seed
    prune: Prune | None
    finalists: Count
    seeds: tuple[Seed, ...]

    @model_validator(mode="after")
    def _ends(self) -> "Tune":
        if self.trials is None and self.minutes is None:
            raise ValueError("set trials, minutes or both: with neither the search never ends")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} must be distinct")
        return self
