"""`evaluate`: what is measured on the test split."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from baton.params.fields import Count, Section, Seed, Share


class MajorityBaseline(Section):
    """Always the most frequent label of train."""

    kind: Literal["majority"]


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("must rise: each C is tried in turn until two in a row are no better on validation")
    return values


Grid = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1), AfterValidator(_rising)]


class TfidfBaseline(Section):
    """TF-IDF (sublinear) into a linear model, fitted on train; of the values of C (inverse regularisation) validation chooses one."""

    kind: Literal["tfidf"]
    model: Literal["svm", "logistic"]
    min_df: Count
    max_ngram: Count
    stop_words: Literal["english"] | None
    C: Grid


class PixelsBaseline(Section):
    """Pixels, scaled down to at most `side` x `side`, into logistic regression, of whose values of C validation chooses one."""

    kind: Literal["pixels"]
    side: Count
    C: Grid


class FeaturesBaseline(Section):
    """Frozen features of the base model: a linear probe (with one value of `C`), or the `neighbours` nearest ones (by cosine)."""

    kind: Literal["features"]
    model: Literal["linear", "knn"]
    neighbours: Count
    C: Grid


Baseline = Annotated[
    MajorityBaseline | TfidfBaseline | PixelsBaseline | FeaturesBaseline, Field(discriminator="kind")
]


class Bootstrap(Section):
    """Percentile bootstrap over test rows."""

    resamples: Count
    confidence: Share
    seed: Seed


class Speed(Section):
    """Models in turns at each batch of `samples` test rows; `latency_samples` of them one by one. `repeats: 0` measures nothing.

    After `repeats` rounds it goes on until the intervals of the models' ratios are within `precision` to both sides, or `max_seconds` over.
    """

    repeats: Annotated[int, Field(ge=0)]
    precision: Share
    max_seconds: Annotated[float, Field(gt=0)]
    batch_size: Count
    samples: Count
    latency_samples: Count


class Robustness(Section):
    """Accuracy of teacher, student and control under noise, blur and changed brightness, at `severities` levels, on `samples` test rows."""

    samples: Count
    severities: Annotated[int, Field(ge=1, le=5)]


class Gallery(Section):
    """The `errors` most confident mistakes on test, with what the model looked at (`steps` of integrated gradients)."""

    errors: Count
    steps: Count


class Evaluate(Section):
    """What is measured on the test split."""

    baselines: tuple[Baseline, ...]
    bootstrap: Bootstrap
    calibration_bins: Count
    speed: Speed
    robustness: Robustness | None
    gallery: Gallery | None
