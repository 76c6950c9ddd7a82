"""`evaluate`: what is measured on the test split."""

from typing import Annotated, Literal

from pydantic import Field

from baton.params.fields import Count, Section, Seed, Share


class MajorityBaseline(Section):
    """Always the most frequent label of train."""

    kind: Literal["majority"]


class TfidfBaseline(Section):
    """TF-IDF (sublinear) into a linear model, fitted on train only."""

    kind: Literal["tfidf"]
    model: Literal["svm", "logistic"]
    min_df: Count
    max_ngram: Count
    stop_words: Literal["english"] | None


Baseline = Annotated[MajorityBaseline | TfidfBaseline, Field(discriminator="kind")]


class Bootstrap(Section):
    """Percentile bootstrap over test rows."""

    resamples: Count
    confidence: Share
    seed: Seed


class Speed(Section):
    """Alternating timed runs over the same `samples` test rows; `latency_samples` of them one by one. `repeats: 0` measures nothing."""

    repeats: Annotated[int, Field(ge=0)]
    batch_size: Count
    samples: Count
    latency_samples: Count


class Evaluate(Section):
    """What is measured on the test split."""

    baselines: tuple[Baseline, ...]
    bootstrap: Bootstrap
    calibration_bins: Count
    speed: Speed
