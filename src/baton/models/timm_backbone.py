"""Timm's architectures as backbones.

Input: a folder in timm's hub layout, or a name with arguments. Output: a model without its classifier.
Weights that do not match are refused, which timm sometimes only logs. Nothing is downloaded: only the
folder's own files are read.
"""

import difflib
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
from timm import models

from baton import storage
from baton.contracts import timm_arguments
from baton.contracts.input_spec import ImageInput
from baton.contracts.timm_arguments import FOREIGN, REFUSALS
from baton.errors import ModelError, first_line
from baton.models.classifier import CONFIG, WEIGHTS, weight_mismatch

POOLING = {"cls": "token", "mean": "avg", "pooler": None}  # timm's names; None: the architecture's own


class PoolingError(ModelError):
    """The architecture cannot pool as the head requires."""


def read_config(folder: Path) -> dict[str, Any]:
    """Read a config.json in timm's hub layout.

    Raises:
        ModelError: If it has another layout or names an architecture that timm does not have.
    """
    path = folder / CONFIG
    config = storage.read_json(path) if path.is_file() else {}
    arguments = config.get("model_args") or {}
    if not isinstance(config.get("architecture"), str):
        got, expected = ", ".join(sorted(config)) or "nothing", "architecture, model_args, pretrained_cfg"
        hint = "the base model of an image pipeline must be a timm model"
        raise ModelError(f"{path} is not a config in timm's layout", got=got, expected=expected, hint=hint)
    if foreign := FOREIGN & set(arguments):
        hint = "remove it: weights come from the folder itself"
        raise ModelError(
            f"{path}: model_args must describe the architecture", got=", ".join(sorted(foreign)), hint=hint
        )
    if not models.is_model(config["architecture"]):
        problem = f"{path}: timm has no such architecture"
        raise ModelError(problem, got=config["architecture"], hint=close_matches(config["architecture"]))
    return dict(config)


def known(architecture: str) -> bool:
    """Return whether timm has the architecture; a tag of pretrained weights after a dot is ignored."""
    return bool(models.is_model(models.split_model_name_tag(architecture)[0]))


def set_elsewhere(arguments: Mapping[str, Any]) -> list[str]:
    """Return the arguments that the user may not set: other params do, or they name a source of weights."""
    return timm_arguments.set_elsewhere(arguments, "in_chans", "img_size")


def close_matches(architecture: str) -> str:
    """Return a hint with the names closest to a mistyped architecture."""
    close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
    return f"did you mean {' or '.join(close)}?" if close else "`timm.list_models()` lists them"


def arguments(name: str, reads: ImageInput, **own: Any) -> dict[str, Any]:
    """Return arguments of `timm.create_model` for a model that reads such images.

    Args:
        name: an architecture, or "local-dir:" and a folder, whose config is then used.
        reads: its `size` and `channels` are used.
        own: arguments of the architecture.

    Raises:
        ModelError: If timm cannot read the data config in the folder's config.
    """
    try:
        found: dict[str, Any] = models.resolve_model_input_args(
            name, {"input_size": (reads.channels, *reads.size)}, **own
        )
    except REFUSALS as error:
        hint = "compare it with the config of a model on timm's hub"
        raise ModelError(
            f"{name.removeprefix('local-dir:')}: timm cannot read its config",
            got=first_line(error),
            hint=hint,
        ) from None
    return found


def construct(arguments: Mapping[str, Any]) -> Any:
    """Call `timm.create_model(**arguments)`, which initialises the model from torch's global seed.

    Raises:
        ModelError: If the architecture does not take these arguments.
    """
    try:
        return timm.create_model(**arguments)
    except REFUSALS as error:
        hidden = {"model_name", "pretrained_model_args", *FOREIGN}
        got = (
            ", ".join(f"{key} {value}" for key, value in sorted(arguments.items()) if key not in hidden)
            + f": {first_line(error)}"
        )
        hint = "fix the architecture's arguments, or the size and channels of its input in tokenize"
        raise ModelError(
            f"timm cannot make {arguments['model_name']} with these arguments", got=got, hint=hint
        ) from None


def pretrained(base: Path, arguments: Mapping[str, Any]) -> Any:
    """Create the model with a folder's weights, which timm adapts to the input's size and channels.

    Raises:
        ModelError: If the weights do not match.
    """
    path, hint = base / WEIGHTS, "use the weights that belong to this architecture and these arguments"
    try:
        with _left_as_drawn() as missing:  # if the file contains the classifier, timm loads strictly
            backbone = timm.create_model(**arguments, pretrained=True)
    except REFUSALS as error:
        raise ModelError(
            f"{path} does not match {CONFIG}", got=weight_mismatch(error), expected="every weight", hint=hint
        ) from None
    if missing:
        raise ModelError(
            f"{path} does not match {CONFIG}", got=f"missing {missing[0]}", expected="every weight", hint=hint
        )
    return backbone


def pool(backbone: Any, pooling: str) -> None:
    """Remove the classifier and make the model pool as the head requires.

    Norms stay where the weights have them.

    Raises:
        PoolingError: If the architecture cannot pool that way.
    """
    try:
        backbone.reset_classifier(0, *([POOLING[pooling]] if POOLING[pooling] else []))
    except REFUSALS as error:
        name, hint = (
            backbone.pretrained_cfg["architecture"],
            "choose another pooling, or pooler for the architecture's own",
        )
        raise PoolingError(
            f"finetune.head.pooling: {name} cannot pool that way",
            got=f"{pooling}: {first_line(error)}",
            hint=hint,
        ) from None


@contextmanager
def _left_as_drawn() -> Iterator[list[str]]:
    """Yield a list that collects the names of weights that timm does not find in the file.

    Timm does not load every architecture strictly, and then only logs these names.
    """
    missing: list[str] = []
    logger = logging.getLogger("timm.models._builder")
    level, shown = logger.level, logger.getEffectiveLevel()

    def read(record: logging.LogRecord) -> bool:
        if found := re.match(r"Missing keys \(([^)]*)\)", record.getMessage()):
            missing.extend(found[1].split(", "))
        return record.levelno >= shown

    logger.addFilter(read)
    logger.setLevel(logging.INFO)
    try:
        yield missing
    finally:
        logger.setLevel(level)
        logger.removeFilter(read)
