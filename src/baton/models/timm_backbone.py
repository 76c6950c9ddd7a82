"""Timm's architectures as backbones: a folder in timm's hub layout, or a name with arguments -> a model without classifier.

Weights that do not fit are refused, which timm at times only logs. Nothing is fetched: the folder's own files are all that is read.
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
from baton.errors import ModelError
from baton.models.classifier import CONFIG, WEIGHTS, misfit

POOLING = {"cls": "token", "mean": "avg", "pooler": None}  # timm's names; None leaves the architecture's own
# Arguments of `timm.create_model` that say where weights come from, or that make something else than a classifier.
FOREIGN = {
    "cache_dir",
    "checkpoint_path",
    "exportable",
    "features_only",
    "no_jit",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
}
# Those that other params set.
ELSEWHERE = {"num_classes", "in_chans", "img_size"}
# What timm's constructors raise on arguments that they do not take.
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


class PoolingError(ModelError):
    """An architecture cannot pool as the head wants."""


def read_config(folder: Path) -> dict[str, Any]:
    """config.json in timm's hub layout.

    Raises:
        ModelError: it is something else, or names no architecture of timm's.
    """
    path = folder / CONFIG
    config = storage.read_json(path) if path.is_file() else {}
    arguments = config.get("model_args") or {}
    if not isinstance(config.get("architecture"), str):
        got, expected = ", ".join(sorted(config)) or "nothing", "architecture, model_args, pretrained_cfg"
        hint = "the base model of a pipeline for images must be one of timm's"
        raise ModelError(f"{path} is no config in timm's layout", got=got, expected=expected, hint=hint)
    if foreign := FOREIGN & set(arguments):
        hint = "remove it: weights come from the folder itself"
        raise ModelError(
            f"{path}: model_args must describe the architecture", got=", ".join(sorted(foreign)), hint=hint
        )
    if not models.is_model(config["architecture"]):
        problem = f"{path}: timm knows no such architecture"
        raise ModelError(problem, got=config["architecture"], hint=close_matches(config["architecture"]))
    return dict(config)


def known(architecture: str) -> bool:
    """Whether timm has it; a tag of pretrained weights after a dot does not count."""
    return bool(models.is_model(models.split_model_name_tag(architecture)[0]))


def set_elsewhere(arguments: Mapping[str, Any]) -> list[str]:
    """Those of an architecture's arguments that are not the user's to give: other params set them, or they say where weights come from."""
    return sorted(
        name
        for name in arguments
        if name in FOREIGN | ELSEWHERE or re.search(r"(^|_)drop(_\w+)?_rate$", name)
    )


def close_matches(architecture: str) -> str:
    """What a mistyped architecture may have meant, as a hint."""
    close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
    return f"did you mean {' or '.join(close)}?" if close else "`timm.list_models()` lists them"


def arguments(name: str, shape: Mapping[str, Any], **own: Any) -> dict[str, Any]:
    """Arguments of `timm.create_model` for a model that reads images of `shape` (meta.json's `input`).

    Args:
        name: an architecture, or "local-dir:" and a folder, whose config then counts.
        shape: its `size` and `channels`.
        own: arguments of the architecture.

    Raises:
        ModelError: the config's data config is none of timm's.
    """
    try:
        found: dict[str, Any] = models.resolve_model_input_args(
            name, {"input_size": (shape["channels"], *shape["size"])}, **own
        )
    except REFUSALS as error:
        hint = "compare it with that of a model on timm's hub"
        raise ModelError(
            f"{name.removeprefix('local-dir:')}: timm cannot read its config", got=reason(error), hint=hint
        ) from None
    return found


def construct(arguments: Mapping[str, Any]) -> Any:
    """`timm.create_model(**arguments)`, drawn from torch's global seed.

    Raises:
        ModelError: the architecture does not take these arguments.
    """
    try:
        return timm.create_model(**arguments)
    except REFUSALS as error:
        hidden = {"model_name", "pretrained_model_args", *FOREIGN}
        got = (
            ", ".join(f"{key} {value}" for key, value in sorted(arguments.items()) if key not in hidden)
            + f": {reason(error)}"
        )
        hint = "mend the architecture's arguments, or the size and channels of its input in tokenize"
        raise ModelError(f"timm cannot make {arguments['model_name']} so", got=got, hint=hint) from None


def pretrained(base: Path, arguments: Mapping[str, Any]) -> Any:
    """The same with the weights of a folder, adapted by timm to another input size or number of channels.

    Raises:
        ModelError: they do not fit.
    """
    path, hint = base / WEIGHTS, "take the weights that belong to this architecture and these arguments"
    try:
        with _left_as_drawn() as missing:  # with the classifier that the file has, timm loads strictly
            backbone = timm.create_model(**arguments, pretrained=True)
    except REFUSALS as error:
        raise ModelError(
            f"{path} does not fit {CONFIG}", got=misfit(error), expected="every weight", hint=hint
        ) from None
    if missing:
        raise ModelError(
            f"{path} does not fit {CONFIG}", got=f"missing {missing[0]}", expected="every weight", hint=hint
        )
    return backbone


def pool(backbone: Any, pooling: str) -> None:
    """Take the classifier off and let the model pool as the head wants; norms stay where the weights have them.

    Raises:
        PoolingError: the architecture cannot.
    """
    try:
        backbone.reset_classifier(0, *([POOLING[pooling]] if POOLING[pooling] else []))
    except REFUSALS as error:
        name, hint = (
            backbone.pretrained_cfg["architecture"],
            "choose another, or pooler for the architecture's own",
        )
        raise PoolingError(
            f"finetune.head.pooling: {name} cannot pool so", got=f"{pooling}: {reason(error)}", hint=hint
        ) from None


def reason(error: Exception) -> str:
    """The first line of what timm says."""
    return str(error).splitlines()[0] if str(error) else repr(error)


@contextmanager
def _left_as_drawn() -> Iterator[list[str]]:
    """Names of weights for which timm finds nothing in the file: it does not load every architecture strictly, and then only logs them."""
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
