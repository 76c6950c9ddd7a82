"""Images without their strongest pixels: of a model that reads one corner, the corner is what counts."""

import numpy as np
import torch
from torch import nn

from baton.measure import explain, pixel_deletion


class Corner(nn.Module):
    """Says class 1 as far as the upper left corner, a ninth of the image, differs from the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = images[:, 0, :2, :2].mean(dim=(1, 2)) / 255 - 0.5
        return torch.stack([torch.zeros_like(seen), 20 * self.weight * seen], dim=1)


def probabilities(attributions: np.ndarray | None = None) -> np.ndarray:
    draw = np.random.default_rng(0)
    pixels = torch.from_numpy(draw.integers(60, 160, (4, 1, 6, 6)).astype(np.float32))
    pixels[:, 0, :2, :2] = 250
    classes, rivals = np.ones(4, np.int64), np.zeros(4, np.int64)
    found = explain.attribute(Corner(), pixels, *map(torch.from_numpy, (classes, rivals)), 4)
    assert (found[:, :2, :2] > 0).all()
    used = found if attributions is None else attributions
    return pixel_deletion.probabilities(Corner(), pixels, classes, used, list("abcd"), 1.0)


def test_the_strongest_pixels_matter_more_than_random_ones() -> None:
    p = probabilities()
    assert p.shape == (4, 3)
    assert (p[:, 0] > 0.99).all() and (p[:, 1] < 0.6).all()
    assert (p[:, 2] > p[:, 1] + 0.2).all()
    assert p.tobytes() == probabilities().tobytes()


def test_shuffled_attributions_do_not() -> None:
    """Negative control."""
    other = np.random.default_rng(1).random((4, 6, 6)).astype(np.float32)
    other[:, :2, :2] = 0
    p = probabilities(other)
    assert (p[:, 1] >= p[:, 2]).all()


def test_the_temperature_is_that_of_the_probabilities() -> None:
    pixels = torch.full((1, 1, 6, 6), 200.0)
    both = [
        pixel_deletion.probabilities(
            Corner(), pixels, np.array([1]), np.zeros((1, 6, 6), np.float32), ["a"], temperature
        )
        for temperature in (1.0, 4.0)
    ]
    assert both[0][0, 0] > both[1][0, 0] > 0.5
    assert (both[0] == both[0][0, 0]).all(), "no pixel speaks for it, so none is removed"
