"""`distill.knowledge`: what a student's soft targets are the weighted mean of."""

from typing import Annotated, Literal

from pydantic import Field

from baton.params.fields import Count, Section

Weight = Annotated[float, Field(gt=0)]


class TeacherKnowledge(Section):
    """The teacher: of the best seed, or the mean over all seeds (which `finetune.keep: all` keeps)."""

    kind: Literal["teacher"]
    seeds: Literal["best", "all"]
    weight: Weight


class TfidfKnowledge(Section):
    """A logistic regression on TF-IDF; rows of train are answered out of fold. Validation chooses `C`."""

    kind: Literal["tfidf"]
    weight: Weight
    folds: Annotated[int, Field(ge=2)]
    min_df: Count
    max_ngram: Count
    stop_words: Literal["english"] | None
    C: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class FileKnowledge(Section):
    """The soft labels of `source.soft_labels`: rows that it does not have are left to the other sources."""

    kind: Literal["file"]
    weight: Weight


Knowledge = Annotated[TeacherKnowledge | TfidfKnowledge | FileKnowledge, Field(discriminator="kind")]
