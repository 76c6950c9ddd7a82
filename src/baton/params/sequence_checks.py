"""What params may not ask of texts as targets besides what the tables say; one line per problem."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.base import EncoderDecoderBase
from baton.params.task import SequenceTask
from baton.params.tokenize import AutoLength, TextTokenize, WindowsTruncation

if TYPE_CHECKING:
    from baton.params.reading import Params


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems, each with its YAML path and what to set instead."""
    if not isinstance(asked.task, SequenceTask):
        return
    tokenize = asked.tokenize
    if isinstance(tokenize, TextTokenize) and isinstance(tokenize.truncation, WindowsTruncation):
        yield (
            "tokenize.truncation.kind: windows are averaged, which an encoder-decoder does not do, task.kind "
            "is sequence; set it to head, tail or head_tail"
        )
    if asked.distill.teacher == "cached" and asked.distill.temperature != 1:
        yield (
            "distill.temperature: the student learns the teacher's texts, which have no temperature; set it "
            "to 1.0, or set teacher to live (the teacher's probabilities of each token)"
        )
    yield from _positions(asked, asked.task)


def _positions(asked: "Params", task: SequenceTask) -> Iterator[str]:
    """Check that a new encoder-decoder knows a position for each token of a source and of a target."""
    base, tokenize = asked.base, asked.tokenize
    if not isinstance(base, EncoderDecoderBase) or base.architecture == "t5":
        return
    lengths = {"task.target_length": task.target_length}
    if isinstance(tokenize, TextTokenize):
        most = tokenize.max_length
        lengths["tokenize.max_length"] = most.most if isinstance(most, AutoLength) else most
    for key, length in lengths.items():
        if length > base.positions:
            yield (
                f"{key} is {length}, but base.positions is {base.positions}: raise base.positions to at "
                f"least {max(lengths.values())}"
            )
