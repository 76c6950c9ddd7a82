"""What params may not ask of `finetune.strategy` and of a student's soft targets; one line per problem."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.knowledge import TeacherKnowledge
from baton.params.strategy import strategies

if TYPE_CHECKING:
    from baton.params.reading import Params

WHOLE = ("full", "probe", "prototypes")  # strategies of a model that is split over processes


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems, each with its YAML path and what to set instead."""
    used = [own.kind for own in strategies(asked.finetune.strategy)]
    if asked.runtime.sharding == "full" and (other := [kind for kind in used if kind not in WHOLE]):
        yield (
            f"runtime.sharding is full, but finetune.strategy is {other[0]}, which needs whole models: set "
            f"sharding to none, or the strategy to one of {', '.join(WHOLE)}"
        )
    yield from _knowledge(asked)
    yield from _without_labels(asked)


def _knowledge(asked: "Params") -> Iterator[str]:
    for place, own in enumerate(asked.distill.knowledge or ()):
        where = f"distill.knowledge.{place}"
        if isinstance(own, TeacherKnowledge) and own.seeds == "all" and asked.finetune.keep == "best":
            yield f"{where}.seeds is all, but finetune.keep is best: set finetune.keep to all"
        if own.kind == "file" and getattr(asked.source, "soft_labels", None) is None:
            yield f"{where}.kind is file, but source.soft_labels names none: name your file there"


def _without_labels(asked: "Params") -> Iterator[str]:
    distill = asked.distill
    there = asked.preprocess.shots is not None or getattr(asked.source, "unlabelled", None) is not None
    if distill.confidence is not None and not there:
        yield (
            f"distill.confidence is {distill.confidence}, but there are no rows without labels: set it to "
            "null, or set preprocess.shots or source.unlabelled"
        )
    if not there or asked.preprocess.kind != "text":
        return
    if distill.early_stopping is not None:
        yield (
            "distill.early_stopping: the control, which reads fewer rows in an epoch, would stop after fewer "
            "steps than the student: set it to null"
        )
    if distill.augmentation is not None and distill.augmentation.mixup:
        yield "distill.augmentation.mixup: rows without labels have nothing to mix: set it to 0.0"
