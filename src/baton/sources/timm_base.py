"""Write a timm architecture as a base model.

Params `base` of kind `timm` -> config.json in timm's hub layout, and weights if any. Importing timm takes
seconds, so `sources.base_model` imports this module only for that kind.
"""

import difflib
import re
from pathlib import Path
from typing import Any

import timm
import torch
from timm import models

from baton import params, storage
from baton.contracts.timm_arguments import REFUSALS, set_elsewhere
from baton.errors import SourceError, first_line
from baton.sources import local_files, packages, timm_weights

WEIGHTS = "model.safetensors"
ORIGIN = {
    "architecture",
    "custom_load",
    "file",
    "hf_hub_filename",
    "hf_hub_id",
    "source",
    "state_dict",
    "url",
}


def write(base: params.TimmBase, folder: Path) -> str:
    """Write config.json, and model.safetensors if `base.weights` names a file; return where they come from.

    Raises:
        SourceError: timm has no such architecture, it does not accept these arguments, or the weights do not
            fit it.
    """
    name = base.architecture
    _check_name(name)
    if own := set_elsewhere(base.arguments):
        hint = (
            "remove it: weights are set in base.weights, dropout rates in finetune and distill, "
            "and classes come from the data"
        )
        raise SourceError(
            "base.arguments: not an argument of an architecture",
            got=", ".join(own),
            expected="patch_size, depth, …",
            hint=hint,
        )
    arguments: dict[str, Any] = dict(base.arguments)
    match base.weights:
        case None:
            source = ""
        case str():
            source = base.weights
            _copy_weights(source, folder)
        case params.PackagedWeights():
            source = f"{packages.origin(base.weights.package)}{base.weights.file}"
            timm_weights.write(base.weights, name, arguments, folder / WEIGHTS)
    classes = _classes(source, folder, name) if source else 0
    try:
        with torch.device("meta"):  # shapes without values: takes no time or memory
            model = timm.create_model(name, num_classes=classes, **arguments)
    except REFUSALS as error:
        hint = f"compare them with the arguments of `timm.create_model('{name}')`"
        raise SourceError(
            f"base.arguments: {name} does not accept them",
            got=first_line(error),
            expected="arguments of this architecture",
            hint=hint,
        ) from None
    config = _config(model, classes, arguments)
    if isinstance(base.weights, params.PackagedWeights):
        pixels = {"mean": base.weights.mean, "std": base.weights.std}
        config["pretrained_cfg"] |= {key: list(value) for key, value in pixels.items() if value is not None}
    storage.write_json(folder / "config.json", config)
    if source:
        _check_weights(folder, source)
    return f"timm: {base.architecture}" + (f", weights {source}" if source else "")


def _check_name(name: str) -> None:
    architecture, tag = models.split_model_name_tag(name)
    known = models.is_model(architecture)
    tagged = list(models.get_arch_pretrained_cfgs(architecture)) if known else []
    if known and (not tag or name in tagged):
        return
    close = difflib.get_close_matches(name, tagged or timm.list_models(), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "`timm.list_models('*vit*')` lists the names"
    expected = (
        f"{architecture}, or one of {', '.join(tagged)}" if known else f"a name in timm {timm.__version__}"
    )
    raise SourceError(
        "base.architecture: timm has no such architecture", got=name, expected=expected, hint=hint
    )


def _copy_weights(weights: str, folder: Path) -> None:
    path = Path(weights)
    if not path.is_file():
        raise local_files.missing(path, "base.weights", "a safetensors file")
    local_files.copy(path, folder / WEIGHTS)


def _classes(weights: str, folder: Path, name: str) -> int:
    """Return the number of classes of the weights' classifier."""
    from safetensors import SafetensorError, safe_open

    classifiers = models.get_pretrained_cfg_value(name, "classifier") or ()
    first = classifiers if isinstance(classifiers, str) else next(iter(classifiers), "")
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as file:
            key = f"{first}.weight"
            return int(file.get_slice(key).get_shape()[0]) if key in file.keys() else 0  # noqa: SIM118  not a mapping
    except SafetensorError as error:
        hint = (
            "weights must be safetensors: pickled ones are never opened; if the file is only a git-lfs "
            "pointer, run `git lfs pull`"
        )
        raise SourceError(
            f"base.weights: {weights} cannot be read",
            got=error,
            expected="a complete safetensors file",
            hint=hint,
        ) from None


def _config(model: Any, classes: int, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a config in timm's hub layout, with the architecture's default data config.

    `input_size` follows from the arguments.
    """
    data = {
        key: value for key, value in model.pretrained_cfg.items() if key not in ORIGIN
    } | models.get_model_input_config(model)
    return {
        "architecture": model.pretrained_cfg["architecture"],
        "num_classes": classes,
        "num_features": model.num_features,
        "model_args": arguments,
        "pretrained_cfg": data | {"num_classes": classes},
    }


def _check_weights(folder: Path, weights: str) -> None:
    """Load the weights once, strictly, as training will."""
    try:
        timm.create_model(f"local-dir:{folder}", pretrained=True)
    except REFUSALS as error:
        found = re.search(
            r'(?:Missing|Unexpected) key\(s\) in state_dict: "[^"]+"|size mismatch for [^\n]+', str(error)
        )
        got, hint = (
            found[0] if found else first_line(error),
            "fix base.architecture and base.arguments, or use weights that fit them",
        )
        raise SourceError(
            f"base.weights: {weights} does not fit the architecture",
            got=got,
            expected="a match for every weight",
            hint=hint,
        ) from None
