"""A timm model tried out before it is made: its arguments, pooling and input's shape -> the names that it has for our rates, or an error.

It is built on torch's "meta" device, where tensors have shapes and no values: that takes no memory, and no random numbers.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from baton import params
from baton.errors import ModelError
from baton.models.timm_backbone import REFUSALS, construct, pool, reason


def try_out(
    arguments: Mapping[str, Any], pooling: str, settings: params.Training, shape: Mapping[str, Any]
) -> dict[str, float]:
    """Build the model and let it see pixels of the input's shape.

    Returns:
        the rates of dropout and stochastic depth, under the names of this architecture.

    Raises:
        ModelError: it takes no such pixels, cannot pool so, or has no such rate.
    """
    with torch.device("meta"), torch.no_grad():
        model = construct(arguments).eval()
        pool(model, pooling)
        name, size = model.pretrained_cfg["architecture"], shape["size"]
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
                f"{name} would leave out pixels at the border",
                got=got,
                expected="a multiple of the patch",
                hint=hint,
            )
        try:
            model(torch.empty(2, shape["channels"], *size))
        except REFUSALS as error:
            hint = "change tokenize.size, or the architecture's arguments"
            raise ModelError(
                f"{name} does not take images of {size} pixels", got=reason(error), hint=hint
            ) from None
    return _rates(type(model), name, settings)


def accepted(kind: type) -> set[str]:
    """Names of the arguments that an architecture's class takes."""
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            own = inspect.signature(vars(base)["__init__"]).parameters
            names |= set(own)
            if all(parameter.kind != parameter.VAR_KEYWORD for parameter in own.values()):
                break  # it passes nothing on
    return names


def _rates(kind: type, name: str, settings: params.Training) -> dict[str, float]:
    """Rates under the names that the class has for them; 0 is passed on too, since an architecture's own default may be another."""
    known = accepted(kind)
    # `drop_rate` is dropout before the classifier, which our head has itself; it stands for `dropout` only where there is none within.
    dropout = "proj_drop_rate" if "proj_drop_rate" in known else "drop_rate"
    names = {"dropout": dropout, "attention_dropout": "attn_drop_rate", "drop_path": "drop_path_rate"}
    rates = {"drop_rate": 0.0}
    for key, argument in names.items():
        rate = getattr(settings, key)
        if rate and argument not in known:
            raise ModelError(f"{name} has no {key}", got=rate, expected=0.0, hint=f"set {key} to 0.0")
        rates[argument] = rate
    return {argument: rate for argument, rate in rates.items() if argument in known}
