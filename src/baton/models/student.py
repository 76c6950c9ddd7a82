"""A student from chosen layers of its teacher (as DistilBERT, Sanh et al. 2019, initialises from every other layer)."""

import copy
from collections.abc import Sequence

from torch import nn

from baton.errors import ParamsError
from baton.models.build import Classifier


def from_teacher(teacher: Classifier, layers: Sequence[int]) -> Classifier:
    """A copy of the teacher (embeddings, head) that keeps only `layers` of its encoder, counted from 0.

    Raises:
        ParamsError: a layer that the teacher does not have.
    """
    count: int = teacher.backbone.config.num_hidden_layers
    if max(layers) >= count:
        hint = f"choose from 0 to {count - 1}"
        raise ParamsError("distill.layers: the teacher has no such layer", got=max(layers), expected=f"less than {count}", hint=hint)
    student = copy.deepcopy(teacher)
    name = _stack(student.backbone, count)
    parent_name, _, attribute = name.rpartition(".")
    stack = student.backbone.get_submodule(name)
    setattr(student.backbone.get_submodule(parent_name), attribute, nn.ModuleList(stack[index] for index in layers))
    student.backbone.config.num_hidden_layers = len(layers)
    return student


def set_dropout(model: Classifier, dropout: float, attention_dropout: float) -> None:
    """Set the encoder's rates in place; modules inside an attention block take the second."""
    for name, module in model.backbone.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = attention_dropout if name.split(".")[-2:-1] == ["self"] else dropout


def _stack(backbone: nn.Module, count: int) -> str:
    """Name of the encoder's list of layers: the first ModuleList as long as the config says."""
    found: list[str] = [name for name, module in backbone.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if not found:
        raise ParamsError(
            "distill: this teacher's layers cannot be found", got=type(backbone).__name__, expected=f"a list of {count} layers"
        )
    return found[0]
