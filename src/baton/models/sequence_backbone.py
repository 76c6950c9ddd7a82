"""Transformers' encoder-decoders as backbones: from a base model's folder, or from a config without weights.

Weights that are missing are an error. Nothing is downloaded, and no code that comes with a model is run.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from baton import params
from baton.errors import ModelError, ParamsError, first_line
from baton.models import transformers_backbone
from baton.models.classifier import CONFIG, WEIGHTS
from baton.models.transformers_backbone import ATTENTION

# Families, each of them tested, and their names of the rates of dropout and attention dropout; T5 has one
# rate for both.
FAMILIES: dict[str, tuple[str, str]] = {
    "t5": ("dropout_rate", "dropout_rate"),
    "bart": ("dropout", "attention_dropout"),
    "marian": ("dropout", "attention_dropout"),
}


def read_config(folder: Path) -> PreTrainedConfig:
    """Read an encoder-decoder's config.json.

    Raises:
        ModelError: it is not one of `FAMILIES`.
    """
    config = transformers_backbone.read_config(folder)
    if config.model_type not in FAMILIES:
        raise ModelError(
            f"{folder / CONFIG} is not a known encoder-decoder",
            got=f"model_type {config.model_type}",
            expected=", ".join(FAMILIES),
            hint="set base to a model of one of these families, or task.kind to another task",
        )
    return config


def pretrained(base: Path, config: PreTrainedConfig, attention: str) -> Any:
    """Return a base model with its weights.

    Raises:
        ModelError: the folder is incomplete, or its weights do not match.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        backbone, loading = AutoModelForSeq2SeqLM.from_pretrained(
            base,
            config=config,
            attn_implementation=ATTENTION[attention],
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        hint = "it must be a transformers encoder-decoder with safetensors weights"
        raise ModelError(
            f"{base} cannot be loaded", got=first_line(error), expected="an encoder-decoder", hint=hint
        ) from None
    missing = sorted(loading["missing_keys"])  # transformers would initialise them at random and only warn
    if missing:
        raise ModelError(
            f"{base / WEIGHTS} does not match {CONFIG}",
            got=f"{len(missing)} missing, first {missing[0]}",
            expected="every weight of the encoder, the decoder and its output",
            hint="use a checkpoint with its language head, such as T5ForConditionalGeneration's",
        )
    return backbone


def construct(config: Any, attention: str) -> Any:
    """Return the model that `config` describes, initialised from torch's global seed."""
    return AutoModelForSeq2SeqLM.from_config(
        config, attn_implementation=ATTENTION[attention], dtype=torch.float32
    )


def set_dropout(config: Any, settings: params.Training) -> None:
    """Set the rates in a config, under its family's names.

    Raises:
        ModelError: a rate is set that the family does not have apart.
    """
    if settings.drop_path:
        raise ModelError(
            "encoder-decoders of text have no stochastic depth",
            got=f"drop_path {settings.drop_path}",
            expected=0.0,
            hint="set drop_path to 0.0",
        )
    own, attention = FAMILIES[config.model_type]
    if own == attention and settings.attention_dropout not in (0, settings.dropout):
        raise ModelError(
            f"{config.model_type} has one rate of dropout, also for attention",
            got=f"dropout {settings.dropout}, attention_dropout {settings.attention_dropout}",
            expected="attention_dropout 0.0, or the same rate",
            hint="set attention_dropout to 0.0",
        )
    if own != attention:
        setattr(config, attention, settings.attention_dropout)
    setattr(config, own, settings.dropout)


def shortened(config: Any, encoder: tuple[int, ...], decoder: tuple[int, ...]) -> Any:
    """Return a copy of a config with as many layers as these, which must be layers of it.

    Raises:
        ParamsError: a layer is beyond the last one.
    """
    found = copy.deepcopy(config)
    names = (
        ("num_layers", "num_decoder_layers")
        if config.model_type == "t5"
        else ("encoder_layers", "decoder_layers")
    )
    for name, key, layers in zip(
        names, ("encoder_layers", "decoder_layers"), (encoder, decoder), strict=True
    ):
        count = int(getattr(config, name))
        if max(layers) >= count:
            raise ParamsError(
                f"distill.student.{key}: the teacher has no such layer",
                got=max(layers),
                expected=f"less than {count}",
                hint=f"choose from 0 to {count - 1}",
            )
        setattr(found, name, len(layers))
    if "num_hidden_layers" in vars(found) and config.model_type != "t5":
        found.num_hidden_layers = len(encoder)
    return found
