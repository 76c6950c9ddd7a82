"""Image classifiers: a timm backbone with our head, from a base model or a Baton model folder.

Both folders are in timm's hub layout.
"""

from pathlib import Path
from typing import Any

import torch
from timm import models
from torch import nn

from baton import params
from baton.contracts.input_spec import ImageInput
from baton.errors import ModelError
from baton.models import timm_backbone as backbones
from baton.models import timm_trial
from baton.models.classifier import WEIGHTS, Classifier
from baton.models.kernels import convolution
from baton.models.kernels import dropout as dropouts
from baton.runtime.resolve import Work

# Keys of a checkpoint's data config: its origin, and values that do not hold for the model trained from it.
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
    """A timm backbone with a classification head, which takes pixels as stored."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, backbone: Any, head: params.Head, classes: int, attention: str, reads: ImageInput
    ) -> None:
        """`backbone` has no classifier and pools as `head` says."""
        super().__init__(backbone, head, backbone.head_hidden_size, classes)
        self.reads = reads
        for name in ("mean", "std"):  # on the pixels' scale, 0 to 255
            own = 255 * torch.tensor(getattr(reads, name)).view(1, -1, 1, 1)
            self.register_buffer(name, own, persistent=False)
        kernels = [module.kernel_size for module in backbone.modules() if isinstance(module, nn.Conv2d)]
        # A transformer has one convolution, its patch embedding. With more, this memory format has the fast
        # kernels.
        self.channels_last = sum(max(size) > 1 for size in kernels) > 1
        if self.channels_last:
            backbone.to(memory_format=torch.channels_last)
        if attention == "matmul":  # "sdpa" leaves the choice to timm, which fuses attention if that is tested
            for module in backbone.modules():
                if hasattr(module, "fused_attn"):
                    module.fused_attn = False
        dropouts.install(backbone)
        convolution.install(backbone)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels (batch, channels, height, width), uint8 or float from 0 to 255, to (batch, width)."""
        pixels = (pixels - self.mean) / self.std
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        pooled: torch.Tensor = self.backbone(pixels)
        return pooled

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels, as in `features`, to logits (batch, width)."""
        logits: torch.Tensor = self.head(self.features(pixels))
        return logits

    @property
    def architecture(self) -> str:
        """The name that timm has for it."""
        return str(self.backbone.pretrained_cfg["architecture"])

    def config(self) -> dict[str, Any]:
        """Return the config in timm's hub layout, with all arguments and the data config used in training."""
        reads = self.reads
        data = {
            "input_size": [reads.channels, *reads.size],
            "mean": list(reads.mean),
            "std": list(reads.std),
            "num_classes": 0,
        }
        crop = {
            "interpolation": reads.interpolation,
            "crop_pct": reads.crop_fraction,
            "crop_mode": reads.crop_mode,
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
        """Return the parameters that the architecture does not decay: position embeddings and tokens."""
        own: set[str] = getattr(self.backbone, "no_weight_decay", set)()
        return {f"backbone.{name}" for name in own}

    def checkpoint_activations(self) -> None:
        """Recompute activations block by block, as timm does."""
        try:
            self.backbone.set_grad_checkpointing(True)
        except (AssertionError, AttributeError):
            hint = "set runtime.gradient_checkpointing to false"
            raise ModelError(
                "this architecture cannot recompute its activations", got=self.architecture, hint=hint
            ) from None

    def shards(self) -> list[nn.Module]:
        """Return the transformer's blocks, or the stages of other architectures."""
        return list(getattr(self.backbone, "blocks", ()) or getattr(self.backbone, "stages", ()))

    def _backbone_groups(self) -> list[list[str]]:
        """Return timm's groups for layer-wise rates: stem, blocks (the last with its norm), and the rest."""
        if not hasattr(self.backbone, "group_matcher"):
            problem, hint = (
                "timm does not define the layers of this architecture",
                "set layer_decay to 1.0",
            )
            raise ModelError(problem, got=self.architecture, hint=hint)
        groups = models.group_parameters(self.backbone, self.backbone.group_matcher())
        return [groups[index] for index in sorted(groups)]


def work(_: Path) -> Work:
    """Return the facts on which the runtime's `auto` depends: timm fuses attention if a model has any."""
    return Work(fixed_shapes=True)


def create(
    base: Path,
    head: params.Head,
    classes: int,
    settings: params.Training,
    attention: str,
    reads: ImageInput,
) -> ImageClassifier:
    """Create a classifier on a base model, adapting its first convolution and position embeddings.

    Without a weights file the backbone is initialised from torch's global seed, like the head.

    Raises:
        ModelError: If the folder is incomplete, its weights do not match, or the architecture lacks a
            requested feature.
    """
    backbones.read_config(base)
    arguments = backbones.arguments(f"local-dir:{base}", reads)
    arguments |= timm_trial.try_out(arguments, head.pooling, settings, reads)
    backbone = (
        backbones.pretrained(base, arguments)
        if (base / WEIGHTS).is_file()
        else backbones.construct(arguments)
    )
    return finish(backbone, head, classes, attention, reads)


def finish(
    backbone: Any, head: params.Head, classes: int, attention: str, reads: ImageInput
) -> ImageClassifier:
    """Return the classifier on a timm model, whose own classifier is removed.

    Raises:
        ModelError: If the model cannot pool as the head requires, or could not be loaded after saving.
    """
    backbones.pool(backbone, head.pooling)
    model = ImageClassifier(backbone, head, classes, attention, reads)
    # Check before training, not after it, that the config builds the same model.
    with torch.device("meta"):
        again = backbones.construct({"model_name": model.architecture} | model.config()["model_args"])
    theirs, ours = (
        {name: tensor.shape for name, tensor in one.state_dict().items()} for one in (again, backbone)
    )
    if theirs != ours:
        different = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
        hint = "set finetune.head.pooling to pooler, or choose another architecture"
        raise ModelError(
            f"rebuilding {model.architecture} from its config gives a different model",
            got=different[0],
            hint=hint,
        )
    return model


def reassemble(
    folder: Path, head: params.Head, classes: int, attention: str, reads: ImageInput
) -> ImageClassifier:
    """Return the classifier that a Baton model folder's config describes, without loading its weights.

    Raises:
        ModelError: If timm does not have the architecture.
    """
    backbones.read_config(folder)
    return ImageClassifier(
        backbones.construct({"model_name": f"local-dir:{folder}"}), head, classes, attention, reads
    )
