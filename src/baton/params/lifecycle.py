"""`promotion` and `retrain`: when a challenger becomes the champion, and when a new one is trained."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from baton.params.evaluate import Bootstrap
from baton.params.fields import Count, RelativePath, Section


class Gain(Section):
    """The challenger must be better.

    The interval of the difference lies above `minimum`, and McNemar's mid-p test agrees.
    """

    kind: Literal["gain"]
    minimum: Annotated[float, Field(ge=0)]  # in the metric's unit, as the following; of shares below 1


class NonInferiority(Section):
    """The challenger must not be worse by more than `margin`.

    The interval of the difference lies above -`margin`.
    """

    kind: Literal["non_inferiority"]
    margin: Annotated[float, Field(gt=0)]


def _name(value: str) -> str:
    if not value or any(character in value for character in "/:@.'\"`"):
        raise ValueError("must be a name without / : @ . or quotes, as MLflow's registry requires")
    return value


class ClassFloor(Section):
    """Limits on the recall of every class with at least `rows` test rows.

    `recall` is the lowest allowed, `loss` the largest certain loss against the champion.
    """

    recall: Annotated[float, Field(ge=0, le=1)]
    rows: Count
    loss: Annotated[float, Field(ge=0, le=1)]  # of recall, against the champion


class PermanentFloor(Section):
    """How far the metric may lie below the best earlier results on the same test table; null: no limit."""

    below_best: Annotated[float, Field(ge=0)] | None  # below the best champion so far
    below_baseline: Annotated[float, Field(ge=0)] | None  # below the best baseline; 0: must be above it


class Promotion(Section):
    """The gate that a challenger must pass to become the champion."""

    name: Annotated[str, AfterValidator(_name)]  # of the registered model
    model: Literal["student", "teacher", "export"]
    test: RelativePath  # the frozen test table; task.json is in the same folder
    metric: str  # one of the task's `gated`
    rule: Annotated[Gain | NonInferiority, Field(discriminator="kind")]
    first_minimum: Annotated[float, Field(ge=0)]  # of an error: the largest
    class_floor: ClassFloor | None
    permanent_floor: PermanentFloor | None
    looks: Count  # verdicts on one test table, after which every further one comes with a warning
    max_calibration_error: Annotated[float, Field(gt=0, le=1)] | None
    max_size_ratio: Annotated[float, Field(gt=0)] | None
    max_latency_ratio: Annotated[float, Field(gt=0)] | None
    latency_samples: Count
    bootstrap: Bootstrap


class DriftLimits(Section):
    """How far incoming rows may be from the champion's training data before a new model is trained.

    Each value is a share or a distance. For images, `lengths` is the distance in brightness, and for sound in
    seconds, and also that in loudness; `unknown` is then always 0.
    """

    changed: Annotated[float, Field(ge=0)]
    labels: Annotated[float, Field(ge=0, le=1)]
    lengths: Annotated[float, Field(ge=0, le=1)]
    unknown: Annotated[float, Field(ge=0, le=1)]


class Retrain(Section):
    """The criteria by which `baton retrain` decides."""

    drift: DriftLimits | None  # null: always retrain
    warm_start: bool  # start from the champion's teacher; its version and digest are written into `base`
    # How often new checkpoints go to the DVC remote, for the job after a killed one; null: never.
    checkpoint_minutes: Annotated[float, Field(gt=0)] | None
