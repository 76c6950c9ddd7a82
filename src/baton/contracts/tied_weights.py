"""Weights that a model uses under several names, such as embeddings that also score the next token.

A file holds each once, under its first name.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn


def aliases(model: nn.Module) -> dict[str, str]:
    """Return name -> first name, for each further name of a parameter."""
    first: dict[int, str] = {}
    found = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if (other := first.setdefault(id(parameter), name)) != name:
            found[name] = other
    return found


def completed(weights: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """Return `weights`, from a file, under all names that `model` has for them."""
    names = aliases(model)
    return dict(weights) | {name: weights[other] for name, other in names.items() if other in weights}
