"""Images without the pixels that spoke most for an answer, and without as many random ones.

Inputs: an image model, images and their attributions -> the answer's probability as is, and without either.
Pixels get the image's mean colour, which is where the attributions begin (see `explain`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baton.batches.augmentation.random_streams import keys
from baton.evaluate.attributions import strongest

DRAWS = 5  # of random pixels


def probabilities(
    model: nn.Module,
    pixels: torch.Tensor,
    classes: NDArray[np.int64],
    attributions: NDArray[np.float32],
    ids: Sequence[str],
    temperature: float,
) -> NDArray[np.float64]:
    """Return the probability of a class as is, without its strongest pixels, and without random ones.

    The shape is (images, 3).

    Args:
        model: in eval mode.
        pixels: (images, channels, height, width), 0 to 255.
        classes: (images,).
        attributions: (images, height, width), above 0 if they speak for the class.
        ids: of the rows, the seeds of random pixels.
        temperature: of the probabilities.
    """
    device, found = next(model.parameters()).device, []
    for image, name, scores, id_ in zip(pixels, classes.tolist(), attributions, ids, strict=True):
        gone = strongest(scores.reshape(-1))  # (height * width,)
        generator = np.random.default_rng(keys([id_])[0])
        masks = [np.zeros_like(gone), gone, *(generator.permutation(gone) for _ in range(DRAWS))]
        hidden = torch.from_numpy(np.stack(masks)).reshape(len(masks), 1, *scores.shape).to(device)
        real = image.to(device).float()[None]
        copies = torch.where(hidden, real.mean(dim=(2, 3), keepdim=True), real)
        with torch.no_grad():
            p = (model(copies).double() / temperature).softmax(1)[:, name].cpu().numpy()
        found.append([p[0], p[1], p[2:].mean()])
    return np.array(found)
