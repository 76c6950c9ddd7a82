"""What params may not ask of a kind of input besides what the tables say; one line per problem.

Input: the whole of params -> problems, each with its YAML path and the way out. The tables are those of
`combinations` and `applicable_keys`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.augmentation import TextAugmentation
from baton.params.base import ImageTextBase, TimmBase
from baton.params.combinations import ROWS
from baton.params.students import BaseStudent, ImageTextStudent, TimmStudent
from baton.params.tokenize import AutoLength, WindowsTruncation

if TYPE_CHECKING:
    from baton.params.reading import Params


SPECIAL = 4  # tokens that a tokenizer adds to a pair, at most


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems of the input, whatever the task."""
    yield from _content(asked)
    yield from _drawn(asked)
    yield from _varied(asked)
    yield from _pairs(asked)
    yield from _student_base(asked)


def _content(asked: "Params") -> Iterator[str]:
    kind, content = asked.preprocess.kind, getattr(asked.source, "content", None)
    if content and kind != "text" and content != {"image_text": "images"}.get(kind, kind):
        yield f"source.content is {content}, preprocess.kind is {kind}: set both to the same value"


def _drawn(asked: "Params") -> Iterator[str]:
    """Check that an image encoder that starts from random weights is trained."""
    for name, part in {"finetune": asked.finetune, "distill": asked.distill}.items():
        if "image" in part.frozen and _draws_images(asked, name):
            yield (
                f"{name}.frozen: the image encoder starts from random weights, so it must be trained; "
                "set it to [] or [text]"
            )


def _draws_images(asked: "Params", section: str) -> bool:
    """Return whether the image encoder that a section trains starts from random weights."""
    student, base = asked.distill.student, asked.base
    if section == "distill" and isinstance(student, ImageTextStudent):
        return isinstance(student.image, TimmStudent)  # otherwise it is the teacher's
    image = base.image if isinstance(base, ImageTextBase) else None
    return isinstance(image, TimmBase) and image.weights is None


def _varied(asked: "Params") -> Iterator[str]:
    """Check that the section of augmentation is the one for the kind of input."""
    kind = asked.preprocess.kind
    if asked.task.kind not in ROWS.split():
        return  # the table refuses either section
    for name, part in {"finetune": asked.finetune, "distill": asked.distill}.items():
        own = part.augmentation
        if own is None or isinstance(own, TextAugmentation) == (kind == "text"):
            continue
        found, instead = (
            ("images", "{delete: 0.1, swap: 0.1, mask: 0.0, mixup: 0.0}")
            if kind == "text"
            else ("texts", "the section for images, as in recipes/digits-vit.yaml")
        )
        yield (
            f"{name}.augmentation has the keys for {found}, but preprocess.kind is {kind}: set it to null "
            f"or {instead}"
        )


def _pairs(asked: "Params") -> Iterator[str]:
    """Check that windows leave room for the first text of a pair, which each of them repeats."""
    if asked.preprocess.kind != "text" or asked.preprocess.text_pair_column is None:
        return
    if asked.tokenize.kind == "text" and isinstance(asked.tokenize.truncation, WindowsTruncation):
        length = asked.tokenize.max_length
        least = length.least if isinstance(length, AutoLength) else length
        most = most_overlap(least)
        if asked.tokenize.truncation.overlap > most:
            yield (
                f"tokenize.truncation.overlap {asked.tokenize.truncation.overlap} must be at most "
                f"{most} for pairs of texts with max_length {least}"
            )


def most_overlap(length: int) -> int:
    """Return how many tokens windows of pairs may share: each brings something new of the second text.

    The second text has at least half of what special tokens leave.
    """
    return min(length // 4, (length - SPECIAL) // 2 - 1)


def _student_base(asked: "Params") -> Iterator[str]:
    """Check that a student on its own base model has one, and a teacher that it can learn from."""
    own_base = isinstance(asked.distill.student, BaseStudent)
    if own_base != (asked.student_base is not None):
        yield (
            f"student_base is {'null' if own_base else 'set'}, but distill.student.kind is "
            f"{asked.distill.student.kind}: set both, or set student_base to null and the kind to another"
        )
    if own_base and asked.distill.teacher == "live":
        yield (
            "distill.teacher: a live teacher reads the student's tokens, but with student_base each "
            "has a tokenizer of its own: set it to cached"
        )
