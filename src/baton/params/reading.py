"""Read the params file as DVC does, validate the whole of it, and return the sections asked for.

In YAML 1.2, `1e-4` is a number and `off` is a string.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from baton.errors import ParamsError
from baton.params import number_checks, sequence_checks, token_checks
from baton.params.evaluate import BandsBaseline, Evaluate, FeaturesBaseline, PixelsBaseline, TfidfBaseline
from baton.params.fields import Section
from baton.params.lifecycle import Promotion, Retrain
from baton.params.preprocess import OtherClass, Preprocess, TextPreprocess
from baton.params.problems import problem
from baton.params.runtime import Runtime, Tracking
from baton.params.source import (
    Base,
    DigitsSource,
    FolderSource,
    IdxSource,
    ImageTextBase,
    Source,
    TimmBase,
    TorchvisionSource,
)
from baton.params.task import AUTO, LabelsTask, NumbersTask, Task
from baton.params.tokenize import AutoLength, Tokenize, WindowsTruncation
from baton.params.training import (
    BaseStudent,
    Distill,
    Finetune,
    Head,
    ImageTextStudent,
    TimmStudent,
)

PATH = Path("params.yaml")


class Params(Section):
    """The whole of `params.yaml`."""

    description: str
    source: Source
    base: Base
    student_base: Base | None
    task: Task
    preprocess: Preprocess
    tokenize: Tokenize
    finetune: Finetune
    distill: Distill
    evaluate: Evaluate
    runtime: Runtime
    tracking: Tracking
    promotion: Promotion
    retrain: Retrain

    @field_validator("task", mode="before")
    @classmethod
    def _chosen(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("kind") == AUTO:
            raise ValueError(
                "auto is for recipes: keep this file in recipes/ and run `baton use NAME`, which looks at "
                "the data and writes the kind"
            )
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "Params":
        problems = [
            *self._other_modality(),
            *self._of_both(),
            *self._other_task(),
            *self._without_data(),
            *self._of_classes(),
            *number_checks.of_task(self.task, self.preprocess, self.evaluate, self.promotion),
            *self._of_numbers(),
            *self._another_base(),
            *self._of_pairs(),
            *sequence_checks.problems(self),
            *token_checks.problems(self),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _other_modality(self) -> Iterator[str]:
        if self.preprocess.kind != self.tokenize.kind:
            yield (
                f"tokenize.kind is {self.tokenize.kind}, but preprocess.kind is {self.preprocess.kind}: "
                "set both to the same value"
            )
        kind = self.preprocess.kind
        wrong = [name for name, value in self._of_images().items() if value]
        if kind == "text" and wrong:
            yield f"{', '.join(wrong)}: only for images, preprocess.kind is text; set to null or 0.0"
        if kind != "text":
            for name, part in {"finetune": self.finetune, "distill": self.distill}.items():
                if part.tokens:
                    yield f"{name}.tokens: only for texts, preprocess.kind is {kind}; set batch_size instead"
            if self.runtime.packing is True:
                yield f"runtime.packing: only for texts, preprocess.kind is {kind}; set to auto or false"
        yield from self._other_augmentation()
        content = getattr(self.source, "content", None)
        if content and kind != "text" and content != {"image_text": "images"}.get(kind, kind):
            yield f"source.content is {content}, preprocess.kind is {kind}: set both to the same value"

    def _other_augmentation(self) -> Iterator[str]:
        """Check that spectrograms are not varied as photographs are, nor images masked as spectrograms."""
        kind = self.preprocess.kind
        photos = ("flip", "rotation", "colour", "randaugment")
        foreign = {"audio": photos, "images": ("masks",), "image_text": ("masks",)}.get(kind, ())
        parts = {"finetune": self.finetune.augmentation, "distill": self.distill.augmentation}
        for name, own in parts.items():
            if wrong := [key for key in foreign if own and getattr(own, key)]:
                what = "images" if kind == "audio" else "audio"
                yield (
                    f"{name}.augmentation: {', '.join(wrong)} only for {what}, preprocess.kind is {kind}; "
                    "set to null or 0.0"
                )
        if kind == "audio" and self.evaluate.robustness:
            yield ("evaluate.robustness: measured for images, preprocess.kind is audio; set to null")

    def _of_both(self) -> Iterator[str]:
        """Check what images with texts need, and what only they have."""
        both = self.preprocess.kind == "image_text"
        fits = {
            "base.kind": (self.base.kind, both, "registered"),
            "distill.student.kind": (self.distill.student.kind, both, None),
        }
        for name, (kind, wanted, other) in fits.items():
            if (kind == "image_text") is not wanted and kind != other:
                yield (
                    f"{name} is {kind}, but preprocess.kind is {self.preprocess.kind}: "
                    + ("set it to image_text" if both else "image_text is for images with texts")
                )
        yield from self._texts_beside(both)
        for name, part in {"finetune": self.finetune, "distill": self.distill}.items():
            if part.frozen and not both:
                yield f"{name}.frozen: the model has a single encoder, which is trained; set to []"
            if "image" in part.frozen and self._draws_images(name):
                yield (
                    f"{name}.frozen: the image encoder starts from random weights, so it must be trained; "
                    "set it to [] or [text]"
                )
            if both and part.augmentation and (part.augmentation.mixup or part.augmentation.cutmix):
                yield f"{name}.augmentation: texts cannot be mixed as images are; set mixup and cutmix to 0.0"
        if both and (self.evaluate.robustness or self.evaluate.gallery):
            yield "evaluate.robustness and evaluate.gallery: only for images alone; set both to null"
        for place, baseline in enumerate(self.evaluate.baselines):
            if isinstance(baseline, FeaturesBaseline) and baseline.encoder and not both:
                yield f"evaluate.baselines.{place}.encoder: the model has a single encoder; set to null"

    def _draws_images(self, section: str) -> bool:
        """Return whether the image encoder that a section trains starts from random weights."""
        student, base = self.distill.student, self.base
        if section == "distill" and isinstance(student, ImageTextStudent):
            return isinstance(student.image, TimmStudent)  # otherwise it is the teacher's
        image = base.image if isinstance(base, ImageTextBase) else None
        return isinstance(image, TimmBase) and image.weights is None

    def _texts_beside(self, both: bool) -> Iterator[str]:
        """Check that a source of images gives their texts if models read them."""
        keys = {"table": "text_column", "folder": "text"}
        key = keys.get(self.source.kind)
        if key is not None and both is not (getattr(self.source, key) is not None):
            advice = "say where the texts are" if both else "set it to null"
            yield f"source.{key}: preprocess.kind is {self.preprocess.kind}: {advice}"
        if both and key is None and isinstance(self.source, DigitsSource | IdxSource | TorchvisionSource):
            yield f"source.kind {self.source.kind} has images without texts, preprocess.kind is image_text"

    def _other_task(self) -> Iterator[str]:
        known = {"finetune": self.task.metrics, "distill": self.task.metrics, "promotion": self.task.gated}
        for name, metrics in known.items():
            metric = getattr(self, name).metric
            if metric not in metrics:
                yield (
                    f"{name}.metric is {metric}, but task.kind is {self.task.kind}: "
                    f"set it to one of {', '.join(metrics)}"
                )

    def _without_data(self) -> Iterator[str]:
        """Check the baselines now, although they are fitted last."""
        own = {TfidfBaseline: "text", PixelsBaseline: "images", BandsBaseline: "audio"}
        both = self.preprocess.kind == "image_text"
        for number, baseline in enumerate(self.evaluate.baselines):
            name, modality = (
                f"evaluate.baselines.{number} ({baseline.kind})",
                own.get(type(baseline), self.preprocess.kind),
            )
            if modality != self.preprocess.kind and not (both and modality in ("text", "images")):
                yield f"{name} is for {modality}, preprocess.kind is {self.preprocess.kind}: remove it"
            if (
                isinstance(baseline, FeaturesBaseline)
                and isinstance(base := self._encoder(baseline), TimmBase)
                and base.weights is None
            ):
                yield f"{name} needs a pretrained base model, but base.weights is null: remove it"

    def _of_pairs(self) -> Iterator[str]:
        """Check that windows leave room for the first text of a pair, which each of them repeats."""
        if self.preprocess.kind != "text" or self.preprocess.text_pair_column is None:
            return
        if self.tokenize.kind == "text" and isinstance(self.tokenize.truncation, WindowsTruncation):
            length = self.tokenize.max_length
            least = length.least if isinstance(length, AutoLength) else length
            if self.tokenize.truncation.overlap > least // 4:
                yield (
                    f"tokenize.truncation.overlap {self.tokenize.truncation.overlap} must be at most "
                    f"{least // 4}, a quarter of max_length, if rows are pairs of texts"
                )

    def _encoder(self, baseline: FeaturesBaseline) -> Any:
        """Return the base model whose features a baseline reads, the image's if it reads those of both."""
        if isinstance(self.base, ImageTextBase):
            return self.base.text if baseline.encoder == "text" else self.base.image
        return self.base

    def _of_classes(self) -> Iterator[str]:
        """Check that nothing needs one class per row if the task is labels."""
        if not isinstance(self.task, LabelsTask):
            return
        small = self.preprocess.checks.small_class
        if small == "train_only" or isinstance(small, OtherClass):
            yield (
                f"preprocess.checks.small_class: {small} is for rows of one class, task.kind is labels: "
                "set it to fail, keep or drop (which takes a rare label out of its rows)"
            )
        if isinstance(self.source, FolderSource | DigitsSource | IdxSource | TorchvisionSource):
            yield (
                f"source.kind {self.source.kind} gives each image one class, task.kind is labels: list the "
                "images in a table with a column of labels (source.kind: table), or set task.kind to classes"
            )
        for place, baseline in enumerate(self.evaluate.baselines):
            if isinstance(baseline, FeaturesBaseline) and baseline.model == "knn":
                yield (
                    f"evaluate.baselines.{place} (features): knn gives each row one class, task.kind is "
                    "labels: remove it, or set its model to linear"
                )
        if isinstance(self.preprocess, TextPreprocess) and "labels" in self.preprocess.keep_columns:
            yield "preprocess.keep_columns: labels is already a column of the clean tables; rename it"

    def _of_numbers(self) -> Iterator[str]:
        if isinstance(self.task, NumbersTask):
            yield from number_checks.of_numbers(
                self.preprocess, self.source, self.finetune, self.distill, self.promotion
            )

    def _another_base(self) -> Iterator[str]:
        """Check that a student on its own base model has one, and a teacher that it can learn from."""
        asked = isinstance(self.distill.student, BaseStudent)
        if asked != (self.student_base is not None):
            yield (
                f"student_base is {'null' if asked else 'set'}, but distill.student.kind is "
                f"{self.distill.student.kind}: set both, or set student_base to null and the kind to another"
            )
        if isinstance(self.student_base, TimmBase | ImageTextBase):
            yield (
                f"student_base.kind {self.student_base.kind} reads images, but the student reads texts: "
                "set it to wheel, joined, hub, local or registered"
            )
        if asked and self.preprocess.kind != "text":
            yield (
                f"distill.student.kind base is for texts, preprocess.kind is {self.preprocess.kind}: "
                "set it to teacher_layers or timm"
            )
        if asked and self.distill.teacher == "live":
            yield (
                "distill.teacher: a live teacher reads the student's tokens, but with student_base each "
                "has a tokenizer of its own: set it to cached"
            )

    def _of_images(self) -> dict[str, Any]:
        sections = {"finetune": self.finetune, "distill": self.distill}
        found = {
            f"{name}.{key}": getattr(part, key)
            for name, part in sections.items()
            for key in ("augmentation", "drop_path")
        }
        return found | {
            "evaluate.robustness": self.evaluate.robustness,
            "evaluate.gallery": self.evaluate.gallery,
        }


def load(*sections: str, path: Path = PATH) -> Params:
    """Validate the whole file and return only the named sections.

    Reading any other attribute raises AttributeError. A stage calls this once with literal names; a test
    compares them with the stage's `params` in `dvc.yaml`.

    Raises:
        ParamsError: the file is missing, is not valid YAML, or has problems (all are listed with their YAML
            paths).
    """
    params = read(path)
    return Params.model_construct(**{name: getattr(params, name) for name in sections})


def read(path: Path = PATH) -> Params:
    """Validate and return the whole file (for `tracking` and the command line; stages use `load`).

    Raises:
        ParamsError: as for `load`.
    """
    raw = read_raw(path)
    try:
        # Pydantic's strict mode turns lists into tuples only when it validates JSON.
        return Params.model_validate_json(json.dumps(_text_keys(raw), default=str))
    except ValidationError as error:
        problems = sorted(problem(item, raw) for item in error.errors())
        raise ParamsError(
            f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}\n"
            + "\n".join(f"  - {line}" for line in problems),
            hint=f"edit {path}; `baton recipes` lists complete files for comparison",
        ) from None


def _text_keys(value: Any) -> Any:
    """Convert keys that JSON cannot hold (a date, as in `label_names: {2024-01-01: new year}`) to text."""
    match value:
        case dict():
            known = (str, int, float, type(None))
            return {
                key if isinstance(key, known) else str(key): _text_keys(inner) for key, inner in value.items()
            }
        case list():
            return [_text_keys(inner) for inner in value]
        case _:
            return value


def head(raw: dict[str, Any]) -> Head:
    """Return the head described in a model folder's `baton.json`."""
    return TypeAdapter[Head](Head).validate_python(raw)


def read_raw(path: Path = PATH) -> dict[str, Any]:
    """Return the file as plain dicts and lists, unvalidated.

    Raises:
        ParamsError: the file is missing, is not valid YAML, or is not a mapping.
    """
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "run from the project's root, or create it with `baton use NAME`"
        raise ParamsError(
            f"{path} cannot be read", got=error.strerror, expected="a params file", hint=hint
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        place = " ".join(str(error).split())
        raise ParamsError(
            f"{path} is not valid YAML", got=place, expected="YAML 1.2", hint="fix the line named above"
        ) from None
    if not isinstance(raw, dict):
        expected = f"sections {', '.join(Params.model_fields)}"
        raise ParamsError(
            f"{path} is not a mapping",
            got=type(raw).__name__,
            expected=expected,
            hint="`baton use NAME` writes a complete file",
        )
    return raw


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings and lists: {'finetune.head.kind': 'linear', 'distill.layers.0': 0, …}."""
    if isinstance(tree, dict) and tree:
        items = [flatten(value, f"{prefix}{key}.") for key, value in tree.items()]
    elif isinstance(tree, list | tuple) and tree:
        items = [flatten(value, f"{prefix}{index}.") for index, value in enumerate(tree)]
    else:
        return {prefix.removesuffix("."): tree}
    return {key: value for item in items for key, value in item.items()}
