"""The placement of images on the device in training, and batches of one shape for compiled models.

Input: the splits of `array_splits.open_splits` and the runtime's device. Output: the same splits, whose
batches are kept and varied there.
"""

import dataclasses
from typing import Literal

import torch

from baton.batches import device_images
from baton.batches.clip_batches import ClipSplit
from baton.batches.image_batches import ImageSplit
from baton.batches.image_text_batches import ImageTextSplit
from baton.batches.sampler import Split
from baton.batches.subset import Part

KEPT = ("train", "val")  # in this order, while there is room; test is only read once


def placed(
    splits: dict[str, Split], device: torch.device, wanted: bool | Literal["auto"], free: int | None = None
) -> tuple[dict[str, Split], str]:
    """Return the splits for a training run on `device`, and a message about which of them are kept there.

    Args:
        splits: splits of images, or of images with texts.
        device: the model's device.
        wanted: params `runtime.data_on_device`.
        free: free bytes of the device's memory; None: as reported by CUDA.

    Raises:
        ParamsError: If params require images on the device, but they do not fit.
    """
    if device.type == "cpu" and free is None:
        return splits, f"false: {device_images.fits(wanted, device.type, 0, 0)[1]}"
    free, result, reasons = torch.cuda.mem_get_info(device)[0] if free is None else free, dict(splits), []
    for name in KEPT:
        whole = splits[name]
        split = whole.image if isinstance(whole, ImageTextSplit) else whole
        if isinstance(split, ClipSplit):
            reasons.append(f"{name} false: clips in several parts, which evaluation reads in place")
            continue
        assert isinstance(split, ImageSplit)
        if name != "train" and split.arrays.shape is None:
            reasons.append(f"{name} false: images of different shapes, which evaluation resizes on the host")
            continue
        needed = device_images.size(split.arrays)
        kept, reason = device_images.fits(wanted, "cuda", needed, free)
        reasons.append(f"{name} {str(kept).lower()}: {reason}")
        own = device_images.Resident(split.arrays, device) if kept else None
        free -= needed if kept else 0
        image = dataclasses.replace(split, device=True, resident=own)
        result[name] = dataclasses.replace(whole, image=image) if isinstance(whole, ImageTextSplit) else image
    return result, "; ".join(reasons)


def of_one_size(split: Split, size: int) -> Split:
    """Return an image split whose training batches all have `size` inputs, even the last of an epoch.

    Other splits are returned unchanged.
    """
    if isinstance(split, Part):
        return dataclasses.replace(split, whole=of_one_size(split.whole, size))
    return dataclasses.replace(split, size=size) if isinstance(split, ImageSplit) else split
