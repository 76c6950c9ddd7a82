"""Operations on a batch of pictures at once, each picture with its own strength: uint8 (pictures, channels, height, width) in and out.

torchvision's own take one strength for all, and a call a picture costs more than the work. Besides, a picture's bits must not depend on
which others are in the batch, nor on the number of threads. A sum of floats does (its order changes), so sums are of integers here.
"""

import torch
from torch.nn import functional

# Pillow's cubic is torch's with antialias; without it torch has another cubic. What torch lacks is enlarged by its nearest relative.
MODES = {
    "nearest": "nearest-exact",
    "box": "nearest-exact",
    "bilinear": "bilinear",
    "hamming": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "bicubic",
}
LUMA = (19595, 38470, 7471)  # ITU-R 601 in 65536ths, as Pillow has it
WHITE = 255


def resized(pixels: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """Resize to `size` (height, width) with antialiasing; uint8 on the CPU, float anywhere, and what came in goes out, within 0 to 255."""
    if pixels.shape[-2:] == size:
        return pixels
    mode = MODES[interpolation]
    if mode == "nearest-exact":
        return functional.interpolate(pixels, size=size, mode=mode)
    result = functional.interpolate(pixels, size=size, mode=mode, antialias=True)
    return (
        result.clamp_(0, WHITE) if result.is_floating_point() else result
    )  # whole numbers stay within by themselves


def warped(pixels: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Move pixels by affine maps, bilinearly; black comes in from outside.

    Args:
        pixels: (pictures, channels, height, width).
        matrices: (pictures, 2, 3) float32: from a place in the result to its place in the picture, x before y, in pixels from the centre.
    """
    height, width = pixels.shape[-2:]
    x = torch.arange(width, device=pixels.device) - (width - 1) / 2  # (width,)
    y = (torch.arange(height, device=pixels.device) - (height - 1) / 2)[:, None]  # (height, 1)
    rows = []
    for axis, length in enumerate((width, height)):
        along, across, shift = (
            matrices[:, axis, column, None, None] for column in range(3)
        )  # (pictures, 1, 1)
        rows.append((along * x + across * y + shift) * (2 / length))
    moved = functional.grid_sample(pixels.float(), torch.stack(rows, dim=-1), align_corners=False)
    return _whole(moved)


def grey(pixels: torch.Tensor) -> torch.Tensor:
    """Luma, (pictures, 1, height, width)."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.to(torch.int32).unbind(1)
    total = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + (1 << 15)
    return (total >> 16).to(torch.uint8).unsqueeze(1)  # rounded


def blended(pixels: torch.Tensor, other: torch.Tensor | float, shares: torch.Tensor) -> torch.Tensor:
    """`shares` (pictures,) of each picture and the rest of `other`; a share above 1 leads away from it."""
    own = shares.reshape(-1, 1, 1, 1)
    return _whole(pixels * own + other * (1 - own))


def brightened(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """`factors` (pictures,): 0 is black, 1 the picture."""
    return blended(pixels, 0.0, factors)


def contrasted(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """`factors` (pictures,): 0 is the mean grey, 1 the picture."""
    luma = grey(pixels)
    mean = luma.sum(dim=(1, 2, 3), keepdim=True, dtype=torch.int64).double() / (luma.shape[2] * luma.shape[3])
    return blended(pixels, mean.float(), factors)


def saturated(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """`factors` (pictures,): 0 is grey, 1 the picture. A greyscale picture stays."""
    return pixels if pixels.shape[1] == 1 else blended(pixels, grey(pixels), factors)


def sharpened(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """`factors` (pictures,): 0 is smoothed by [1 1 1; 1 5 1; 1 1 1] / 13, 1 the picture. The edge stays."""
    height, width = pixels.shape[-2:]
    if min(height, width) < 3:
        return pixels
    whole = pixels.to(torch.int32)
    total = whole[..., 1:-1, 1:-1] * 4
    for top in range(3):
        for left in range(3):
            total = total + whole[..., top : height - 2 + top, left : width - 2 + left]
    smooth = pixels.clone()
    smooth[..., 1:-1, 1:-1] = torch.div(total * 2 + 13, 26, rounding_mode="floor").to(torch.uint8)  # rounded
    return blended(pixels, smooth, factors)


def turned_hue(pixels: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """`turns` (pictures,): of the circle of hues; lightness and chroma stay. A greyscale picture stays."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.float().unbind(1)  # (pictures, height, width)
    least, most = pixels.amin(1).float(), pixels.amax(1).float()
    chroma = most - least
    divisor = chroma.clamp(min=1)
    sector = torch.where(most == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    sector = torch.where(
        most == red, (green - blue) / divisor, sector
    )  # 0 to 6: from red over green and blue back to red
    sector = sector + turns.reshape(-1, 1, 1) * 6
    channels = []
    for offset in (5, 3, 1):
        distance = torch.remainder(sector + offset, 6)
        channels.append(most - chroma * torch.minimum(distance, 4 - distance).clamp(0, 1))
    return _whole(torch.stack(channels, 1))


def stretched(pixels: torch.Tensor) -> torch.Tensor:
    """Each channel from 0 to 255 (torchvision's autocontrast, without its indexing by masks, for which a GPU may have to be waited for)."""
    values = pixels.float()
    least, most = values.amin(dim=(2, 3), keepdim=True), values.amax(dim=(2, 3), keepdim=True)
    flat = least == most
    scale = torch.where(flat, 1.0, (most - least) * (1.0 / WHITE))
    return values.sub_(torch.where(flat, 0.0, least)).div_(scale).clamp_(0, WHITE).to(torch.uint8)


def _whole(pixels: torch.Tensor) -> torch.Tensor:
    return (
        pixels.clamp_(0, WHITE).add_(0.5).to(torch.uint8)
    )  # torch's `round_` would start threads for some thousand numbers
