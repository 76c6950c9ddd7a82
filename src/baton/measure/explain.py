"""What in a picture speaks for one class rather than another: integrated gradients (Sundararajan et al. 2017), by captum.

Inputs: an image model, pictures, and two classes for each -> a number for each pixel. They are gradients of the difference of the two
logits, added up on the straight way from a plain picture to the real one; their sum is what the difference gains on that way. The plain
picture has the real one's mean colour everywhere. The usual choice, black, would make black pixels count for nothing, which is half of what
there is to see in a digit (Sturmfels et al. 2020).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

AT_ONCE = 16  # steps of one picture that are in memory together: 2 GB of activations for ViT-B at 224 pixels


def attribute(
    model: nn.Module, pixels: torch.Tensor, classes: torch.Tensor, rivals: torch.Tensor, steps: int
) -> NDArray[np.float32]:
    """Attributions (pictures, height, width), summed over channels: above 0 for what speaks for `classes`, below 0 for `rivals`.

    Args:
        model: in eval mode, on the device where it is to be computed.
        pixels: (pictures, channels, height, width), uint8 or float in 0..255, at the model's input size.
        classes: (pictures,) int64.
        rivals: (pictures,) int64.
        steps: on the way; the more, the closer are the sums.
    """
    from captum.attr import IntegratedGradients

    def difference(inputs: torch.Tensor, classes: torch.Tensor, rivals: torch.Tensor) -> torch.Tensor:
        logits = model(inputs).float()  # (pictures * steps, classes)
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
