"""What params may not ask of tags besides what the tables say; one line per problem."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.preprocess import TextPreprocess
from baton.params.task import TokensTask

if TYPE_CHECKING:
    from baton.params.reading import Params


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems, each with its YAML path and what to set instead."""
    if not isinstance(asked.task, TokensTask) or not isinstance(asked.preprocess, TextPreprocess):
        return
    if not isinstance(asked.preprocess.text_column, str):
        yield (
            "preprocess.text_column: tags belong to one text, task.kind is tokens; name one column, not "
            f"{', '.join(asked.preprocess.text_column)}"
        )
