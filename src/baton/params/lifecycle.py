"""`promotion`: which models are put beside each other, and what a challenger must show before it becomes the champion."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from baton.params.evaluate import Bootstrap
from baton.params.fields import Count, RelativePath, Section


class Gain(Section):
    """The challenger must be better: the interval of the difference lies above `minimum`, and McNemar's mid-p test agrees."""

    kind: Literal["gain"]
    minimum: Annotated[float, Field(ge=0, lt=1)]


class NonInferiority(Section):
    """The challenger must not be worse by more than `margin`: the interval of the difference lies above -`margin`."""

    kind: Literal["non_inferiority"]
    margin: Annotated[float, Field(gt=0, lt=1)]


def _name(value: str) -> str:
    if not value or any(character in value for character in "/:@.'\"`"):
        raise ValueError("must be a name without any of / : @ . and quotes, as MLflow's registry wants it")
    return value


class ClassFloor(Section):
    """The lowest recall that any class with at least `rows` test rows may have, and the most that any may certainly lose."""

    recall: Annotated[float, Field(ge=0, le=1)]
    rows: Count
    loss: Annotated[float, Field(ge=0, le=1)]  # of recall, against the champion


class PermanentFloor(Section):
    """How far below what was reached on the same test table before the metric may lie; null: not asked."""

    below_best: Annotated[float, Field(ge=0, lt=1)] | None  # the best champion so far
    below_baseline: Annotated[float, Field(ge=0, lt=1)] | None  # the best baseline; 0: it must be above


class Promotion(Section):
    """The gate between a challenger and the champion's place."""

    name: Annotated[str, AfterValidator(_name)]  # of the registered model
    model: Literal["student", "teacher"]
    test: RelativePath  # the frozen test table; labels.json lies beside it
    metric: Literal["accuracy", "macro_f1"]
    rule: Annotated[Gain | NonInferiority, Field(discriminator="kind")]
    first_minimum: Annotated[float, Field(ge=0, le=1)]
    class_floor: ClassFloor | None
    permanent_floor: PermanentFloor | None
    looks: Count  # verdicts on one test table, after which each further one comes with a warning
    max_calibration_error: Annotated[float, Field(gt=0, le=1)] | None
    max_size_ratio: Annotated[float, Field(gt=0)] | None
    max_latency_ratio: Annotated[float, Field(gt=0)] | None
    latency_samples: Count
    bootstrap: Bootstrap


class DriftLimits(Section):
    """How far incoming rows may be from the champion's training data before it is trained anew; each value is a share or distance.

    Of images `lengths` is the distance of their brightness, and `unknown` is always 0.
    """

    changed: Annotated[float, Field(ge=0)]
    labels: Annotated[float, Field(ge=0, le=1)]
    lengths: Annotated[float, Field(ge=0, le=1)]
    unknown: Annotated[float, Field(ge=0, le=1)]


class Retrain(Section):
    """What `baton retrain` decides by."""

    drift: DriftLimits | None  # null: every time
    warm_start: bool  # from the champion's teacher, which is written into `base` as version and digest
