"""What a model of images reads, from its base's data config and params."""

from typing import Any

from baton import params
from baton.contracts.input_spec import ImageInput
from baton.errors import ModelError

# What timm takes where a data config does not say.
DEFAULTS: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
}
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
CROP_MODES = ("center", "squash", "border")


def describe(config: dict[str, Any], settings: params.ImageTokenize) -> ImageInput:
    """Return what a model reads that starts from this base.

    Args:
        config: the base's config.json.
        settings: what is set takes precedence.

    Raises:
        ModelError: it is no image base, or its data config is beyond what we know.
    """
    if "architecture" not in config:
        got = config.get("model_type", "neither architecture nor model_type")
        hint = "set base to a timm model, or tokenize.kind to text"
        problem = "the base model's config.json is not a timm config"
        raise ModelError(problem, got=got, expected="architecture", hint=hint)
    given = config.get("pretrained_cfg", config)  # older files have the two in one
    data = {name: default if given.get(name) is None else given[name] for name, default in DEFAULTS.items()}
    if data["interpolation"] == "random":
        data["interpolation"] = "bilinear"  # as timm evaluates
    for name, known in (("interpolation", INTERPOLATIONS), ("crop_mode", CROP_MODES)):
        if data[name] not in known:
            problem = f"the base model's data config has an unknown {name}"
            hint = "fix pretrained_cfg in its config.json"
            raise ModelError(problem, got=data[name], expected=", ".join(known), hint=hint)
    height, width = [settings.size] * 2 if settings.size else [int(side) for side in data["input_size"][1:]]
    return ImageInput(
        size=(height, width),
        channels=settings.channels,
        mean=_per_channel(data["mean"], settings.channels),
        std=_per_channel(data["std"], settings.channels),
        interpolation=data["interpolation"],
        crop_fraction=float(settings.crop_fraction or data["crop_pct"]),
        crop_mode=data["crop_mode"],
    )


def _per_channel(values: Any, channels: int) -> tuple[float, ...]:
    given = tuple(float(value) for value in values)
    if len(given) == channels:
        return given
    return (sum(given) / len(given),) * channels
