"""Dropout on the CPU: its rate, mean, gradient and seed."""

import pytest
import torch
from torch import nn

from baton.models.kernels import dropout

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def drop(values: torch.Tensor, rate: float, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    dropped: torch.Tensor = dropout.Dropout(rate)(values)
    return dropped


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_what_was_asked_and_the_mean_stays(rate: float) -> None:
    count = 1_000_000
    dropped = drop(torch.ones(count), rate)
    deviation = (rate * (1 - rate) / count) ** 0.5
    assert abs(float((dropped == 0).double().mean()) - rate) < 5 * deviation + 1 / dropout.LEVELS
    assert abs(float(dropped.double().mean()) - 1) < 5 * deviation / (1 - rate)
    torch.testing.assert_close(
        dropped[dropped != 0].unique(), torch.tensor([1 / (1 - rate)]), rtol=1e-3, atol=0
    )


def test_neighbours_are_dropped_independently() -> None:
    gone = (drop(torch.ones(2, 500_000), 0.3) == 0).double()
    for lag in (1, 2, 3, 4, 8, 16):
        both = (gone[:, lag:] * gone[:, :-lag]).mean()
        assert abs(float(both) - 0.09) < 0.002, lag
    assert abs(float((gone[0] * gone[1]).mean()) - 0.09) < 0.002


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradient_share_the_mask_and_the_scale(dtype: torch.dtype) -> None:
    values = torch.randn(5, 7, 3, dtype=dtype).transpose(0, 1).requires_grad_()  # not contiguous
    dropped = drop(values, 0.4)
    factor = dropped.detach() / values.detach()
    assert set((factor != 0).flatten().tolist()) == {True, False}
    gradient = torch.randn(7, 5, 3, dtype=dtype)
    (found,) = torch.autograd.grad(dropped, values, gradient)
    scale = dropout.scale(0.4)
    torch.testing.assert_close(dropped.detach(), torch.where(factor != 0, values.detach() * scale, 0.0))
    torch.testing.assert_close(found, torch.where(factor != 0, gradient * scale, 0.0))


def test_not_a_number_is_not_hidden_where_it_is_kept() -> None:
    assert drop(torch.full((100,), float("nan")), 0.1).isnan().sum() > 50


def test_a_seed_fixes_the_mask_whatever_the_number_of_threads() -> None:
    values = torch.ones(300, 1000)
    threads = torch.get_num_threads()
    try:
        masks = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            masks.append(drop(values, 0.1, seed=5))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(mask, masks[0]) for mask in masks)
    assert not torch.equal(drop(values, 0.1, seed=6), masks[0])
    torch.manual_seed(5)
    module = dropout.Dropout(0.1)
    assert not torch.equal(module(values), module(values))


def test_in_eval_mode_and_at_rate_0_it_is_the_identity() -> None:
    values = torch.randn(4, 4)
    assert dropout.Dropout(0.5).eval()(values) is values
    state = torch.get_rng_state()
    assert torch.equal(dropout.Dropout(0.0)(values), values)
    assert torch.equal(torch.get_rng_state(), state)


def test_at_rate_1_nothing_is_left() -> None:
    assert drop(torch.ones(100), 1.0).sum() == 0


def test_masks_noted_in_signs_are_read_back_zeros_included() -> None:
    values = torch.tensor([0.0, 1.0, 0.0, 2.0], dtype=torch.bfloat16)
    mask = torch.tensor([0, 0, -1, -1], dtype=torch.int16)
    noted = values.clone()
    dropout.mark(noted, mask)
    assert dropout.marked(noted).tolist() == mask.tolist()
    assert torch.equal(noted.abs(), values)
    assert torch.equal(noted.clamp_min(0), dropout.masked(values, mask))


def test_it_takes_the_place_of_torchs_own_everywhere_in_a_model() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.0))).eval()
    names = list(model.state_dict())
    dropout.install(model)
    found = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert [type(module) for module in found] == [dropout.Dropout] * 2
    assert [(module.p, module.training) for module in found] == [(0.3, False), (0.0, False)]
    assert list(model.state_dict()) == names
