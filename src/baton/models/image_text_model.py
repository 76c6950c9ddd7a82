"""Classifiers of images with texts: two encoders, whose features meet in one head (late fusion).

The features of each encoder are normalised and put side by side. A linear head on them is the baseline
ConcatBert of Kiela et al. 2019, Supervised multimodal bitransformers (arXiv:1909.02950), section 4.2; the
normalisation (Ba et al. 2016, Layer normalization, arXiv:1607.06450) is added, because the features of
different architectures differ in scale.
"""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import nn

from baton import params
from baton.contracts.input_spec import ENCODERS, ImageTextInput
from baton.models import image_model, text_model
from baton.models.classifier import Classifier
from baton.models.image_model import ImageClassifier
from baton.models.text_model import TextClassifier
from baton.runtime.resolve import Work, takes_statistics


class Encoders(nn.Module):
    """An encoder of images and one of texts; those that are `frozen` are not trained."""

    def __init__(self, image: ImageClassifier, text: TextClassifier, frozen: Sequence[str]) -> None:
        """Take two classifiers, whose heads are dropped."""
        super().__init__()
        self.frozen = frozenset(frozen)
        self.widths = {
            "image": int(image.backbone.head_hidden_size),
            "text": int(text.backbone.config.hidden_size),
        }
        image.head = text.head = nn.Identity()  # type: ignore[assignment]
        self.image, self.text = image, text
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name, width in self.widths.items()})
        for name in self.frozen:
            getattr(self, name).requires_grad_(False)
        self.train(self.training)

    @property
    def tuned(self) -> list[str]:
        """The encoders that are trained."""
        return [name for name in ENCODERS if name not in self.frozen]

    def train(self, mode: bool = True) -> "Encoders":
        """Set the mode; a frozen encoder stays in eval mode: no dropout, and no statistics of batches."""
        super().train(mode)
        for name in self.frozen:
            getattr(self, name).eval()
        return self

    def forward(self, pixels: torch.Tensor, *text: Any) -> torch.Tensor:
        """Return the normalised features of both, (batch, sum of their widths)."""
        features = self.image.features(pixels), self.text.features(*text)
        normed = [self.norms[name](own) for name, own in zip(ENCODERS, features, strict=True)]
        return torch.cat(normed, dim=-1)


class ImageTextClassifier(Classifier):
    """Two encoders with one head."""

    def __init__(
        self,
        image: ImageClassifier,
        text: TextClassifier,
        head: params.Head,
        outputs: int,
        frozen: Sequence[str] = (),
    ) -> None:
        """Take two classifiers, whose heads are dropped; the new head comes from torch's global seed."""
        encoders = Encoders(image, text, frozen)
        super().__init__(encoders, head, sum(encoders.widths.values()), outputs)

    def features(self, pixels: torch.Tensor, *text: Any) -> torch.Tensor:
        """Return what the head reads, (batch, width).

        `pixels` are those of `ImageClassifier.features`, `text` the arguments of `TextClassifier.features`.
        """
        features: torch.Tensor = self.backbone(pixels, *text)
        return features

    def forward(self, pixels: torch.Tensor, *text: Any) -> torch.Tensor:
        """Return logits (batch, outputs); the arguments are those of `features`."""
        logits: torch.Tensor = self.head(self.features(pixels, *text))
        return logits

    @property
    def smallest_part(self) -> int:
        """See `Classifier`; a frozen encoder computes no statistics."""
        tuned = [getattr(self.backbone, name) for name in self.backbone.tuned]
        return 2 if any(map(takes_statistics, tuned)) else 1

    def unpackable(self) -> str | None:
        """See `Classifier`."""
        return "texts next to images are not packed"

    def config(self) -> dict[str, Any]:
        """Return the configs of both encoders."""
        return {name: getattr(self.backbone, name).config() for name in ENCODERS}

    def configs(self) -> dict[str, dict[str, Any]]:
        """See `Classifier`."""
        return self.config()

    def no_weight_decay(self) -> set[str]:
        """Return the parameters that the image's architecture does not decay."""
        return {f"backbone.image.{name}" for name in self.backbone.image.no_weight_decay()}

    def checkpoint_activations(self) -> None:
        """Recompute the activations of the encoders that are trained; frozen ones keep none."""
        for name in self.backbone.tuned:
            getattr(self.backbone, name).checkpoint_activations()

    def shards(self) -> list[nn.Module]:
        """Return the layers of both encoders."""
        return [layer for name in ENCODERS for layer in getattr(self.backbone, name).shards()]

    def _backbone_groups(self) -> list[list[str]]:
        """Return the layers of both encoders, paired from the head downwards.

        A layer's learning rate is then the same as in a model of that encoder alone. The norms belong to the
        last group.
        """
        parts = []
        for name in ENCODERS:
            groups = getattr(self.backbone, name).layer_groups()
            parts.append([[f"{name}.{one}" for one in group] for group in reversed(groups)])
        together = [[*image, *text] for image, text in zip_longest(*parts, fillvalue=[])]
        together[0] += [f"norms.{name}" for name, _ in self.backbone.norms.named_parameters()]
        return together[::-1]


def work(folder: Path) -> Work:
    """Return the facts on which the runtime's `auto` depends: those of the text's encoder.

    Raises:
        ModelError: If that is not a known encoder.
    """
    return text_model.work(folder / "text")


def create(
    base: Path,
    head: params.Head,
    outputs: int,
    settings: params.Training,
    attention: str,
    reads: ImageTextInput,
) -> ImageTextClassifier:
    """Create a classifier on two base models; its head is initialised from torch's global seed.

    Rates of dropout apply to both encoders, that of stochastic depth to the image's: texts have none.

    Raises:
        ModelError: As for either encoder.
    """
    image = image_model.create(base / "image", head, outputs, settings, attention, reads.image)
    text = text_model.create(base / "text", head, outputs, of_text(settings), attention)
    return ImageTextClassifier(image, text, head, outputs, settings.frozen)


def of_text(settings: params.Training) -> params.Training:
    """Return the settings for the text's encoder, which has no stochastic depth."""
    return settings.model_copy(update={"drop_path": 0.0})


def reassemble(
    folder: Path, head: params.Head, outputs: int, attention: str, reads: ImageTextInput
) -> ImageTextClassifier:
    """Return the classifier that a Baton model folder's configs describe, without loading its weights.

    Raises:
        ModelError: As for either encoder.
    """
    image = image_model.reassemble(folder / "image", head, outputs, attention, reads.image)
    text = text_model.reassemble(folder / "text", head, outputs, attention)
    return ImageTextClassifier(image, text, head, outputs)
