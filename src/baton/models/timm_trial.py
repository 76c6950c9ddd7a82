"""A trial run of a timm model before it is created.

Input: its arguments, pooling and input shape. Output: our rates under the names that the architecture has for
them, or an error. The trial runs on torch's "meta" device, where tensors have a shape but no values, so it
needs neither memory nor random numbers.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from baton import params
from baton.contracts.input_spec import ImageInput
from baton.contracts.timm_arguments import REFUSALS
from baton.errors import ModelError, first_line
from baton.models.timm_backbone import construct, pool


def try_out(
    arguments: Mapping[str, Any], pooling: str, settings: params.Training, reads: ImageInput
) -> dict[str, float]:
    """Build the model and run it on pixels of the input's shape.

    Returns:
        The rates of dropout and stochastic depth, under the names that this architecture has for them.

    Raises:
        ModelError: If the model does not take such pixels, cannot pool that way, or lacks a rate that is set.
    """
    with torch.device("meta"), torch.no_grad():
        model = construct(arguments).eval()
        pool(model, pooling)
        name, size = model.pretrained_cfg["architecture"], list(reads.size)
        embedding = getattr(model, "patch_embed", None)
        patch = getattr(embedding, "patch_size", None) or 1
        patch = (patch, patch) if isinstance(patch, int) else tuple(patch)
        if not getattr(embedding, "dynamic_img_pad", False) and any(
            side % step for side, step in zip(size, patch, strict=True)
        ):
            got, hint = (
                f"{size} pixels in patches of {list(patch)}",
                "change tokenize.size, or the architecture's patch_size",
            )
            raise ModelError(
                f"{name} would ignore pixels at the border",
                got=got,
                expected="a multiple of the patch size",
                hint=hint,
            )
        try:
            model(torch.empty(2, reads.channels, *size))
        except REFUSALS as error:
            hint = "change tokenize.size, or the architecture's arguments"
            raise ModelError(
                f"{name} does not take images of {size} pixels", got=first_line(error), hint=hint
            ) from None
    return _rates(type(model), name, settings)


def accepted(kind: type) -> set[str]:
    """Return the names of the arguments that an architecture's class takes."""
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            own = inspect.signature(vars(base)["__init__"]).parameters
            names |= set(own)
            if all(parameter.kind != parameter.VAR_KEYWORD for parameter in own.values()):
                break  # it passes no other arguments on
    return names


def _rates(kind: type, name: str, settings: params.Training) -> dict[str, float]:
    """Return the rates under the names that the class has for them.

    A rate of 0 is passed on too, since the architecture's default may differ.
    """
    known = accepted(kind)
    # `drop_rate` is dropout before the classifier, which our head has itself; it is used for `dropout` only
    # if the architecture has none in its layers.
    dropout = "proj_drop_rate" if "proj_drop_rate" in known else "drop_rate"
    names = {"dropout": dropout, "attention_dropout": "attn_drop_rate", "drop_path": "drop_path_rate"}
    rates = {"drop_rate": 0.0}
    for key, argument in names.items():
        rate = getattr(settings, key)
        if rate and argument not in known:
            raise ModelError(f"{name} has no {key}", got=rate, expected=0.0, hint=f"set {key} to 0.0")
        rates[argument] = rate
    return {argument: rate for argument, rate in rates.items() if argument in known}
