"""The arguments that params may give a timm architecture, and the errors with which timm refuses others.

Both `base` and `distill.student` have `arguments`, and so has a base model's config.json. Nothing here
imports timm.
"""

import re
from collections.abc import Iterable

# Arguments of `timm.create_model` that set the source of weights or create something other than a classifier.
FOREIGN = {
    "cache_dir",
    "checkpoint_path",
    "exportable",
    "features_only",
    "no_jit",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "scriptable",
}
# Raised by timm's constructors for invalid arguments, and by its loader for weights that do not match.
REFUSALS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)


def set_elsewhere(arguments: Iterable[str], *others: str) -> list[str]:
    """Return the arguments that the user may not set here, sorted.

    They are foreign, or other params set them: the number of classes, rates of dropout and stochastic depth,
    and `others`.
    """
    return sorted(
        name
        for name in arguments
        if name in {*FOREIGN, "num_classes", *others} or re.search(r"(^|_)drop(_\w+)?_rate$", name)
    )
