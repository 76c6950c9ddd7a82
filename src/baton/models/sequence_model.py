"""A model that writes texts: an encoder-decoder of transformers, pretrained or from scratch."""

import re
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from baton import params
from baton.contracts import tied_weights
from baton.contracts.task_spec import Sequence
from baton.errors import ModelError
from baton.models import sequence_backbone as backbones
from baton.models.classifier import WEIGHTS, Classifier
from baton.models.kernels import dropout as dropouts
from baton.runtime.resolve import Work
from baton.texts import generation

LAYER = re.compile(r"(?:model\.)?(encoder|decoder)\.(?:block|layers)\.(\d+)\.")


class SequenceModel(Classifier):
    """An encoder-decoder; calling it returns the logits of target tokens, `generate` writes texts."""

    def __init__(self, backbone: Any, spec: Sequence, tokenizer: Tokenizer, pad: int) -> None:
        """`backbone` is one of `sequence_backbone.FAMILIES`; `pad` is the padding token's id."""
        nn.Module.__init__(self)  # no pooling and no head of ours
        self.pooling = "mean"
        self.backbone = backbone
        self.spec, self.tokenizer = spec, tokenizer
        self.how = generation.config(spec, pad)
        backbone.generation_config = self.how  # transformers would read the rest from the base model's own
        dropouts.install(backbone)
        self.tied = tied_weights.aliases(self)
        self.register_state_dict_post_hook(_once)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_everywhere)  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        decoder_ids: torch.Tensor,
        places: torch.Tensor,
    ) -> torch.Tensor:
        """Return the logits of all target tokens, (tokens, vocabulary).

        Args:
            input_ids: (batch, length) int64.
            attention_mask: (batch, length), 1 for tokens.
            decoder_ids: (batch, target length), what the decoder reads.
            places: (tokens,), where in (batch * target length) the logits of target tokens are.
        """
        output = self.backbone(
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_ids,
            use_cache=False,
        )
        return torch.as_tensor(output.logits.flatten(0, 1).index_select(0, places))

    def generate(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, *_: torch.Tensor
    ) -> torch.Tensor:
        """Return generated tokens, (batch, target_length) int64, padded; see `texts.generation`."""
        return generation.generate(self.backbone, input_ids, attention_mask, self.how)

    def decode(self, tokens: torch.Tensor) -> list[str]:
        """Return the texts of generated tokens, (rows, target_length)."""
        return generation.decoded(self.tokenizer, tokens, self.spec.end)

    def unpackable(self) -> str | None:
        """See `Classifier`."""
        return "an encoder-decoder reads padded texts"

    def config(self) -> dict[str, Any]:
        """Return the config as transformers writes it."""
        config: dict[str, Any] = self.backbone.config.to_diff_dict()
        return config | {"model_type": self.backbone.config.model_type}

    def checkpoint_activations(self) -> None:
        """Recompute activations layer by layer, as transformers does."""
        self.backbone.gradient_checkpointing_enable({"use_reentrant": False})

    def shards(self) -> list[nn.Module]:
        """Return no layers: params refuse to split the model over processes."""
        return []

    def _backbone_groups(self) -> list[list[str]]:
        """Return what is outside layers, then the encoder's layers, then the decoder's."""
        outside: list[str] = []
        layers: dict[tuple[str, int], list[str]] = {}
        for name, _ in self.backbone.named_parameters():
            if found := LAYER.match(name):
                layers.setdefault((found[1], int(found[2])), []).append(name)
            else:
                outside.append(name)
        ordered = sorted(layers, key=lambda key: (key[0] == "decoder", key[1]))
        return [outside, *(layers[key] for key in ordered)]


def _once(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Keep each weight under its first name alone, as `tied_weights` says."""
    assert isinstance(module, SequenceModel)
    for name in module.tied:
        state.pop(prefix + name, None)


def _everywhere(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(module, SequenceModel)
    for name, other in module.tied.items():
        if prefix + other in state:
            state.setdefault(prefix + name, state[prefix + other])


def create(
    base: Path, tokenizer: Tokenizer, spec: Sequence, settings: params.Training, attention: str, pad: int
) -> SequenceModel:
    """Return the base model in the folder `base`; without weights there, they are drawn from torch's seed.

    Raises:
        ModelError: the folder is incomplete or not a known encoder-decoder, or it lacks a dropout rate that
            is set.
    """
    config = backbones.read_config(base)
    backbones.set_dropout(config, settings)
    if (base / WEIGHTS).is_file():
        backbone = backbones.pretrained(base, config, attention)
    else:
        config.vocab_size = spec.vocabulary
        backbone = backbones.construct(config, attention)
    if config.vocab_size < spec.vocabulary:
        raise ModelError(
            f"{base}: the tokenizer has more tokens than the model",
            got=f"{spec.vocabulary} tokens, vocab_size {config.vocab_size}",
            expected="the model's own tokenizer.json",
            hint="fetch both from the same model",
        )
    return SequenceModel(backbone, spec, tokenizer, pad)


def reassemble(folder: Path, tokenizer: Tokenizer, spec: Sequence, attention: str, pad: int) -> SequenceModel:
    """Return the model that a model folder's config describes, without loading its weights."""
    return SequenceModel(backbones.construct(backbones.read_config(folder), attention), spec, tokenizer, pad)


def student(
    teacher: SequenceModel,
    encoder: tuple[int, ...],
    decoder: tuple[int, ...],
    settings: params.Training,
    attention: str,
) -> SequenceModel:
    """Return a copy of the teacher with only these layers of its encoder and decoder, counted from 0.

    Shrink and fine-tune (Shleifer & Rush 2020, arXiv:2010.13002, section 3.1). T5 has its relative positions
    in the first layer alone; they stay there, whichever layer comes first.
    """
    config = backbones.shortened(teacher.backbone.config, encoder, decoder)
    backbones.set_dropout(config, settings)
    made = SequenceModel(
        backbones.construct(config, attention), teacher.spec, teacher.tokenizer, int(teacher.how.pad_token_id)
    )
    known, chosen = teacher.state_dict(), {"encoder": encoder, "decoder": decoder}

    def source(name: str) -> str:
        own = name.removeprefix("backbone.")
        if (found := LAYER.match(own)) is None:
            return name
        start, end = found.span(2)
        moved = f"backbone.{own[:start]}{chosen[found[1]][int(found[2])]}{own[end:]}"
        return moved if moved in known else name

    made.load_state_dict({name: known[source(name)] for name in made.state_dict()})
    return made


def work(folder: Path) -> Work:
    """Return the facts on which the runtime's `auto` depends, for the model in a folder.

    Raises:
        ModelError: it is not a known encoder-decoder.
    """
    backbones.read_config(folder)
    return Work()
