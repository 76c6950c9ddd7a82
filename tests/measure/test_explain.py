"""Attributions: exact in known cases, complete on a real model, and about the two requested classes."""

import numpy as np
import pytest
import torch
from torch import nn

from baton.measure import explain
from baton.models import model_folder
from tests import tiny
from tests.evaluate.images import HEAD, digits


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> model_folder.Classifier:
    base = tiny.write_image_base(tmp_path_factory.mktemp("base"))
    torch.manual_seed(0)
    made = model_folder.create(base, HEAD, 10, tiny.training(), "matmul", tiny.image_input()).eval()
    with torch.no_grad():  # larger logits, since those of a random model are almost linear
        made.head.output.weight.mul_(20)
    return made


def pictures(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(digits(count))


def test_of_a_linear_model_they_are_weight_times_distance_from_the_mean() -> None:
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    got = explain.attribute(linear, pixels, torch.tensor([1, 4]), torch.tensor([0, 2]), steps=3)
    for row, (own, other) in enumerate(((1, 0), (4, 2))):
        weight = (linear[1].weight[own] - linear[1].weight[other]).detach().reshape(3, 4, 4)
        real = pixels[row].float()
        expected = (weight * (real - real.mean(dim=(1, 2), keepdim=True))).sum(0)
        assert got[row] == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-2)


def test_they_add_up_to_what_the_picture_changes(model: model_folder.Classifier) -> None:
    pixels, own, other = pictures(), torch.arange(6), torch.arange(6) + 3
    got = explain.attribute(model, pixels, own, other, steps=64)
    assert got.shape == (6, 8, 8)
    plain = pixels.float().mean(dim=(2, 3), keepdim=True).expand(-1, -1, 8, 8)
    with torch.no_grad():
        gained = (model(pixels.float()) - model(plain)).gather(1, torch.stack([own, other], 1))
    expected = (gained[:, 0] - gained[:, 1]).numpy()
    assert np.abs(expected).max() > 1
    assert got.sum(axis=(1, 2)) == pytest.approx(expected, abs=0.02)


def test_the_other_way_round_is_the_opposite(model: model_folder.Classifier) -> None:
    pixels, own, other = pictures(), torch.arange(6), torch.arange(6) + 3
    got, opposite = (
        explain.attribute(model, pixels, *pair, steps=4) for pair in ((own, other), (other, own))
    )
    assert got == pytest.approx(-opposite, abs=1e-4)
    assert np.abs(got).max() > 0.01


def test_a_picture_is_explained_the_same_among_others(model: model_folder.Classifier) -> None:
    pixels, own, other = pictures(), torch.arange(6), torch.arange(6) + 3
    together = explain.attribute(model, pixels, own, other, steps=16)
    alone = np.concatenate(
        [
            explain.attribute(model, pixels[i : i + 1], own[i : i + 1], other[i : i + 1], steps=16)
            for i in range(6)
        ]
    )
    assert together == pytest.approx(alone, abs=1e-4)
    again = explain.attribute(model, pixels, own, other, steps=16)
    assert together.tobytes() == again.tobytes()


def test_memory_is_bounded_by_steps_at_a_time(
    model: model_folder.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More steps than fit into memory are computed in blocks, with the same result."""
    pixels, own, other = pictures(2), torch.arange(2), torch.arange(2) + 3
    sizes: list[int] = []
    counted = model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    turns = explain.attribute(model, pixels, own, other, steps=40)
    assert max(sizes) <= explain.AT_ONCE < sum(sizes)
    monkeypatch.setattr(explain, "AT_ONCE", 1000)
    sizes.clear()
    assert explain.attribute(model, pixels, own, other, steps=40) == pytest.approx(turns, abs=1e-3)
    assert max(sizes) == 40
    counted.remove()


def test_black_pixels_count_too(model: model_folder.Classifier) -> None:
    pixels = pictures()
    got = explain.attribute(model, pixels, torch.arange(6), torch.arange(6) + 3, steps=8)
    black = (pixels[:, 0] == 0).numpy()
    assert black.sum() > 50
    assert (got[black] != 0).all()
