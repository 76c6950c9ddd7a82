"""Floating-point operations of a training step in closed form, and the peaks of cards: the two sides of MFU.

MFU is the share of a card's peak that useful operations reach (Chowdhery et al. 2022, PaLM, arXiv:2204.02311,
appendix B): for each token, 6 operations per weight of a matrix (2 forward, 4 backward) and 12 * layers *
width * length for attention's two products. Recomputed operations do not count, nor do those outside matrix
products. Narayanan et al. 2021 (arXiv:2104.04473, section 5.1) count alike, except that they include
recomputed activations.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from baton.models.model_folder import Classifier

# Dense bf16 with fp32 accumulation, TFLOP/s, by the start of torch's name of the card. From NVIDIA's data
# sheets, which print twice the figure "with sparsity" from Ampere on: "NVIDIA H100 Tensor Core GPU" (SXM
# 1,979, PCIe 1,513, NVL 1,671), "NVIDIA H200 Tensor Core GPU" (1,979), "NVIDIA A100 Tensor Core GPU" (624).
# The longest match counts.
PEAKS = {
    "NVIDIA H100 80GB HBM3": 989.5,  # SXM
    "NVIDIA H100 PCIe": 756.5,
    "NVIDIA H100 NVL": 835.5,
    "NVIDIA H200": 989.5,
    "NVIDIA A100": 312.0,
}
SOURCE = "NVIDIA's data sheet of the card, dense bf16 (half of the figure with sparsity)"
TRAINED, READ = 6, 4  # operations per weight and token; 4 if nothing before it is trained


@dataclass(frozen=True)
class Costs:
    """The sizes that determine a model's matrix operations."""

    token: int  # weights that each token passes through
    sample: int  # weights that each sample passes through once: the head
    stem: int  # multiplications per sample in the patch convolution; no gradient passes through it
    layers: int
    width: int
    own_tokens: int = 0  # tokens of a sample of pixels, the same for every sample

    def operations(self, lengths: Iterable[int]) -> float:
        """Return the operations of one forward and backward pass over samples of these token counts."""
        counts = list(lengths)
        tokens, squares = sum(counts), sum(count * count for count in counts)
        attention = 2 * TRAINED * self.layers * self.width * squares
        return (
            TRAINED * self.token * tokens
            + attention
            + (TRAINED * self.sample + READ * self.stem) * len(counts)
        )


def of_text(model: Classifier) -> Costs:
    """Return the costs of a transformers encoder."""
    config = model.backbone.config
    return Costs(
        _linear(model.backbone), _linear(model.head), 0, config.num_hidden_layers, config.hidden_size
    )


def of_image(model: Classifier) -> Costs:
    """Return the costs of a timm ViT."""
    backbone = model.backbone
    patches, stem = backbone.patch_embed.num_patches, backbone.patch_embed.proj.weight.numel()
    tokens = patches + backbone.num_prefix_tokens
    return Costs(
        _linear(backbone),
        _linear(model.head),
        stem * patches,
        len(backbone.blocks),
        backbone.embed_dim,
        tokens,
    )


def peak(card: str) -> float | None:
    """Return the operations per second in the card's data sheet; None for a card not in `PEAKS`."""
    names = [name for name in PEAKS if card.startswith(name)]
    return PEAKS[max(names, key=len)] * 1e12 if names else None


def _linear(module: nn.Module) -> int:
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))
