"""What params may not ask of answers to questions besides what the tables say; one line per problem."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.preprocess import TextPreprocess
from baton.params.task import SpansTask

if TYPE_CHECKING:
    from baton.params.reading import Params


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems, each with its YAML path and what to set instead."""
    if not isinstance(asked.task, SpansTask) or not isinstance(asked.preprocess, TextPreprocess):
        return
    if asked.preprocess.text_pair_column is None:
        yield (
            "preprocess.text_pair_column is null, but task.kind is spans: set it to the column of contexts"
        )
    if asked.preprocess.group_column is None:
        yield (
            "preprocess.group_column is null, but task.kind is spans: questions about one context must not "
            "be in two splits; set it to the column of contexts, or to that of their titles"
        )
