"""Encoder plus classification head: made from a base model, saved to and loaded from a folder.

A model folder holds `model.safetensors` (keys `backbone.*`, `head.*`), `config.json` (the encoder's), the tokenizer's files and
`baton.json` (labels, head, max_length). Nothing is unpickled and no remote code runs.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from baton import params, storage
from baton.errors import ModelError
from baton.models import attention as attentions
from baton.models import dropout as dropouts

WEIGHTS, CONFIG, INFO = "model.safetensors", "config.json", "baton.json"
# Files that belong to the tokenizer, copied along so that a model folder is complete.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json")
# Names that encoder families give to the same two rates.
DROPOUT_NAMES = ("hidden_dropout_prob", "hidden_dropout", "dropout", "embd_pdrop", "mlp_dropout")
ATTENTION_DROPOUT_NAMES = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
# Transformers' names of our two attention implementations; `models.attention` takes the place of "eager" where a family lets it.
ATTENTION = {"matmul": "eager", "sdpa": "sdpa"}


@dataclass(frozen=True)
class ModelInfo:
    """What a model folder says beside weights and encoder config."""

    labels: list[str]
    head: params.Head
    max_length: int
    pad: int


class Head(nn.Module):
    """Pooled encoder output -> logits."""

    def __init__(self, kind: params.Head, width: int, classes: int) -> None:
        """`width` is the encoder's; an MLP head has a hidden layer of its own width."""
        super().__init__()
        self.dropout = dropouts.Dropout(kind.dropout)
        self.hidden = nn.Linear(width, kind.width) if isinstance(kind, params.MlpHead) else None
        self.output = nn.Linear(kind.width if isinstance(kind, params.MlpHead) else width, classes)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """(batch, width) -> (batch, classes)."""
        pooled = self.dropout(pooled)
        if self.hidden is not None:
            pooled = self.dropout(torch.tanh(self.hidden(pooled)))
        logits: torch.Tensor = self.output(pooled)
        return logits


class Classifier(nn.Module):
    """A transformers encoder with a classification head."""

    backbone: Any  # a PreTrainedModel; its attributes depend on its family

    def __init__(self, backbone: Any, head: params.Head, classes: int) -> None:
        """`backbone` is any transformers encoder; its own pooler is kept only where the head uses it."""
        super().__init__()
        self.pooling = head.pooling
        self.backbone = backbone
        if head.pooling != "pooler" and hasattr(backbone, "pooler"):
            backbone.pooler = None
        if head.pooling == "pooler" and getattr(backbone, "pooler", None) is None:
            raise ModelError(
                "finetune.head.pooling: this encoder has no pooler", got="pooler", expected="cls or mean", hint="choose one of them"
            )
        self.head = Head(head, backbone.config.hidden_size, classes)
        attentions.install(backbone)
        dropouts.install(backbone)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(batch, length), (batch, length) -> logits (batch, classes)."""
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        match self.pooling:
            case "pooler":
                pooled = output.pooler_output
            case "cls":
                pooled = output.last_hidden_state[:, 0]
            case _:
                mask = attention_mask.unsqueeze(-1).to(output.last_hidden_state.dtype)  # (batch, length, 1)
                pooled = (output.last_hidden_state * mask).sum(1) / mask.sum(1)  # (batch, width)
        logits: torch.Tensor = self.head(pooled)
        return logits


def create(base: Path, head: params.Head, classes: int, dropout: float, attention_dropout: float, attention: str) -> Classifier:
    """A new classifier on a base model's encoder; the head is drawn from torch's global seed.

    Raises:
        ModelError: the folder is incomplete, no known encoder, or has no such dropout.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    config = _config(base)
    set_dropout(config, dropout, attention_dropout)
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
        hint = "it must be a transformers encoder with safetensors weights; if it has no fused attention, set runtime.attention to matmul"
        raise ModelError(f"{base} cannot be loaded", got=str(error).splitlines()[0], expected="an encoder", hint=hint) from None
    # Transformers draws weights that the file lacks at random and only warns.
    missing = sorted(name for name in loading["missing_keys"] if head.pooling == "pooler" or not name.startswith("pooler."))
    if missing:
        got, hint = (
            f"{len(missing)} missing, first {missing[0]}",
            "use the encoder's own checkpoint (a model folder of ours is no base model)",
        )
        raise ModelError(f"{base / WEIGHTS} does not fit {CONFIG}", got=got, expected="every weight of the encoder", hint=hint)
    return Classifier(backbone, head, classes)


def assemble(config: Any, head: params.Head, classes: int, attention: str) -> Classifier:
    """A classifier with the encoder that `config` describes; its weights are still to be loaded."""
    return Classifier(AutoModel.from_config(config, attn_implementation=ATTENTION[attention], dtype=torch.float32), head, classes)


def save(model: Classifier, info: ModelInfo, tokenizer: Path, target: Path) -> None:
    """Write a complete model folder, atomically; `tokenizer` is the folder whose tokenizer files are copied along."""
    with storage.atomic_folder(target) as folder:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, folder / WEIGHTS)
        config = model.backbone.config.to_diff_dict()
        storage.write_json(folder / CONFIG, config | {"model_type": model.backbone.config.model_type})
        head = info.head.model_dump()
        storage.write_json(folder / INFO, {"labels": info.labels, "head": head, "max_length": info.max_length, "pad": info.pad})
        for name in TOKENIZER_FILES:
            if (tokenizer / name).is_file():
                shutil.copyfile(tokenizer / name, folder / name)


def load(folder: Path, attention: str) -> tuple[Classifier, ModelInfo]:
    """Load a model folder that `save` wrote, in eval mode.

    Raises:
        ModelError: a file is missing or the weights do not fit the config.
    """
    for name in (WEIGHTS, CONFIG, INFO):
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder} is no model of ours",
                got=f"no {name}",
                expected="a folder written by finetune or distill",
                hint="run `dvc repro`",
            )
    raw = storage.read_json(folder / INFO)
    info = ModelInfo(raw["labels"], params.head(raw["head"]), raw["max_length"], raw["pad"])
    model = assemble(_config(folder), info.head, len(info.labels), attention)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        hint = f"run `dvc repro --force` for the stage that writes {folder}"
        raise ModelError(f"{folder / WEIGHTS} does not fit {CONFIG} and {INFO}", got=str(error).splitlines()[0], hint=hint) from None
    return model.eval(), info


def set_dropout(config: Any, dropout: float, attention_dropout: float) -> None:
    """Set an encoder config's rates, under whatever names its family has for them.

    Raises:
        ModelError: a rate above 0 that the family does not know.
    """
    _set_rate(config, DROPOUT_NAMES, dropout)
    _set_rate(config, ATTENTION_DROPOUT_NAMES, attention_dropout)


def _config(folder: Path) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, StrictDataclassError) as error:
        hint = "the base model must be one that transformers knows without remote code"
        raise ModelError(f"{folder / CONFIG} is no known encoder", got=str(error).splitlines()[0], hint=hint) from None
    return config


def _set_rate(config: Any, names: tuple[str, ...], rate: float) -> None:
    known = [name for name in names if hasattr(config, name)]
    for name in known:
        setattr(config, name, rate)
    if not known and rate:
        got, expected = f"{rate} for {config.model_type}", f"one of {', '.join(names)} in its config"
        raise ModelError("this encoder has no such dropout", got=got, expected=expected, hint="set the rate to 0.0")
