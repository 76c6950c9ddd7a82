"""Where the pictures of data/arrays are kept and varied while a model is trained, and batches of one shape for a compiled one.

Input: the splits of `arrays.open_splits` and the runtime's device. Output: the same splits, whose batches do their work there.
"""

import dataclasses
from typing import Literal

import torch

from baton.batches import device_images
from baton.batches.image_batches import ImageSplit
from baton.batches.sampler import Split
from baton.batches.subset import Part

KEPT = ("train", "val")  # in this order, as long as there is room; test is read once


def placed(
    splits: dict[str, Split], device: torch.device, wanted: bool | Literal["auto"], free: int | None = None
) -> tuple[dict[str, Split], str]:
    """The splits as a training on `device` uses them, and what of them is kept there, in words.

    Args:
        splits: of images.
        device: of the model.
        wanted: params `runtime.data_on_device`.
        free: bytes of the device's memory; None: as CUDA says.

    Raises:
        ParamsError: pictures must be kept there, and have no room.
    """
    if device.type == "cpu" and free is None:
        return splits, f"false: {device_images.fits(wanted, device.type, 0, 0)[1]}"
    free, result, told = torch.cuda.mem_get_info(device)[0] if free is None else free, dict(splits), []
    for name in KEPT:
        split = splits[name]
        assert isinstance(split, ImageSplit)
        if name != "train" and split.arrays.shape is None:
            told.append(f"{name} false: of several shapes, which evaluation resizes on the host")
            continue
        needed = device_images.size(split.arrays)
        kept, reason = device_images.fits(wanted, "cuda", needed, free)
        told.append(f"{name} {str(kept).lower()}: {reason}")
        own = device_images.Resident(split.arrays, device) if kept else None
        free -= needed if kept else 0
        result[name] = dataclasses.replace(split, device=True, resident=own)
    return result, "; ".join(told)


def of_one_size(split: Split, size: int) -> Split:
    """The same, whose training batches have `size` inputs each, whatever is left at the end of an epoch; other splits stay."""
    if isinstance(split, Part):
        return dataclasses.replace(split, whole=of_one_size(split.whole, size))
    return dataclasses.replace(split, size=size) if isinstance(split, ImageSplit) else split
