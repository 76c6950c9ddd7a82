"""Operations on a batch of images, each with its own strength.

Input and output: uint8 (images, channels, height, width).

torchvision's operations take one strength for all images, and one call per image costs more than the work.
Moreover, an image's bits must not depend on the other images of the batch or on the number of threads. A sum
of floats does (its order changes), so all sums here are of integers.
"""

import torch
from torch.nn import functional

LUMA = (19595, 38470, 7471)  # ITU-R 601 in 65536ths, as in Pillow
WHITE = 255


def warped(pixels: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Transform images by affine maps with bilinear interpolation; outside an image is black.

    Args:
        pixels: (images, channels, height, width).
        matrices: (images, 2, 3) float32; they map positions in the result to positions in the image, x before
            y, in pixels from the centre.
    """
    height, width = pixels.shape[-2:]
    x = torch.arange(width, device=pixels.device) - (width - 1) / 2  # (width,)
    y = (torch.arange(height, device=pixels.device) - (height - 1) / 2)[:, None]  # (height, 1)
    rows = []
    for axis, length in enumerate((width, height)):
        # Each is (images, 1, 1).
        along, across, shift = (matrices[:, axis, column, None, None] for column in range(3))
        rows.append((along * x + across * y + shift) * (2 / length))
    moved = functional.grid_sample(pixels.float(), torch.stack(rows, dim=-1), align_corners=False)
    return _whole(moved)


def grey(pixels: torch.Tensor) -> torch.Tensor:
    """Return the luma, (images, 1, height, width)."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.to(torch.int32).unbind(1)
    total = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + (1 << 15)
    return (total >> 16).to(torch.uint8).unsqueeze(1)  # rounded


def blended(pixels: torch.Tensor, other: torch.Tensor | float, shares: torch.Tensor) -> torch.Tensor:
    """Blend images with `other`: `shares` (images,) are the images' own; above 1 they extrapolate."""
    own = shares.reshape(-1, 1, 1, 1)
    return _whole(pixels * own + other * (1 - own))


def brightened(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Change brightness by `factors` (images,): 0 gives black, 1 the image."""
    return blended(pixels, 0.0, factors)


def contrasted(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Change contrast by `factors` (images,): 0 gives the mean grey, 1 the image."""
    luma = grey(pixels)
    mean = luma.sum(dim=(1, 2, 3), keepdim=True, dtype=torch.int64).double() / (luma.shape[2] * luma.shape[3])
    return blended(pixels, mean.float(), factors)


def saturated(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Change saturation by `factors` (images,): 0 gives grey, 1 the image. Greyscale images do not change."""
    return pixels if pixels.shape[1] == 1 else blended(pixels, grey(pixels), factors)


def sharpened(pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Change sharpness by `factors` (images,): 0 smooths with [1 1 1; 1 5 1; 1 1 1] / 13, 1 gives the image.

    Pixels at the edge do not change.
    """
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
    """Rotate hues by `turns` (images,) of the colour circle; lightness and chroma do not change.

    Greyscale images do not change.
    """
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.float().unbind(1)  # (images, height, width)
    least, most = pixels.amin(1).float(), pixels.amax(1).float()
    chroma = most - least
    divisor = chroma.clamp(min=1)
    sector = torch.where(most == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    # From 0 to 6: red, green, blue and back to red.
    sector = torch.where(most == red, (green - blue) / divisor, sector)
    sector = sector + turns.reshape(-1, 1, 1) * 6
    channels = []
    for offset in (5, 3, 1):
        distance = torch.remainder(sector + offset, 6)
        channels.append(most - chroma * torch.minimum(distance, 4 - distance).clamp(0, 1))
    return _whole(torch.stack(channels, 1))


def stretched(pixels: torch.Tensor) -> torch.Tensor:
    """Stretch each channel to 0 to 255.

    This is torchvision's autocontrast without its indexing by masks, which may wait for a GPU.
    """
    values = pixels.float()
    least, most = values.amin(dim=(2, 3), keepdim=True), values.amax(dim=(2, 3), keepdim=True)
    flat = least == most
    scale = torch.where(flat, 1.0, (most - least) * (1.0 / WHITE))
    return values.sub_(torch.where(flat, 0.0, least)).div_(scale).clamp_(0, WHITE).to(torch.uint8)


def _whole(pixels: torch.Tensor) -> torch.Tensor:
    # Torch's `round_` would start threads for a few thousand numbers.
    return pixels.clamp_(0, WHITE).add_(0.5).to(torch.uint8)
