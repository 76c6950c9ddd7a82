"""Images under noise, blur and brightness changes, as caused by cameras and lighting.

Input: a split of images, a selection of them, a kind and a strength. Output: `Corrupted`, a `Split` of the
changed images. An image is changed in its stored form, before it is resized to the model's input size, and
depends only on itself and its position in the split: all models, and all reruns, see the same pixels.

Kinds and strengths are those of Hendrycks & Dietterich 2019 (ImageNet-C). Their blur is in pixels of 224 x
224 images; here it shrinks with the square root of the image's shorter side, which at 32 pixels gives about
the blur that they chose for that size (CIFAR-10-C).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from baton.batches.image_batch import ImageBatch
from baton.batches.image_batches import ImageSplit
from baton.contracts.targets import Targets

SEED = 0  # of the noise, and of the selection of images
WHITE, BLURRED_SIDE = 255, 224
STRENGTHS = {  # for severities 1 to 5
    # Standard deviation, as a share of the range from black to white.
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    # Standard deviation in pixels, for a shorter side of `BLURRED_SIDE`.
    "gaussian_blur": (1.0, 2.0, 3.0, 4.0, 6.0),
    # Added to the brightest channel, as a share of the range; hue and saturation stay.
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
}


@dataclass(frozen=True)
class Corrupted:
    """The images at `places` (n,) of a split, changed; strength 0 leaves them unchanged."""

    split: ImageSplit
    places: NDArray[np.int64]
    kind: str
    strength: float

    def __len__(self) -> int:
        return len(self.places)

    @property
    def targets(self) -> Targets:
        """The targets."""
        return self.split.targets.part(self.places)

    @property
    def units(self) -> None:
        """See `Split`."""
        return

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Lengths, (n,)."""
        return self.split.lengths[self.places]

    @property
    def windows(self) -> NDArray[np.int64]:
        """Windows, (n,)."""
        return self.split.windows[self.places]

    def batch(self, rows: NDArray[np.int64]) -> ImageBatch:
        """Return the changed images at `rows` (batch,)."""
        whole = self.split.batch(self.places[rows])
        changed = corrupt(whole.pixels, self.kind, self.strength, self.places[rows])
        return dataclasses.replace(whole, pixels=changed, rows=torch.from_numpy(rows.astype(np.int64)))

    def training_batch(
        self,
        rows: NDArray[np.int64],
        step_rows: NDArray[np.int64],  # noqa: ARG002
        seed: int,  # noqa: ARG002
        epoch: int,  # noqa: ARG002
    ) -> ImageBatch:
        """Return the same as `batch`: corrupted images are never trained on."""
        return self.batch(rows)


def draw(rows: int, samples: int) -> NDArray[np.int64]:
    """Return the rows to measure: always the same `samples` of `rows`, in order."""
    return np.sort(np.random.default_rng(SEED).choice(rows, min(samples, rows), replace=False))


def hits(
    predict: Callable[["Corrupted"], NDArray[np.float32]],
    split: ImageSplit,
    places: NDArray[np.int64],
    strengths: Mapping[str, Sequence[float]],
) -> dict[str, NDArray[np.bool_]]:
    """Return which predictions are correct: kind -> (1 + severities, n), starting with the unchanged images.

    Args:
        predict: a split -> the model's logits (n, width).
        split: the images.
        places: the selected images, (n,).
        strengths: kind -> strength of each severity.
    """
    labels = split.targets.take(places)

    def right(kind: str, strength: float) -> NDArray[np.bool_]:
        return np.asarray(predict(Corrupted(split, places, kind, strength)).argmax(axis=1) == labels)

    unchanged = right("", 0.0)
    return {
        kind: np.stack([unchanged, *(right(kind, strength) for strength in own)])
        for kind, own in strengths.items()
    }


def examples(
    split: ImageSplit, place: int, strengths: Mapping[str, Sequence[float]]
) -> dict[str, NDArray[np.uint8]]:
    """Return one image in its stored form under every corruption.

    Returns:
        kind -> (1 + severities, height, width, channels), starting with the unchanged image.
    """
    first, places = np.zeros(1, np.int64), np.array([place])
    shown = {
        kind: torch.cat(
            [Corrupted(split, places, kind, strength).batch(first).pixels for strength in (0.0, *own)]
        )
        for kind, own in strengths.items()
    }
    return {kind: images.permute(0, 2, 3, 1).numpy() for kind, images in shown.items()}


def corrupt(pixels: torch.Tensor, kind: str, strength: float, places: NDArray[np.int64]) -> torch.Tensor:
    """Corrupt images.

    Args:
        pixels: (images, channels, height, width) uint8.
        kind: a key of `STRENGTHS`.
        strength: in the unit of `STRENGTHS`.
        places: (images,), the seeds of each image's noise.

    Returns:
        Images of the same shape and type.
    """
    if strength == 0:
        return pixels
    match kind:
        case "gaussian_noise":
            noise = [
                np.random.default_rng((SEED, place)).standard_normal(pixels.shape[1:], np.float32)
                for place in places.tolist()
            ]
            changed = pixels + torch.from_numpy(np.stack(noise)) * (strength * WHITE)
        case "gaussian_blur":
            changed = _blurred(pixels.float(), strength * math.sqrt(min(pixels.shape[-2:]) / BLURRED_SIDE))
        case "brightness":
            changed = _brighter(pixels.float(), strength * WHITE)
        case _:
            raise ValueError(f"unknown corruption {kind}")
    return changed.round().clamp(0, WHITE).to(torch.uint8)


def _blurred(pixels: torch.Tensor, deviation: float) -> torch.Tensor:
    from torchvision.transforms.v2 import functional

    radius = min(
        math.ceil(3 * deviation), min(pixels.shape[-2:]) - 1
    )  # the most that reflection at the border allows
    return functional.gaussian_blur(pixels, [2 * radius + 1] * 2, [deviation] * 2) if radius else pixels


def _brighter(pixels: torch.Tensor, amount: float) -> torch.Tensor:
    """Raise the value of HSV: scale all channels by one factor, and turn black into grey."""
    value = pixels.amax(1, keepdim=True)  # (images, 1, height, width)
    raised = (value + amount).clamp(max=WHITE)
    return torch.where(value > 0, pixels * (raised / value.clamp(min=1)), raised)
