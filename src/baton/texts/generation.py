"""Generate texts with an encoder-decoder; training, evaluation and served models share this code.

Tokens are chosen greedily or by beam search, so equal inputs give equal texts. Weights and activations are in
fp32, whatever the precision of training: near ties would be decided otherwise in half precision, and a served
model would answer other texts than evaluation judged.
"""

from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig

from baton.contracts.task_spec import Sequence


def config(spec: Sequence, pad: int) -> GenerationConfig:
    """Return how texts are generated: `spec` has the beams and the length, `pad` is the padding token's id.

    It leaves out what a base model's own generation_config.json may ask for, such as forbidden repetitions.
    The padding token is never chosen: some models (Marian) give it a score like any other. Nor is the unknown
    token, which a model learns if targets hold it, but which stands for no text.
    """
    never = {pad} if spec.unknown is None else {pad, spec.unknown}
    return GenerationConfig(
        max_new_tokens=spec.target_length,
        num_beams=spec.beams,
        do_sample=False,
        early_stopping=spec.beams > 1,
        decoder_start_token_id=spec.start,
        eos_token_id=spec.end,
        pad_token_id=pad,
        suppress_tokens=sorted(never - {spec.end}) or None,
        use_cache=True,
    )


def generate(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, how: GenerationConfig
) -> torch.Tensor:
    """Return the generated tokens (batch, most), without the start token, padded to the most that may come.

    `model` is one of transformers' with a language head, in eval mode; the other arguments are its inputs
    (batch, length), and the result of `config`.
    """
    # Transformers would make a cache for as many layers as the encoder has, which may be fewer than the
    # decoder's.
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # training may have allowed TF32
    try:
        with torch.no_grad(), torch.autocast(input_ids.device.type, enabled=False):
            found = model.generate(
                input_ids=input_ids,
                attention_mask=attention_mask,
                generation_config=how,
                past_key_values=cache,
            )
    finally:
        torch.set_float32_matmul_precision(precision)
    found = found[:, 1:]  # (batch, tokens)
    rest = int(how.max_new_tokens) - found.shape[1]
    filled: torch.Tensor = torch.nn.functional.pad(found, (0, rest), value=int(how.pad_token_id))
    return filled


def decoded(tokenizer: Tokenizer, tokens: torch.Tensor, end: int) -> list[str]:
    """Return the text of each row of tokens (batch, length), up to its end token and without special ones."""
    texts = []
    for row in tokens.tolist():
        own = row[: row.index(end)] if end in row else row
        texts.append(tokenizer.decode(own, skip_special_tokens=True).strip())
    return texts
