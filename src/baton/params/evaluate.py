"""`evaluate`: the measurements on the test split."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from baton.params.fields import Count, Section, Seed, Share


class MajorityBaseline(Section):
    """Always predict the most frequent label in train."""

    kind: Literal["majority"]


class MeanBaseline(Section):
    """Always predict the mean of train; for numbers."""

    kind: Literal["mean"]


class MedianBaseline(Section):
    """Always predict the median of train, the constant of the least mean absolute error; for numbers."""

    kind: Literal["median"]


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError(
            "must increase: each C is tried in turn until two in a row are no better on validation"
        )
    return values


Grid = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1), AfterValidator(_rising)]


class TfidfBaseline(Section):
    """A linear model on sublinear TF-IDF, fitted on train; validation chooses C (inverse regularisation).

    `ridge` is for numbers, the others are for classes and labels.
    """

    kind: Literal["tfidf"]
    model: Literal["svm", "logistic", "ridge"]
    min_df: Count
    max_ngram: Count
    stop_words: Literal["english"] | None
    C: Grid


class PixelsBaseline(Section):
    """Logistic regression on pixels scaled down to at most `side` x `side`; validation chooses C.

    For numbers it is ridge regression.
    """

    kind: Literal["pixels"]
    side: Count
    C: Grid


class BandsBaseline(Section):
    """Logistic regression on the mean and deviation over time of a spectrogram's bands.

    Validation chooses C.
    """

    kind: Literal["bands"]
    C: Grid


class FeaturesBaseline(Section):
    """A classifier on the base model's frozen features.

    It is a linear probe (with one value of `C`; for numbers ridge regression) or the `neighbours` nearest
    neighbours (by cosine). With `encoder`, a model that reads images with texts is judged by that encoder
    alone.
    """

    kind: Literal["features"]
    model: Literal["linear", "knn"]
    neighbours: Count
    encoder: Literal["image", "text"] | None = None  # only of images with texts; null: both
    C: Grid


class CopyBaseline(Section):
    """Answer with the source itself; for texts as targets."""

    kind: Literal["copy"]


class NearestBaseline(Section):
    """Answer with the target of the most similar train source, by the cosine of their TF-IDF.

    Terms are words, or n-grams of characters (`analyzer: char`), with up to `max_ngram` of them. For texts as
    targets.
    """

    kind: Literal["nearest"]
    analyzer: Literal["word", "char"]
    min_df: Count
    max_ngram: Count


class CrfBaseline(Section):
    """A linear-chain conditional random field on words and their neighbours, for tags of words.

    Validation chooses the weights `c1` of the L1 and `c2` of the L2 norm, among all pairs.
    """

    kind: Literal["crf"]
    c1: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    c2: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    iterations: Count


class SlidingWindowBaseline(Section):
    """Answer with the words that lie closest to rare words of the question; for questions about a text.

    Validation chooses how many words an answer has, among `lengths`.
    """

    kind: Literal["sliding_window"]
    lengths: Annotated[tuple[Count, ...], Field(min_length=1)]


Baseline = Annotated[
    MajorityBaseline
    | MeanBaseline
    | MedianBaseline
    | TfidfBaseline
    | PixelsBaseline
    | BandsBaseline
    | FeaturesBaseline
    | CopyBaseline
    | NearestBaseline
    | CrfBaseline
    | SlidingWindowBaseline,
    Field(discriminator="kind"),
]


class Bootstrap(Section):
    """A percentile bootstrap over test rows."""

    resamples: Count
    confidence: Share
    seed: Seed


class Speed(Section):
    """The measurement of speed: models take turns at each batch of `samples` test rows.

    `latency_samples` of the rows also run one by one. `repeats: 0` measures nothing. After `repeats` rounds
    the measurement continues until the intervals of the models' ratios are within ± `precision` or
    `max_seconds` have passed.
    """

    repeats: Annotated[int, Field(ge=0)]
    precision: Share
    max_seconds: Annotated[float, Field(gt=0)]
    batch_size: Count
    samples: Count
    latency_samples: Count


class Robustness(Section):
    """Accuracy of teacher, student and control under noise, blur and changed brightness.

    It is measured at `severities` levels on `samples` test rows.
    """

    samples: Count
    severities: Annotated[int, Field(ge=1, le=5)]


class Gallery(Section):
    """The `errors` most confident test errors, with attributions (`steps` of integrated gradients)."""

    errors: Count
    steps: Count


class Attributions(Section):
    """Which words of a text spoke for an answer, for the `errors` most confident test errors of the student.

    `steps` are those of integrated gradients. As many right answers are explained for the deletion test.
    """

    errors: Count
    steps: Count


class Evaluate(Section):
    """The measurements on the test split."""

    baselines: tuple[Baseline, ...]
    bootstrap: Bootstrap
    calibration_bins: Count
    speed: Speed
    robustness: Robustness | None
    gallery: Gallery | None
    attributions: Attributions | None = None  # of texts with classes or labels
