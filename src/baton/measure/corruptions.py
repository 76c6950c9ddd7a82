"""Pictures under noise, blur and brightness, as cameras and light make them: what a model that is honest about its accuracy meets.

Input: a split of pictures, which of them, a kind and a strength. Output: `Corrupted`, a `Split` of the changed pictures. A picture is
changed as it is stored, before it is brought to the model's input size, and depends on nothing but itself and its place in the split: all
models see the same pixels, and a rerun does too.

Kinds and strengths are those of Hendrycks & Dietterich 2019 (ImageNet-C). Their blur is in pixels of 224 x 224 pictures; here it shrinks
with the root of the picture's shorter side, which at 32 pixels gives about the blur that they chose for those (CIFAR-10-C).
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

SEED = 0  # of the noise, and of which pictures are drawn
WHITE, BLURRED_SIDE = 255, 224
STRENGTHS = {  # of severities 1 to 5
    "gaussian_noise": (
        0.08,
        0.12,
        0.18,
        0.26,
        0.38,
    ),  # deviation, as a share of the range from black to white
    "gaussian_blur": (
        1.0,
        2.0,
        3.0,
        4.0,
        6.0,
    ),  # deviation, in pixels where the shorter side has `BLURRED_SIDE`
    "brightness": (
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
    ),  # added to the brightest channel, as a share of the range; hue and saturation stay
}


@dataclass(frozen=True)
class Corrupted:
    """The pictures at `places` (n,) of a split, changed; strength 0 leaves them as they are."""

    split: ImageSplit
    places: NDArray[np.int64]
    kind: str
    strength: float

    def __len__(self) -> int:
        return len(self.places)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,)."""
        return self.split.labels[self.places]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,)."""
        return self.split.lengths[self.places]

    @property
    def windows(self) -> NDArray[np.int64]:
        """(n,)."""
        return self.split.windows[self.places]

    def batch(self, rows: NDArray[np.int64]) -> ImageBatch:
        """The changed pictures at `rows` (batch,) of these."""
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
        """Nothing is trained on these."""
        return self.batch(rows)


def draw(rows: int, samples: int) -> NDArray[np.int64]:
    """Which rows are measured: the same `samples` of `rows` each time, in their order."""
    return np.sort(np.random.default_rng(SEED).choice(rows, min(samples, rows), replace=False))


def hits(
    predict: Callable[["Corrupted"], NDArray[np.float32]],
    split: ImageSplit,
    places: NDArray[np.int64],
    strengths: Mapping[str, Sequence[float]],
) -> dict[str, NDArray[np.bool_]]:
    """Where a model is right: kind -> (1 + severities, n), the unchanged pictures first.

    Args:
        predict: a split -> the model's logits (n, classes).
        split: the pictures.
        places: which of them, (n,).
        strengths: kind -> of each severity.
    """
    labels = split.labels[places]

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
    """One picture, as it is stored: kind -> (1 + severities, height, width, channels), the unchanged one first."""
    first, places = np.zeros(1, np.int64), np.array([place])
    shown = {
        kind: torch.cat(
            [Corrupted(split, places, kind, strength).batch(first).pixels for strength in (0.0, *own)]
        )
        for kind, own in strengths.items()
    }
    return {kind: pictures.permute(0, 2, 3, 1).numpy() for kind, pictures in shown.items()}


def corrupt(pixels: torch.Tensor, kind: str, strength: float, places: NDArray[np.int64]) -> torch.Tensor:
    """Change pictures.

    Args:
        pixels: (pictures, channels, height, width) uint8.
        kind: of `STRENGTHS`.
        strength: as there.
        places: (pictures,), of which each picture's noise is drawn.

    Returns:
        The same shape and type.
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

    radius = min(math.ceil(3 * deviation), min(pixels.shape[-2:]) - 1)  # what reflection at the border allows
    return functional.gaussian_blur(pixels, [2 * radius + 1] * 2, [deviation] * 2) if radius else pixels


def _brighter(pixels: torch.Tensor, amount: float) -> torch.Tensor:
    """Raise the value of HSV: all channels by one factor, black to grey."""
    value = pixels.amax(1, keepdim=True)  # (pictures, 1, height, width)
    raised = (value + amount).clamp(max=WHITE)
    return torch.where(value > 0, pixels * (raised / value.clamp(min=1)), raised)
