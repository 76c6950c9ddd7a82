"""What params may not ask for if the task is `tokens`, or only then; one line per problem."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.evaluate import CrfBaseline, MajorityBaseline
from baton.params.formats import ConllFormat, TokenXmlFormat
from baton.params.preprocess import TextPreprocess
from baton.params.row_checks import OtherClass
from baton.params.task import TokensTask

if TYPE_CHECKING:
    from baton.params.reading import Params

OWN = ConllFormat | TokenXmlFormat  # formats


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems, each with its YAML path and what to set instead."""
    if isinstance(asked.task, TokensTask):
        yield from _data(asked)
        yield from _models(asked)
    else:
        yield from _elsewhere(asked)


def _data(asked: "Params") -> Iterator[str]:
    own = "task.kind is tokens"
    if not isinstance(asked.preprocess, TextPreprocess) or asked.tokenize.kind != "text":
        yield f"preprocess.kind and tokenize.kind: words are in texts, {own}; set both to text"
        return
    if not isinstance(asked.preprocess.text_column, str):
        yield (
            f"preprocess.text_column: tags belong to one text, {own}; name one column, not "
            f"{', '.join(asked.preprocess.text_column)}"
        )
    if asked.preprocess.text_pair_column is not None:
        yield f"preprocess.text_pair_column: words of one text have tags, {own}; set it to null"
    if "tags" in asked.preprocess.keep_columns:
        yield "preprocess.keep_columns: tags is already a column of the clean tables; rename it"
    small = asked.preprocess.checks.small_class
    if small == "train_only" or isinstance(small, OtherClass):
        yield (
            f"preprocess.checks.small_class: {small} is for rows of one class, {own}: "
            "set it to fail, keep or drop (which takes rare entities out of their texts)"
        )


def _models(asked: "Params") -> Iterator[str]:
    own = "task.kind is tokens"
    if asked.finetune.probe is not None:
        yield f"finetune.probe: a probe classifies rows, {own}; set it to null"
    if asked.finetune.head.pooling == "pooler":
        yield f"finetune.head.pooling: words are not pooled, {own}; set it to mean"
    for place, baseline in enumerate(asked.evaluate.baselines):
        if not isinstance(baseline, MajorityBaseline | CrfBaseline):
            yield (
                f"evaluate.baselines.{place} ({baseline.kind}) classifies rows, {own}: "
                "remove it, or set its kind to majority or crf"
            )


def _elsewhere(asked: "Params") -> Iterator[str]:
    other = f"task.kind is {asked.task.kind}"
    if isinstance(asked.preprocess, TextPreprocess) and isinstance(asked.preprocess.format, OWN):
        yield f"preprocess.format.kind {asked.preprocess.format.kind} is for tagged words, {other}"
    for place, baseline in enumerate(asked.evaluate.baselines):
        if isinstance(baseline, CrfBaseline):
            yield f"evaluate.baselines.{place} (crf) tags words, {other}: remove it"
