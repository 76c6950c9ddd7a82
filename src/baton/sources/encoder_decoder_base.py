"""Write a new encoder-decoder as a base model: a config without weights, and how to train its tokenizer.

Params `base` of kind `encoder_decoder` -> config.json and `TOKENIZER_PLAN`. `tokenize` trains the tokenizer
on the clean train table and `finetune` draws the weights, so neither exists yet. Importing transformers takes
seconds, so `sources.base_model` imports this module only for that kind.
"""

from pathlib import Path
from typing import Any

from transformers import BartConfig, MarianConfig, PreTrainedConfig, T5Config

from baton import params, storage
from baton.contracts.trained_tokenizer import END, PAD, PLAN


def write(base: params.EncoderDecoderBase, folder: Path) -> None:
    """Write config.json, whose vocabulary is that of the tokenizer once it is trained, and the plan."""
    config = _config(base).to_diff_dict() | {"model_type": base.architecture}
    storage.write_json(folder / "config.json", config)
    storage.write_json(folder / PLAN, base.tokenizer.model_dump())


def _config(base: params.EncoderDecoderBase) -> PreTrainedConfig:
    tokens: dict[str, Any] = {
        "pad_token_id": PAD,
        "eos_token_id": END,
        "decoder_start_token_id": PAD,
        "is_encoder_decoder": True,
    }
    match base.architecture:
        case "t5":
            return T5Config(
                d_model=base.width,
                d_kv=base.width // base.heads,
                d_ff=base.hidden,
                num_layers=base.encoder_layers,
                num_decoder_layers=base.decoder_layers,
                num_heads=base.heads,
                **tokens,
            )
        case "bart" | "marian":
            family = BartConfig if base.architecture == "bart" else MarianConfig
            return family(
                d_model=base.width,
                encoder_ffn_dim=base.hidden,
                decoder_ffn_dim=base.hidden,
                encoder_layers=base.encoder_layers,
                decoder_layers=base.decoder_layers,
                encoder_attention_heads=base.heads,
                decoder_attention_heads=base.heads,
                max_position_embeddings=base.positions,
                bos_token_id=None,
                forced_eos_token_id=None,
                **tokens,
            )
