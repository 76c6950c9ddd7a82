"""A student: chosen layers of its teacher or of another base model, or a new architecture.

DistilBERT (Sanh et al. 2019) is initialised from every other layer of its teacher in the same way.
"""

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from torch import nn

from baton import console, params
from baton.contracts.input_spec import (
    ENCODERS,
    AudioInput,
    ImageInput,
    ImageTextInput,
    InputSpec,
    TextInput,
)
from baton.errors import ModelError, ParamsError
from baton.models import model_folder
from baton.models.classifier import Classifier, ModelInfo, weight_mismatch

if TYPE_CHECKING:
    from baton.models.encoder_classifier import EncoderClassifier
    from baton.models.image_model import ImageClassifier
    from baton.models.image_text_model import ImageTextClassifier
    from baton.models.text_model import TextClassifier

Encoder = TypeVar("Encoder", bound="EncoderClassifier")


def make(
    teacher: Classifier,
    info: ModelInfo,
    student: params.LayersStudent
    | params.EncoderDecoderStudent
    | params.TimmStudent
    | params.ImageTextStudent,
    settings: params.Training,
    attention: str,
) -> Classifier:
    """Make a student for the teacher's input and classes, with the dropout rates in `settings`.

    The teacher is not changed. A student of chosen layers also gets the teacher's embeddings and head. A new
    architecture is initialised from torch's global seed, with a head of the teacher's kind; it pools as the
    teacher does, or in its own way if it cannot.

    Raises:
        ParamsError: If the teacher lacks a layer, or the architecture is unavailable.
        ModelError: If the architecture lacks a dropout rate that is set.
    """
    if isinstance(student, params.EncoderDecoderStudent):
        from baton.models import sequence_model

        assert isinstance(teacher, sequence_model.SequenceModel), "params refuse others"
        return sequence_model.student(
            teacher, student.encoder_layers, student.decoder_layers, settings, attention
        )
    match info.input:
        case TextInput():
            assert not isinstance(student, params.ImageTextStudent), "params refuse it"
            if isinstance(student, params.TimmStudent):
                hint = "set distill.student.kind to teacher_layers"
                raise ParamsError(
                    "distill.student: timm's architectures read images", got=student.architecture, hint=hint
                )
            return _layers(cast("TextClassifier", teacher), info, student.layers, settings, attention)
        case ImageInput() | AudioInput():
            reads = info.input.picture if isinstance(info.input, AudioInput) else info.input
            assert not isinstance(student, params.ImageTextStudent), "params refuse it"
            if isinstance(student, params.LayersStudent) and _of_transformers(teacher):
                return _layers(cast("EncoderClassifier", teacher), info, student.layers, settings, attention)
            return _of_images(cast("ImageClassifier", teacher), info, reads, student, settings, attention)
        case ImageTextInput():
            assert isinstance(student, params.ImageTextStudent), "params refuse any other"
            return _of_both(cast("ImageTextClassifier", teacher), info, student, settings, attention)


def _of_both(
    teacher: "ImageTextClassifier",
    info: ModelInfo,
    student: params.ImageTextStudent,
    settings: params.Training,
    attention: str,
) -> Classifier:
    """Return a student of each encoder, with the teacher's head if its features are as wide."""
    from baton.models import image_text_model

    assert isinstance(info.input, ImageTextInput)
    encoders = teacher.backbone
    if isinstance(student.image, params.WholeStudent):
        image = _remade(encoders.image, info, info.input.image, settings, attention)
        image.load_state_dict(encoders.image.state_dict())
    else:
        image = _of_images(encoders.image, info, info.input.image, student.image, settings, attention)
    count: int = encoders.text.backbone.config.num_hidden_layers
    layers = range(count) if isinstance(student.text, params.WholeStudent) else student.text.layers
    text = _layers(encoders.text, info, tuple(layers), image_text_model.of_text(settings), attention)
    made = image_text_model.ImageTextClassifier(image, text, info.head, info.task.width, settings.frozen)
    for name in ENCODERS:
        if made.backbone.widths[name] == encoders.widths[name]:
            made.backbone.norms[name].load_state_dict(encoders.norms[name].state_dict())
    if made.backbone.widths == encoders.widths:
        made.head.load_state_dict(teacher.head.state_dict())
    return made


def _of_images(
    teacher: "ImageClassifier",
    info: ModelInfo,
    reads: ImageInput,
    student: params.LayersStudent | params.TimmStudent,
    settings: params.Training,
    attention: str,
) -> "ImageClassifier":
    if isinstance(student, params.TimmStudent):
        return _new(info, reads, student, settings, attention)
    return _blocks(teacher, info, reads, student.layers, settings, attention)


def has_new_head(made: Classifier, teacher: Classifier, student: params.Student) -> bool:
    """Return whether a student of `make` has a head of its own; the others start with the teacher's."""
    match student:
        case params.TimmStudent():
            return True
        case params.ImageTextStudent():
            return bool(made.backbone.widths != teacher.backbone.widths)
        case _:
            return False


def on_base(
    base: Path,
    info: ModelInfo,
    reads: InputSpec,
    student: params.BaseStudent,
    settings: params.Training,
    attention: str,
) -> Classifier:
    """Make a student on the base model in the folder `base`, with a new head of the teacher's kind.

    The head is initialised from torch's global seed. `info` is the teacher's; `reads` is what the student
    reads, by its own tokenizer.

    Raises:
        ParamsError: If the base model lacks a layer.
        ModelError: If its folder is incomplete, or it lacks what head and dropout rates need.
    """
    made = model_folder.create(base, info.head, info.task.width, settings, attention, reads)
    if student.layers is None:
        return made
    return _layers(cast("TextClassifier", made), info, student.layers, settings, attention)


def _of_transformers(teacher: Classifier) -> bool:
    from baton.models.encoder_classifier import EncoderClassifier

    return isinstance(teacher, EncoderClassifier)


def _layers(
    teacher: Encoder,
    info: ModelInfo,
    layers: tuple[int, ...],
    settings: params.Training,
    attention: str,
) -> Encoder:
    """Return a copy of the teacher with only `layers` of its encoder, counted from 0."""
    from baton.models import transformers_backbone

    count: int = teacher.backbone.config.num_hidden_layers
    _check_layers(layers, count)
    kept = copy.deepcopy(teacher)
    name = transformers_backbone.layer_stack(kept.backbone)
    if name is None:
        got, expected = type(kept.backbone).__name__, f"a list of {count} layers"
        raise ParamsError("distill: cannot find this teacher's layers", got=got, expected=expected)
    parent, _, attribute = name.rpartition(".")
    stack = kept.backbone.get_submodule(name)
    setattr(kept.backbone.get_submodule(parent), attribute, nn.ModuleList(stack[index] for index in layers))
    config = kept.backbone.config
    if getattr(config, "layer_types", None):  # one entry per layer
        config.layer_types = [config.layer_types[index] for index in layers]
    config.num_hidden_layers = len(layers)
    transformers_backbone.set_dropout(config, settings)
    student = type(teacher).assemble(config, info.head, info.task.width, attention)
    student.head = kept.head
    student.load_state_dict(kept.state_dict())
    return student


def _blocks(
    teacher: "ImageClassifier",
    info: ModelInfo,
    reads: ImageInput,
    layers: tuple[int, ...],
    settings: params.Training,
    attention: str,
) -> "ImageClassifier":
    """Return a copy of the teacher with only `layers` of its transformer blocks, counted from 0."""
    from baton.models import timm_trial

    count = len(getattr(teacher.backbone, "blocks", ()))
    if not count or "depth" not in timm_trial.accepted(type(teacher.backbone)):
        hint = "set distill.student.kind to timm and choose an architecture"
        raise ParamsError(
            "distill.student: this teacher has no list of blocks",
            got=teacher.architecture,
            expected="a ViT",
            hint=hint,
        )
    _check_layers(layers, count)
    student = _remade(teacher, info, reads, settings, attention, depth=len(layers))
    places = {str(layer): str(place) for place, layer in enumerate(layers)}
    weights = {}
    for name, tensor in teacher.state_dict().items():
        block = re.match(r"backbone\.blocks\.(\d+)\.", name)
        if block is None:
            weights[name] = tensor
        elif block[1] in places:
            weights[f"backbone.blocks.{places[block[1]]}.{name[block.end() :]}"] = tensor
    try:
        student.load_state_dict(weights)
    except RuntimeError as error:
        hint = "set distill.student.kind to timm"
        raise ModelError(
            f"these layers of {teacher.architecture} do not form a smaller model",
            got=weight_mismatch(error),
            hint=hint,
        ) from None
    return student


def _remade(
    teacher: "ImageClassifier",
    info: ModelInfo,
    reads: ImageInput,
    settings: params.Training,
    attention: str,
    **own: Any,
) -> "ImageClassifier":
    """Return a copy of the teacher with the rates in `settings` and arguments of its `own`, but for weights.

    The head has its weights.
    """
    from timm import models

    from baton.models import image_model, timm_trial
    from baton.models import timm_backbone as backbones

    arguments: dict[str, Any] = {
        "model_name": teacher.architecture,
        "pretrained_cfg": dict(teacher.backbone.pretrained_cfg),
    }
    arguments |= models.get_model_args(teacher.backbone) | own
    arguments |= timm_trial.try_out(arguments, "pooler", settings, reads)
    made = image_model.ImageClassifier(
        backbones.construct(arguments), info.head, info.task.width, attention, reads
    )
    made.head = copy.deepcopy(teacher.head)
    return made


def _new(
    info: ModelInfo,
    reads: ImageInput,
    student: params.TimmStudent,
    settings: params.Training,
    attention: str,
) -> "ImageClassifier":
    """Return a newly initialised architecture for the teacher's input and classes."""
    from baton.models import image_model, timm_trial
    from baton.models import timm_backbone as backbones

    name = student.architecture
    if not backbones.known(name):
        problem = "distill.student.architecture: timm has no such architecture"
        raise ParamsError(problem, got=name, hint=backbones.close_matches(name))
    if own := backbones.set_elsewhere(student.arguments):
        hint = "remove it: input and classes are the teacher's, and dropout rates are keys of distill"
        raise ParamsError("distill.student.arguments: some are set elsewhere", got=", ".join(own), hint=hint)
    arguments = backbones.arguments(name, reads, **student.arguments)
    pooling = info.head.pooling
    try:
        arguments |= timm_trial.try_out(arguments, pooling, settings, reads)
    except backbones.PoolingError:
        pooling = "pooler"
        console.say(
            f"student: {name} cannot pool by {info.head.pooling} as its teacher does; it pools in its own way"
        )
        arguments |= timm_trial.try_out(arguments, pooling, settings, reads)
    head = info.head.model_copy(update={"pooling": pooling})
    return image_model.finish(backbones.construct(arguments), head, info.task.width, attention, reads)


def _check_layers(layers: tuple[int, ...], count: int) -> None:
    if max(layers) >= count:
        hint, expected = f"choose from 0 to {count - 1}", f"less than {count}"
        raise ParamsError(
            "distill.student.layers: the model has no such layer",
            got=max(layers),
            expected=expected,
            hint=hint,
        )
