"""Integrated gradients (Sundararajan et al. 2017), by captum: which pixels favour one class over another.

Inputs: an image model, images, and two classes for each -> a number per pixel. Gradients of the difference of
the two logits are integrated along the straight line from a plain baseline image to the real one; they sum to
the change of that difference along the line. The baseline has the real image's mean colour everywhere. With
the usual choice, black, black pixels would count for nothing, although they are half of what there is to see
in a digit (Sturmfels et al. 2020).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

AT_ONCE = 16  # steps of one image in memory at a time: 2 GB of activations for ViT-B at 224 pixels


def attribute(
    model: nn.Module, pixels: torch.Tensor, classes: torch.Tensor, rivals: torch.Tensor, steps: int
) -> NDArray[np.float32]:
    """Return attributions (images, height, width), summed over channels.

    Values above 0 favour `classes`, values below 0 favour `rivals`.

    Args:
        model: in eval mode, on the device to compute on.
        pixels: (images, channels, height, width), uint8 or float in 0..255, at the model's input size.
        classes: (images,) int64.
        rivals: (images,) int64.
        steps: of the integration; more steps make the sums more exact.
    """
    from captum.attr import IntegratedGradients

    def difference(inputs: torch.Tensor, classes: torch.Tensor, rivals: torch.Tensor) -> torch.Tensor:
        logits = model(inputs).float()  # (images * steps, classes)
        wanted: torch.Tensor = logits.gather(1, torch.stack([classes, rivals], 1))
        return wanted[:, 0] - wanted[:, 1]

    device = next(model.parameters()).device
    gradients = IntegratedGradients(difference)
    parts = []
    for row in range(len(pixels)):
        real = pixels[row : row + 1].to(device).float()
        plain = real.mean(dim=(2, 3), keepdim=True).expand_as(real)
        both = tuple(part[row : row + 1].to(device) for part in (classes, rivals))
        found = gradients.attribute(
            real, plain, additional_forward_args=both, n_steps=steps, internal_batch_size=AT_ONCE
        )
        parts.append(found.sum(1).float().cpu().numpy())  # (1, height, width)
    return np.concatenate(parts)
