"""Strided convolutions over narrow maps: correct in bf16 on the CPU, and otherwise unchanged."""

import copy

import pytest
import timm
import torch
from torch import nn

from baton.models.kernels import convolution

# (channels in, channels out, kernel, stride, height, width) for which oneDNN was wrong in bf16
NARROW = [
    (256, 512, 3, 2, 1, 1),
    (64, 128, 5, 2, 7, 1),
    (64, 128, 3, 3, 2, 2),
    (256, 512, 3, 2, 14, 2),
    (64, 128, 4, 4, 14, 6),
    (64, 64, 2, 2, 14, 3),
]


def made(inside: int, outside: int, kernel: int, stride: int) -> nn.Sequential:
    torch.manual_seed(0)
    layer = nn.Conv2d(inside, outside, kernel, stride, padding=kernel // 2 if kernel % 2 else 0, bias=False)
    return nn.Sequential(layer.to(memory_format=torch.channels_last))


def results(model: nn.Module, maps: torch.Tensor, precise: bool = False) -> list[torch.Tensor]:
    """Return the output and both gradients; reused memory holds NaN beforehand."""
    inputs = maps.clone().requires_grad_()
    count = sum(parameter.numel() for parameter in model.parameters())
    left = [
        torch.full((count,), torch.nan, dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
        for _ in range(3)
    ]
    del left
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
        output = model(inputs)
    output.float().square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return [
        output.detach().float(),
        inputs.grad,
        *(gradient for gradient in gradients if gradient is not None),
    ]


@pytest.mark.parametrize("sizes", NARROW, ids=str)
def test_narrow_maps_are_right_and_the_same_each_time(sizes: tuple[int, ...]) -> None:
    model = made(*sizes[:4])
    maps = torch.randn(4, sizes[0], *sizes[4:]).contiguous(memory_format=torch.channels_last)
    expected = results(model, maps, precise=True)
    convolution.install(model)
    first = results(model, maps)
    for found, right in zip(first, expected, strict=True):
        torch.testing.assert_close(found, right, rtol=2e-2, atol=2e-2 * float(right.abs().max()))
    assert all(torch.equal(found, again) for found, again in zip(results(model, maps), first, strict=True))


def test_other_maps_stay_as_they_were() -> None:
    model, maps = (
        made(64, 128, 3, 2),
        torch.randn(4, 64, 16, 16).contiguous(memory_format=torch.channels_last),
    )
    before = results(model, maps)
    convolution.install(model)
    assert all(torch.equal(found, plain) for found, plain in zip(results(model, maps), before, strict=True))


def test_names_weights_and_copies_stay() -> None:
    model = timm.create_model("resnet10t", num_classes=3)
    shown, state = str(model), model.state_dict()
    convolution.install(model)
    convolution.install(model)
    assert str(model) == shown
    assert list(model.state_dict()) == list(state)
    guarded = [name for name, module in model.named_modules() if hasattr(module, "_exact_if_narrow")]
    copied = copy.deepcopy(model)
    assert guarded == [name for name, module in copied.named_modules() if hasattr(module, "_exact_if_narrow")]
    assert "layer4.0.conv1" in guarded
    assert "layer1.0.conv1" not in guarded  # its stride is 1
    with torch.no_grad():
        copied.layer4[0].conv1.weight.zero_()
    assert model.layer4[0].conv1.weight.abs().sum() > 0
