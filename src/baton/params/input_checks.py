"""What params may not ask of a kind of input, or only of it; one line per problem.

Input: the whole of params -> problems, each with its YAML path and the way out.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from baton.params.base import ImageTextBase, TimmBase
from baton.params.evaluate import FeaturesBaseline
from baton.params.source import DigitsSource, IdxSource, TorchvisionSource
from baton.params.tokenize import AutoLength, WindowsTruncation
from baton.params.training import BaseStudent, ImageTextStudent, TimmStudent

if TYPE_CHECKING:
    from baton.params.reading import Params


def other_modality(asked: "Params") -> Iterator[str]:
    """Yield what does not fit together if `preprocess` reads another kind of input."""
    if asked.preprocess.kind != asked.tokenize.kind:
        yield (
            f"tokenize.kind is {asked.tokenize.kind}, but preprocess.kind is {asked.preprocess.kind}: "
            "set both to the same value"
        )
    kind = asked.preprocess.kind
    wrong = [name for name, value in _of_images(asked).items() if value]
    if kind == "text" and wrong:
        yield f"{', '.join(wrong)}: only for images, preprocess.kind is text; set to null or 0.0"
    if kind != "text":
        for name, part in {"finetune": asked.finetune, "distill": asked.distill}.items():
            if part.tokens:
                yield f"{name}.tokens: only for texts, preprocess.kind is {kind}; set batch_size instead"
        if asked.runtime.packing is True:
            yield f"runtime.packing: only for texts, preprocess.kind is {kind}; set to auto or false"
    yield from _other_augmentation(asked)
    content = getattr(asked.source, "content", None)
    if content and kind != "text" and content != {"image_text": "images"}.get(kind, kind):
        yield f"source.content is {content}, preprocess.kind is {kind}: set both to the same value"


def _other_augmentation(asked: "Params") -> Iterator[str]:
    """Check that spectrograms are not varied as photographs are, nor images masked as spectrograms."""
    kind = asked.preprocess.kind
    photos = ("flip", "rotation", "colour", "randaugment")
    foreign = {"audio": photos, "images": ("masks",), "image_text": ("masks",)}.get(kind, ())
    parts = {"finetune": asked.finetune.augmentation, "distill": asked.distill.augmentation}
    for name, own in parts.items():
        if wrong := [key for key in foreign if own and getattr(own, key)]:
            what = "images" if kind == "audio" else "audio"
            yield (
                f"{name}.augmentation: {', '.join(wrong)} only for {what}, preprocess.kind is {kind}; "
                "set to null or 0.0"
            )
    if kind == "audio" and asked.evaluate.robustness:
        yield ("evaluate.robustness: measured for images, preprocess.kind is audio; set to null")


def of_both(asked: "Params") -> Iterator[str]:
    """Check what images with texts need, and what only they have."""
    both = asked.preprocess.kind == "image_text"
    fits = {
        "base.kind": (asked.base.kind, both, "registered"),
        "distill.student.kind": (asked.distill.student.kind, both, None),
    }
    for name, (kind, wanted, other) in fits.items():
        if (kind == "image_text") is not wanted and kind != other:
            yield (
                f"{name} is {kind}, but preprocess.kind is {asked.preprocess.kind}: "
                + ("set it to image_text" if both else "image_text is for images with texts")
            )
    yield from _texts_beside(asked, both)
    for name, part in {"finetune": asked.finetune, "distill": asked.distill}.items():
        if part.frozen and not both:
            yield f"{name}.frozen: the model has a single encoder, which is trained; set to []"
        if "image" in part.frozen and _draws_images(asked, name):
            yield (
                f"{name}.frozen: the image encoder starts from random weights, so it must be trained; "
                "set it to [] or [text]"
            )
        if both and part.augmentation and (part.augmentation.mixup or part.augmentation.cutmix):
            yield f"{name}.augmentation: texts cannot be mixed as images are; set mixup and cutmix to 0.0"
    if both and (asked.evaluate.robustness or asked.evaluate.gallery):
        yield "evaluate.robustness and evaluate.gallery: only for images alone; set both to null"
    for place, baseline in enumerate(asked.evaluate.baselines):
        if isinstance(baseline, FeaturesBaseline) and baseline.encoder and not both:
            yield f"evaluate.baselines.{place}.encoder: the model has a single encoder; set to null"


def _draws_images(asked: "Params", section: str) -> bool:
    """Return whether the image encoder that a section trains starts from random weights."""
    student, base = asked.distill.student, asked.base
    if section == "distill" and isinstance(student, ImageTextStudent):
        return isinstance(student.image, TimmStudent)  # otherwise it is the teacher's
    image = base.image if isinstance(base, ImageTextBase) else None
    return isinstance(image, TimmBase) and image.weights is None


def _texts_beside(asked: "Params", both: bool) -> Iterator[str]:
    """Check that a source of images gives their texts if models read them."""
    keys = {"table": "text_column", "folder": "text"}
    key = keys.get(asked.source.kind)
    if key is not None and both is not (getattr(asked.source, key) is not None):
        advice = "say where the texts are" if both else "set it to null"
        yield f"source.{key}: preprocess.kind is {asked.preprocess.kind}: {advice}"
    if both and key is None and isinstance(asked.source, DigitsSource | IdxSource | TorchvisionSource):
        yield f"source.kind {asked.source.kind} has images without texts, preprocess.kind is image_text"


def of_pairs(asked: "Params") -> Iterator[str]:
    """Check that windows leave room for the first text of a pair, which each of them repeats."""
    if asked.preprocess.kind != "text" or asked.preprocess.text_pair_column is None:
        return
    if asked.tokenize.kind == "text" and isinstance(asked.tokenize.truncation, WindowsTruncation):
        length = asked.tokenize.max_length
        least = length.least if isinstance(length, AutoLength) else length
        if asked.tokenize.truncation.overlap > least // 4:
            yield (
                f"tokenize.truncation.overlap {asked.tokenize.truncation.overlap} must be at most "
                f"{least // 4}, a quarter of max_length, if rows are pairs of texts"
            )


def another_base(asked: "Params") -> Iterator[str]:
    """Check that a student on its own base model has one, and a teacher that it can learn from."""
    own_base = isinstance(asked.distill.student, BaseStudent)
    if own_base != (asked.student_base is not None):
        yield (
            f"student_base is {'null' if own_base else 'set'}, but distill.student.kind is "
            f"{asked.distill.student.kind}: set both, or set student_base to null and the kind to another"
        )
    if isinstance(asked.student_base, TimmBase | ImageTextBase):
        yield (
            f"student_base.kind {asked.student_base.kind} reads images, but the student reads texts: "
            "set it to wheel, joined, hub, local or registered"
        )
    if own_base and asked.preprocess.kind != "text":
        yield (
            f"distill.student.kind base is for texts, preprocess.kind is {asked.preprocess.kind}: "
            "set it to teacher_layers or timm"
        )
    if own_base and asked.distill.teacher == "live":
        yield (
            "distill.teacher: a live teacher reads the student's tokens, but with student_base each "
            "has a tokenizer of its own: set it to cached"
        )


def _of_images(asked: "Params") -> dict[str, Any]:
    sections = {"finetune": asked.finetune, "distill": asked.distill}
    found = {
        f"{name}.{key}": getattr(part, key)
        for name, part in sections.items()
        for key in ("augmentation", "drop_path")
    }
    return found | {
        "evaluate.robustness": asked.evaluate.robustness,
        "evaluate.gallery": asked.evaluate.gallery,
    }
