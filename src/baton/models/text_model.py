"""Text classifiers: a transformers encoder with our head, from a base model's folder or from a config."""

import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from baton import params
from baton.contracts.packed_documents import Packing
from baton.errors import ModelError, first_line
from baton.models.classifier import CONFIG, WEIGHTS, Classifier
from baton.models.kernels import attention as attentions
from baton.models.kernels import dropout as dropouts
from baton.models.kernels import varlen
from baton.runtime.resolve import Work

# The names that encoder families have for the same two rates.
DROPOUT_NAMES = ("hidden_dropout_prob", "hidden_dropout", "dropout", "embd_pdrop", "mlp_dropout")
ATTENTION_DROPOUT_NAMES = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
# Transformers' names of our two attention implementations; `models.kernels.attention` replaces "eager" if the
# family supports it.
ATTENTION = {"matmul": "eager", "sdpa": "sdpa"}

# Families that take packed documents, each of them tested. Those in `FROM_PADDING` count positions from the
# padding token's id + 1.
FROM_PADDING = ("roberta", "xlm-roberta", "camembert")
PACKABLE = ("bert", "electra", "albert", "distilbert", "modernbert", *FROM_PADDING)


class TextClassifier(Classifier):
    """A transformers encoder with a classification head."""

    def __init__(self, backbone: Any, head: params.Head, classes: int) -> None:
        """`backbone` is any transformers encoder; its own pooler is kept only if the head uses it."""
        if head.pooling != "pooler" and hasattr(backbone, "pooler"):
            backbone.pooler = None
        if head.pooling == "pooler" and getattr(backbone, "pooler", None) is None:
            raise ModelError(
                "finetune.head.pooling: this encoder has no pooler",
                got="pooler",
                expected="cls or mean",
                hint="choose one of them",
            )
        super().__init__(backbone, head, backbone.config.hidden_size, classes)
        attentions.install(backbone)
        dropouts.install(backbone)

    def features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        owners: torch.Tensor | None = None,
        packing: Packing | None = None,
    ) -> torch.Tensor:
        """Return the pooled features of documents, (batch, width).

        They are the mean over a document's tokens, or over the vectors of its windows.

        Args:
            input_ids: (windows, length) int64; for packed documents (1, tokens).
            attention_mask: (windows, length), 1 for tokens; None if documents are packed.
            owners: (batch, windows) bool, which document owns each window; None: every document has one
                window, or they are packed.
            packing: the positions of packed documents.
        """
        if packing is not None:
            return self._packed(input_ids, packing)
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        pooled: torch.Tensor
        match self.pooling:
            case "pooler":
                pooled, counts = output.pooler_output, None
            case "cls":
                pooled, counts = output.last_hidden_state[:, 0], None
            case _:
                assert attention_mask is not None
                mask = attention_mask.unsqueeze(-1).to(output.last_hidden_state.dtype)  # (windows, length, 1)
                # The shapes are (windows, width) and (windows, 1).
                pooled, counts = (output.last_hidden_state * mask).sum(1), mask.sum(1)
        if owners is not None:
            # The counts are (batch, 1).
            counts = owners.sum(1, keepdim=True) if counts is None else _together(counts, owners)
            pooled = _together(pooled, owners)  # (batch, width)
        return pooled if counts is None else pooled / counts

    def _packed(self, input_ids: torch.Tensor, packing: Packing) -> torch.Tensor:
        """Return the same features from one row of tokens without padding."""
        config = self.backbone.config
        first = config.pad_token_id + 1 if config.model_type in FROM_PADDING else 0
        # None: no mask at all. An encoder with layers of different kinds takes a mask for each kind.
        kinds = getattr(config, "layer_types", None)
        mask = dict.fromkeys(kinds) if kinds else None
        packed = varlen.Packed(packing.bounds, packing.longest)
        positions = (packing.positions + first).unsqueeze(0)  # (1, tokens)
        output = self.backbone(
            input_ids=input_ids, attention_mask=mask, position_ids=positions, **{varlen.NAME: packed}
        )
        states = output.last_hidden_state[0]  # (tokens, width)
        if self.pooling == "cls":
            groups = packing.documents
            states = states.index_select(0, packing.bounds[:-1])  # (windows, width)
        else:
            groups = packing.bounds.index_select(0, packing.documents)
        return varlen.sums(states, groups) / groups.diff().unsqueeze(1)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        owners: torch.Tensor | None = None,
        packing: Packing | None = None,
    ) -> torch.Tensor:
        """Return logits (batch, classes); the arguments are those of `features`."""
        logits: torch.Tensor = self.head(self.features(input_ids, attention_mask, owners, packing))
        return logits

    def unpackable(self) -> str | None:
        """See `Classifier`."""
        config = self.backbone.config
        if config.model_type not in PACKABLE:
            return f"{config.model_type} is not one of {', '.join(PACKABLE)}"
        if config._attn_implementation not in attentions.OWN:
            return f"{config.model_type} has its own attention"
        return "the encoder's own pooler reads one document per row" if self.pooling == "pooler" else None

    def config(self) -> dict[str, Any]:
        """Return the config as transformers writes it."""
        config: dict[str, Any] = self.backbone.config.to_diff_dict()
        return config | {"model_type": self.backbone.config.model_type}

    def checkpoint_activations(self) -> None:
        """Recompute activations layer by layer, as transformers does."""
        try:
            self.backbone.activation_checkpointing_enable({"use_reentrant": False})
        except ValueError as error:
            hint = "set runtime.gradient_checkpointing to false"
            raise ModelError(
                "this encoder cannot recompute its activations", got=str(error), hint=hint
            ) from None

    def shards(self) -> list[nn.Module]:
        """Return the encoder's list of layers."""
        stack = layer_stack(self.backbone)
        return list(self.backbone.get_submodule(stack)) if stack else []

    def _backbone_groups(self) -> list[list[str]]:
        """Return the embeddings, each layer, and the parameters after the last layer."""
        stack = layer_stack(self.backbone)
        tables = {
            f"{name}.weight"
            for name, module in self.backbone.named_modules()
            if isinstance(module, nn.Embedding)
        }
        bottom: list[str] = []
        layers: dict[int, list[str]] = {}
        top: list[str] = []
        for name, _ in self.backbone.named_parameters():
            # An encoder whose layers share their weights (ALBERT) has no list of layers: all but the
            # embeddings are one layer.
            index = re.match(rf"{re.escape(stack)}\.(\d+)\.", name) if stack else None
            if index:
                layers.setdefault(int(index[1]), []).append(name)
            elif name in tables or (not layers if stack else "embedding" in name):
                bottom.append(name)
            else:
                top.append(name)
        return [bottom, *(layers[index] for index in sorted(layers)), top]


def _together(values: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
    """Sum over each document's windows: (windows, width), (batch, windows) -> (batch, width).

    `index_add` is not used: its order on CUDA, and therefore the last bits, may change from run to run.
    """
    return torch.where(owners.unsqueeze(-1), values, 0).sum(1)  # (batch, windows, width) -> (batch, width)


def create(
    base: Path, head: params.Head, classes: int, settings: params.Training, attention: str
) -> TextClassifier:
    """Create a classifier on a base model's encoder; the head is initialised from torch's global seed.

    Raises:
        ModelError: If the folder is incomplete or not a known encoder, or the encoder lacks a dropout rate
            that is set.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    config = _config(base)
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
        name for name in loading["missing_keys"] if head.pooling == "pooler" or not name.startswith("pooler.")
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
    return TextClassifier(backbone, head, classes)


def assemble(config: Any, head: params.Head, classes: int, attention: str) -> TextClassifier:
    """Return a classifier with the encoder that `config` describes, without loading its weights."""
    return TextClassifier(
        AutoModel.from_config(config, attn_implementation=ATTENTION[attention], dtype=torch.float32),
        head,
        classes,
    )


def reassemble(folder: Path, head: params.Head, classes: int, attention: str) -> TextClassifier:
    """Return the classifier that a model folder's config describes, without loading its weights.

    Raises:
        ModelError: If it is not a known encoder.
    """
    return assemble(_config(folder), head, classes, attention)


def work(folder: Path) -> Work:
    """Return the facts on which the runtime's `auto` depends, for the encoder in a folder.

    Raises:
        ModelError: If it is not a known encoder.
    """
    return Work(unfused=unfused(folder))


def unfused(folder: Path) -> str | None:
    """Return the name of the encoder in a folder if transformers has no fused attention (SDPA) for it.

    Such encoders are DeBERTa, MPNet and Longformer; for others the result is None.

    Raises:
        ModelError: If it is not a known encoder.
    """
    config = _config(folder)
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
            "text encoders have no stochastic depth",
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


def _config(folder: Path) -> PreTrainedConfig:
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


def _set_rate(config: Any, names: tuple[str, ...], rate: float) -> None:
    known = [name for name in names if hasattr(config, name)]
    for name in known:
        setattr(config, name, rate)
    if not known and rate:
        got, expected = f"{rate} for {config.model_type}", f"one of {', '.join(names)} in its config"
        raise ModelError(
            "this encoder has no such dropout", got=got, expected=expected, hint="set the rate to 0.0"
        )
