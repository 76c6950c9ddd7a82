"""Images: a timm backbone with our head, from a base model's folder or from a model folder of ours, both in timm's hub layout."""

from pathlib import Path
from typing import Any

import torch
from timm import models
from torch import nn

from baton import params
from baton.errors import ModelError
from baton.models import timm_backbone as backbones
from baton.models import timm_trial
from baton.models.classifier import WEIGHTS, Classifier
from baton.models.kernels import convolution
from baton.models.kernels import dropout as dropouts

# Of a checkpoint's data config: where it came from, and what is not true of the model that became of it.
ORIGIN = {"architecture", "file", "hf_hub_filename", "hf_hub_id", "source", "state_dict", "url"}
STALE = {
    "custom_load",
    "label_descriptions",
    "label_names",
    "label_offset",
    "test_crop_pct",
    "test_input_size",
    "test_pool_size",
}


class ImageClassifier(Classifier):
    """A timm backbone with a classification head, for pixels as they are stored."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, backbone: Any, head: params.Head, classes: int, attention: str, shape: dict[str, Any]
    ) -> None:
        """`backbone` has no classifier and pools as `head` says; `shape` is meta.json's `input`."""
        super().__init__(backbone, head, backbone.head_hidden_size, classes)
        self.shape = shape
        for name in ("mean", "std"):  # on the scale of the pixels
            self.register_buffer(name, 255 * torch.tensor(shape[name]).view(1, -1, 1, 1), persistent=False)
        kernels = [module.kernel_size for module in backbone.modules() if isinstance(module, nn.Conv2d)]
        # A transformer has one, its patch embedding. Elsewhere convolutions find their fast kernels in this memory format.
        self.channels_last = sum(max(size) > 1 for size in kernels) > 1
        if self.channels_last:
            backbone.to(memory_format=torch.channels_last)
        if attention == "matmul":  # "sdpa" leaves it to timm, which fuses attention where it has tried that
            for module in backbone.modules():
                if hasattr(module, "fused_attn"):
                    module.fused_attn = False
        dropouts.install(backbone)
        convolution.install(backbone)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width), uint8 or float from 0 to 255 -> (batch, width)."""
        pixels = (pixels - self.mean) / self.std
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        pooled: torch.Tensor = self.backbone(pixels)
        return pooled

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width), uint8 or float from 0 to 255 -> logits (batch, classes)."""
        logits: torch.Tensor = self.head(self.features(pixels))
        return logits

    @property
    def architecture(self) -> str:
        """Timm's name of it."""
        return str(self.backbone.pretrained_cfg["architecture"])

    def config(self) -> dict[str, Any]:
        """In timm's hub layout, with all arguments and with the data config that the model was trained with."""
        shape = self.shape
        data = {
            "input_size": [shape["channels"], *shape["size"]],
            "mean": shape["mean"],
            "std": shape["std"],
            "num_classes": 0,
        }
        crop = {
            "interpolation": shape["interpolation"],
            "crop_pct": shape["crop_fraction"],
            "crop_mode": shape["crop_mode"],
        }
        current = models.get_model_input_config(self.backbone)
        kept = {
            key: value for key, value in self.backbone.pretrained_cfg.items() if key not in ORIGIN | STALE
        }
        return {
            "architecture": self.architecture,
            "num_classes": 0,
            "num_features": self.backbone.num_features,
            "model_args": models.get_model_args(self.backbone),
            "pretrained_cfg": kept | current | data | crop,
        }

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that the architecture excepts: position embeddings and tokens."""
        own: set[str] = getattr(self.backbone, "no_weight_decay", set)()
        return {f"backbone.{name}" for name in own}

    def checkpoint_activations(self) -> None:
        """Block by block, as timm does it."""
        try:
            self.backbone.set_grad_checkpointing(True)
        except (AssertionError, AttributeError):
            hint = "set runtime.gradient_checkpointing to false"
            raise ModelError(
                "this architecture cannot recompute its activations", got=self.architecture, hint=hint
            ) from None

    def shards(self) -> list[nn.Module]:
        """The transformer's blocks; of other architectures their stages."""
        return list(getattr(self.backbone, "blocks", ()) or getattr(self.backbone, "stages", ()))

    def _backbone_groups(self) -> list[list[str]]:
        """Timm's own, on which its layer-wise rates are built: stem, blocks (the last one with its norm), what comes after."""
        if not hasattr(self.backbone, "group_matcher"):
            problem, hint = (
                "timm does not say what the layers of this architecture are",
                "set layer_decay to 1.0",
            )
            raise ModelError(problem, got=self.architecture, hint=hint)
        groups = models.group_parameters(self.backbone, self.backbone.group_matcher())
        return [groups[index] for index in sorted(groups)]


def create(
    base: Path,
    head: params.Head,
    classes: int,
    settings: params.Training,
    attention: str,
    shape: dict[str, Any],
) -> ImageClassifier:
    """A new classifier on a base model; its first convolution and its position embeddings are adapted to `shape` once, here.

    Without a weights file it is drawn from torch's global seed, as the head is.

    Raises:
        ModelError: the folder is incomplete, its weights do not fit, or the architecture lacks what is asked of it.
    """
    backbones.read_config(base)
    arguments = backbones.arguments(f"local-dir:{base}", shape)
    arguments |= timm_trial.try_out(arguments, head.pooling, settings, shape)
    backbone = (
        backbones.pretrained(base, arguments)
        if (base / WEIGHTS).is_file()
        else backbones.construct(arguments)
    )
    return finish(backbone, head, classes, attention, shape)


def finish(
    backbone: Any, head: params.Head, classes: int, attention: str, shape: dict[str, Any]
) -> ImageClassifier:
    """The classifier on a timm model, whose own classifier goes.

    Raises:
        ModelError: it cannot pool as the head wants, or could not be loaded once it is saved.
    """
    backbones.pool(backbone, head.pooling)
    model = ImageClassifier(backbone, head, classes, attention, shape)
    with torch.device(
        "meta"
    ):  # before the training, not after it: does what `config` writes build the same model?
        again = backbones.construct({"model_name": model.architecture} | model.config()["model_args"])
    theirs, ours = (
        {name: tensor.shape for name, tensor in one.state_dict().items()} for one in (again, backbone)
    )
    if theirs != ours:
        different = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
        hint = "set finetune.head.pooling to pooler, or choose another architecture"
        raise ModelError(
            f"{model.architecture} is another model when it is built again", got=different[0], hint=hint
        )
    return model


def reassemble(
    folder: Path, head: params.Head, classes: int, attention: str, shape: dict[str, Any]
) -> ImageClassifier:
    """The classifier whose config lies in a model folder of ours; its weights are still to be loaded.

    Raises:
        ModelError: timm does not know it.
    """
    backbones.read_config(folder)
    return ImageClassifier(
        backbones.construct({"model_name": f"local-dir:{folder}"}), head, classes, attention, shape
    )
