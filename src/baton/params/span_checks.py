"""What params may not ask for if the task is `spans`, or only then; one line per problem."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.evaluate import MajorityBaseline
from baton.params.formats import SquadFormat
from baton.params.preprocess import TextPreprocess
from baton.params.row_checks import OtherClass
from baton.params.task import SpansTask

if TYPE_CHECKING:
    from baton.params.reading import Params

OWN = MajorityBaseline  # baselines


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems, each with its YAML path and what to set instead."""
    if isinstance(asked.task, SpansTask):
        yield from _data(asked)
        yield from _models(asked)
    elif isinstance(asked.preprocess, TextPreprocess) and isinstance(asked.preprocess.format, SquadFormat):
        yield (
            "preprocess.format.kind squad is for questions with answers, "
            f"task.kind is {asked.task.kind}; set it to spans"
        )


def _data(asked: "Params") -> Iterator[str]:
    own, preprocess = "task.kind is spans", asked.preprocess
    if not isinstance(preprocess, TextPreprocess) or asked.tokenize.kind != "text":
        yield f"preprocess.kind and tokenize.kind: questions and contexts are texts, {own}; set both to text"
        return
    if preprocess.text_pair_column is None:
        yield f"preprocess.text_pair_column: {own}; set it to the column of contexts"
    if preprocess.group_column is None:
        yield (
            "preprocess.group_column: questions about one context must not be in two splits, "
            f"{own}; set it to the column of contexts, or to that of their titles"
        )
    if preprocess.label_names:
        yield f"preprocess.label_names: answers have no names, {own}; set it to {{}}"
    if "answers" in preprocess.keep_columns:
        yield "preprocess.keep_columns: answers is already a column of the clean tables; rename it"
    small = preprocess.checks.small_class
    if small == "train_only" or isinstance(small, OtherClass):
        yield f"preprocess.checks.small_class: {small} is for rows of one class, {own}: set it to keep"


def _models(asked: "Params") -> Iterator[str]:
    own = "task.kind is spans"
    for name, part in {"finetune": asked.finetune, "distill": asked.distill}.items():
        if part.class_weights != "none":
            yield f"{name}.class_weights: there are no classes, {own}; set it to none"
        if part.label_smoothing:
            yield f"{name}.label_smoothing is for classes and labels, {own}; set it to 0.0"
    if asked.finetune.probe is not None:
        yield f"finetune.probe: a probe classifies rows, {own}; set it to null"
    if asked.finetune.head.pooling == "pooler":
        yield f"finetune.head.pooling: words are not pooled, {own}; set it to mean"
    for place, baseline in enumerate(asked.evaluate.baselines):
        if not isinstance(baseline, OWN):
            yield f"evaluate.baselines.{place} ({baseline.kind}) gives no answers, {own}: remove it"
    if asked.promotion.class_floor is not None:
        yield f"promotion.class_floor: answers have no classes, {own}; set it to null"
