"""A student from chosen layers of its teacher (as DistilBERT, Sanh et al. 2019, initialises from every other layer)."""

import copy
from collections.abc import Sequence

from torch import nn

from baton.errors import ParamsError
from baton.models import build
from baton.models.build import Classifier, ModelInfo


def from_teacher(
    teacher: Classifier, info: ModelInfo, layers: Sequence[int], dropout: float, attention_dropout: float, attention: str
) -> Classifier:
    """The teacher (embeddings, head) with only `layers` of its encoder, counted from 0, and with dropout rates of its own.

    Raises:
        ParamsError: a layer that the teacher does not have.
        ModelError: a dropout rate that its family does not know.
    """
    count: int = teacher.backbone.config.num_hidden_layers
    if max(layers) >= count:
        hint = f"choose from 0 to {count - 1}"
        raise ParamsError("distill.layers: the teacher has no such layer", got=max(layers), expected=f"less than {count}", hint=hint)
    kept = copy.deepcopy(teacher)
    name = _stack(kept.backbone, count)
    parent, _, attribute = name.rpartition(".")
    stack = kept.backbone.get_submodule(name)
    setattr(kept.backbone.get_submodule(parent), attribute, nn.ModuleList(stack[index] for index in layers))
    config = kept.backbone.config
    if getattr(config, "layer_types", None):  # one entry a layer
        config.layer_types = [config.layer_types[index] for index in layers]
    config.num_hidden_layers = len(layers)
    build.set_dropout(config, dropout, attention_dropout)
    student = build.assemble(config, info.head, len(info.labels), attention)
    student.load_state_dict(kept.state_dict())
    return student


def _stack(backbone: nn.Module, count: int) -> str:
    """Name of the encoder's list of layers: the first ModuleList as long as the config says."""
    found: list[str] = [name for name, module in backbone.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if not found:
        raise ParamsError(
            "distill: this teacher's layers cannot be found", got=type(backbone).__name__, expected=f"a list of {count} layers"
        )
    return found[0]
