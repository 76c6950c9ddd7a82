"""Transformers' encoders as backbones: from a base model's folder, or from a config without weights.

Weights that are missing are an error; transformers would initialise them at random and only warn. Nothing is
downloaded, and no code that comes with a model is run.
"""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from baton import params
from baton.errors import ModelError, first_line
from baton.models.classifier import CONFIG, WEIGHTS

# The names that encoder families have for the same two rates.
DROPOUT_NAMES = ("hidden_dropout_prob", "hidden_dropout", "dropout", "embd_pdrop", "mlp_dropout")
ATTENTION_DROPOUT_NAMES = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
# Transformers' names of our two attention implementations; `models.kernels.attention` replaces "eager" if the
# family supports it.
ATTENTION = {"matmul": "eager", "sdpa": "sdpa"}


def read_config(folder: Path) -> PreTrainedConfig:
    """Read an encoder's config.json.

    Raises:
        ModelError: If it is not a known encoder.
    """
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, StrictDataclassError) as error:
        hint = "the base model must be one that transformers supports without remote code"
        raise ModelError(
            f"{folder / CONFIG} is not a known encoder", got=first_line(error), hint=hint
        ) from None
    if config.model_type == "timm_wrapper":  # transformers would load it
        hint = "set base to a transformers encoder, or the kinds of preprocess and tokenize to images"
        raise ModelError(
            f"{folder / CONFIG} is not a known encoder", got="a timm architecture, for images", hint=hint
        )
    return config


def pretrained(base: Path, pooling: str, settings: params.Training, attention: str) -> Any:
    """Return a base model's encoder with its weights, and the dropout rates of `settings`.

    Raises:
        ModelError: If the folder is incomplete or not a known encoder, or the encoder lacks a dropout rate
            that is set.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    config = read_config(base)
    set_dropout(config, settings)
    try:
        backbone, loading = AutoModel.from_pretrained(
            base,
            config=config,
            attn_implementation=ATTENTION[attention],
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        hint = (
            "it must be a transformers encoder with safetensors weights; "
            "if it has no fused attention, set runtime.attention to matmul"
        )
        raise ModelError(
            f"{base} cannot be loaded", got=first_line(error), expected="an encoder", hint=hint
        ) from None
    # Transformers initialises weights missing from the file at random and only warns.
    missing = sorted(
        name for name in loading["missing_keys"] if pooling == "pooler" or not name.startswith("pooler.")
    )
    if missing:
        got, hint = (
            f"{len(missing)} missing, first {missing[0]}",
            "use the encoder's own checkpoint (a Baton model folder is not a base model)",
        )
        raise ModelError(
            f"{base / WEIGHTS} does not match {CONFIG}",
            got=got,
            expected="every weight of the encoder",
            hint=hint,
        )
    return backbone


def construct(config: Any, attention: str) -> Any:
    """Return the encoder that `config` describes, initialised from torch's global seed.

    Raises:
        ModelError: If its family lacks this attention.
    """
    try:
        return AutoModel.from_config(config, attn_implementation=ATTENTION[attention], dtype=torch.float32)
    except ValueError as error:
        raise ModelError(
            f"{config.model_type} cannot be built with runtime.attention {attention}",
            got=first_line(error),
            expected="an attention that transformers has for this family",
            hint="set runtime.attention to auto or matmul",
        ) from None


def unfused(folder: Path) -> str | None:
    """Return the name of the encoder in a folder if transformers has no fused attention (SDPA) for it.

    Such encoders are DeBERTa, MPNet and Longformer; for others the result is None.

    Raises:
        ModelError: If it is not a known encoder.
    """
    config = read_config(folder)
    family: Any = AutoModel._model_mapping.get(type(config), None)
    if isinstance(family, tuple | list):  # one without and one with a decoder, as in Funnel
        named = getattr(config, "architectures", None) or []
        family = next((one for one in family if one.__name__ in named), family[0])
    return None if family is None or family._supports_sdpa else str(family.__name__)


def set_dropout(config: Any, settings: params.Training) -> None:
    """Set the rates in an encoder's config, under the names its family has for them.

    Raises:
        ModelError: If a rate is above 0, but the family does not have it.
    """
    if settings.drop_path:
        hint = "set drop_path to 0.0"
        raise ModelError(
            "transformers' encoders have no stochastic depth",
            got=f"drop_path {settings.drop_path}",
            expected=0.0,
            hint=hint,
        )
    _set_rate(config, DROPOUT_NAMES, settings.dropout)
    _set_rate(config, ATTENTION_DROPOUT_NAMES, settings.attention_dropout)


def layer_stack(backbone: Any) -> str | None:
    """Return the name of the encoder's list of layers: the first ModuleList of the length in its config."""
    count = backbone.config.num_hidden_layers
    found: list[str] = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    return found[0] if found else None


def _set_rate(config: Any, names: tuple[str, ...], rate: float) -> None:
    known = [name for name in names if hasattr(config, name)]
    for name in known:
        setattr(config, name, rate)
    if not known and rate:
        got, expected = f"{rate} for {config.model_type}", f"one of {', '.join(names)} in its config"
        raise ModelError(
            "this encoder has no such dropout", got=got, expected=expected, hint="set the rate to 0.0"
        )
