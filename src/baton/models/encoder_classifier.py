"""What classifiers on an encoder of transformers have in common: its config, layers and activations."""

import abc
import re
from typing import Any, Self

from torch import nn

from baton import params
from baton.errors import ModelError
from baton.models import transformers_backbone as backbones
from baton.models.classifier import Classifier


class EncoderClassifier(Classifier):
    """A transformers encoder with a classification head."""

    @classmethod
    @abc.abstractmethod
    def assemble(cls, config: Any, head: params.Head, classes: int, attention: str) -> Self:
        """Return a classifier with the encoder that `config` describes, without loading its weights."""

    def config(self) -> dict[str, Any]:
        """Return the config as transformers writes it."""
        config: dict[str, Any] = self.backbone.config.to_diff_dict()
        return config | {"model_type": self.backbone.config.model_type}

    def checkpoint_activations(self) -> None:
        """Recompute activations layer by layer, as transformers does."""
        try:
            self.backbone.activation_checkpointing_enable({"use_reentrant": False})
        except ValueError as error:
            hint = "set runtime.gradient_checkpointing to false"
            raise ModelError(
                "this encoder cannot recompute its activations", got=str(error), hint=hint
            ) from None

    def shards(self) -> list[nn.Module]:
        """Return the encoder's list of layers."""
        stack = backbones.layer_stack(self.backbone)
        return list(self.backbone.get_submodule(stack)) if stack else []

    def _backbone_groups(self) -> list[list[str]]:
        """Return the embeddings, each layer, and the parameters after the last layer."""
        stack = backbones.layer_stack(self.backbone)
        tables = {
            f"{name}.weight"
            for name, module in self.backbone.named_modules()
            if isinstance(module, nn.Embedding)
        }
        bottom: list[str] = []
        layers: dict[int, list[str]] = {}
        top: list[str] = []
        for name, _ in self.backbone.named_parameters():
            # An encoder whose layers share their weights (ALBERT) has no list of layers: all but the
            # embeddings are one layer.
            index = re.match(rf"{re.escape(stack)}\.(\d+)\.", name) if stack else None
            if index:
                layers.setdefault(int(index[1]), []).append(name)
            elif name in tables or (not layers if stack else "embedding" in name):
                bottom.append(name)
            else:
                top.append(name)
        return [bottom, *(layers[index] for index in sorted(layers)), top]
