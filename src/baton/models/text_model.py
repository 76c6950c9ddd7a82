"""Text classifiers: a transformers encoder with our head, from a base model's folder or from a config."""

from pathlib import Path
from typing import Any, Self

import torch

from baton import params
from baton.contracts.packed_documents import Packing
from baton.errors import ModelError
from baton.models import transformers_backbone as backbones
from baton.models.encoder_classifier import EncoderClassifier
from baton.models.kernels import attention as attentions
from baton.models.kernels import dropout as dropouts
from baton.models.kernels import varlen
from baton.runtime.resolve import Work
from baton.texts import pair_windows

# Families that take packed documents, each of them tested. Those in `FROM_PADDING` count positions from the
# padding token's id + 1.
FROM_PADDING = ("roberta", "xlm-roberta", "camembert")
PACKABLE = ("bert", "electra", "albert", "distilbert", "modernbert", *FROM_PADDING)


class TextClassifier(EncoderClassifier):
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
        self.takes_types = pair_windows.takes_types(backbone)
        attentions.install(backbone)
        dropouts.install(backbone)

    @classmethod
    def assemble(cls, config: Any, head: params.Head, classes: int, attention: str) -> Self:
        """See `EncoderClassifier`."""
        return cls(backbones.construct(config, attention), head, classes)

    def features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        owners: torch.Tensor | None = None,
        packing: Packing | None = None,
        types: torch.Tensor | None = None,
        partners: torch.Tensor | None = None,
        shares: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the pooled features of documents, (batch, width).

        They are the mean over a document's tokens, or over the vectors of its windows.

        Args:
            input_ids: (windows, length) int64; for packed documents (1, tokens).
            attention_mask: (windows, length), 1 for tokens; None if documents are packed.
            owners: (batch, windows) bool, which document owns each window; None: every document has one
                window, or they are packed.
            packing: the positions of packed documents.
            types: of tokens of pairs, in the shape of `input_ids`; None: all are 0. An encoder without types
                ignores them.
            partners: with mixup, (windows, length) int64, the tokens with which those of `input_ids` are
                mixed; the mask is then 1 where either has a token.
            shares: of the embedding of either in each place, (windows, length, 2); 0 where it has no token.
        """
        output = self._encoded(input_ids, attention_mask, packing, types, partners, shares)
        if packing is not None:
            return self._of_packed(output.last_hidden_state[0], packing)
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

    def _of_packed(self, states: torch.Tensor, packing: Packing) -> torch.Tensor:
        """Return the same features from the vectors of packed tokens, (tokens, width)."""
        if self.pooling == "cls":
            groups = packing.documents
            states = states.index_select(0, packing.bounds[:-1])  # (windows, width)
        else:
            groups = packing.bounds.index_select(0, packing.documents)
        return varlen.sums(states, groups) / groups.diff().unsqueeze(1)

    def _encoded(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        packing: Packing | None,
        types: torch.Tensor | None,
        partners: torch.Tensor | None = None,
        shares: torch.Tensor | None = None,
    ) -> Any:
        """Return the encoder's output; the arguments are those of `features`."""
        read = {"token_type_ids": types} if self.takes_types and types is not None else {}
        if partners is not None and shares is not None:
            mixed = self._mixed(input_ids, partners, shares)
            return self.backbone(inputs_embeds=mixed, attention_mask=attention_mask, **read)
        if packing is None:
            return self.backbone(input_ids=input_ids, attention_mask=attention_mask, **read)
        config = self.backbone.config
        first = config.pad_token_id + 1 if config.model_type in FROM_PADDING else 0
        # None: no mask at all. An encoder with layers of different kinds takes a mask for each kind.
        kinds = getattr(config, "layer_types", None)
        mask = dict.fromkeys(kinds) if kinds else None
        packed = varlen.Packed(packing.bounds, packing.longest)
        positions = (packing.positions + first).unsqueeze(0)  # (1, tokens)
        return self.backbone(
            input_ids=input_ids, attention_mask=mask, position_ids=positions, **{varlen.NAME: packed}, **read
        )

    def _mixed(self, input_ids: torch.Tensor, partners: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Return embeddings of tokens mixed with those of others (wordMixup, Guo et al. 2019, section 3).

        The arguments are those of `features`; the result is (windows, length, width of embeddings).
        """
        table = self.backbone.get_input_embeddings()
        own, others = table(input_ids), table(partners)
        first, second = shares.to(own.dtype).unsqueeze(-2).unbind(-1)  # (windows, length, 1) each
        return torch.as_tensor(own * first + others * second)

    def read(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        owners: torch.Tensor | None = None,
        packing: Packing | None = None,
        types: torch.Tensor | None = None,
        places: torch.Tensor | None = None,
        partners: torch.Tensor | None = None,
        shares: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return what a head reads: the pooled features (batch, width), or vectors of units (units, width).

        The arguments are those of `features`, and `places`, (units,) int64: the tokens that stand for units,
        in the flattened `input_ids`. The head then reads their vectors instead of pooled ones.
        """
        if places is None:
            return self.features(input_ids, attention_mask, owners, packing, types, partners, shares)
        states = self._encoded(input_ids, attention_mask, packing, types).last_hidden_state
        return states.reshape(-1, states.shape[-1]).index_select(0, places)  # type: ignore[no-any-return]

    def forward(self, *inputs: Any) -> torch.Tensor:
        """Return logits (batch, width), or those of units (units, width); for the arguments see `read`."""
        logits: torch.Tensor = self.head(self.read(*inputs))
        return logits

    def unpackable(self) -> str | None:
        """See `Classifier`."""
        config = self.backbone.config
        if config.model_type not in PACKABLE:
            return f"{config.model_type} is not one of {', '.join(PACKABLE)}"
        if config._attn_implementation not in attentions.OWN:
            return f"{config.model_type} has its own attention"
        return "the encoder's own pooler reads one document per row" if self.pooling == "pooler" else None


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
    return TextClassifier(backbones.pretrained(base, head.pooling, settings, attention), head, classes)


def reassemble(folder: Path, head: params.Head, classes: int, attention: str) -> TextClassifier:
    """Return the classifier that a model folder's config describes, without loading its weights.

    Raises:
        ModelError: If it is not a known encoder.
    """
    return TextClassifier.assemble(backbones.read_config(folder), head, classes, attention)


def work(folder: Path) -> Work:
    """Return the facts on which the runtime's `auto` depends, for the encoder in a folder.

    Raises:
        ModelError: If it is not a known encoder.
    """
    return Work(unfused=backbones.unfused(folder))
