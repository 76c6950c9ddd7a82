"""Image classifiers: timm adapts their weights, they are saved and loaded, and bad arguments are refused."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers import DropPath, resample_abs_pos_embed
from timm.models import adapt_input_conv, save_for_hf

from baton import params
from baton.contracts.input_spec import ImageInput
from baton.errors import ModelError
from baton.models import model_folder, timm_backbone
from baton.models.kernels import dropout
from tests import tiny

MEAN = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
HEADS = {pooling: MEAN.model_copy(update={"pooling": pooling}) for pooling in ("mean", "cls", "pooler")}
MLP = params.MlpHead(kind="mlp", pooling="cls", dropout=0.1, width=7)
LABELS = ["a", "b", "c"]
VIT = {"patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_image_base(tmp_path_factory.mktemp("base"), size=16)


def make(
    base: Path,
    head: params.Head = MEAN,
    attention: str = "sdpa",
    size: int = 16,
    channels: int = 1,
    **rates: float,
) -> Any:
    torch.manual_seed(1)
    return model_folder.create(
        base, head, 3, tiny.training(**rates), attention, tiny.image_input(size, channels)
    ).eval()


def pixels(size: int = 16, channels: int = 1, count: int = 3) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, channels, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def write_architecture(folder: Path, architecture: str, **arguments: Any) -> Path:
    """Write a base model without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architecture": architecture,
        "model_args": arguments,
        "pretrained_cfg": {"first_conv": None, "num_classes": 0},
    }
    data = timm.models.get_pretrained_cfg(architecture)
    if data is not None:
        config["pretrained_cfg"] = data.to_dict(remove_source=True) | {"num_classes": 0, "custom_load": False}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> tuple[Path, Any]:
    """Write a checkpoint as timm does for its hub and return it with its model.

    It has five classes and takes 32x32 pixels with three channels.
    """
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=32, **VIT).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_for_hf(model, tmp_path / "hub", safe_serialization=True)
    return tmp_path / "hub", model


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_a_checkpoint_of_timms_gives_the_features_that_it_gives_in_timm(
    hub: tuple[Path, Any], pooling: str
) -> None:
    folder, theirs = hub
    ours, images = make(folder, HEADS[pooling], size=32, channels=3), pixels(32, 3)
    with torch.no_grad():
        tokens = theirs.forward_features((images / 255 - 0.5) / 0.25)
        expected = tokens[:, 1:].mean(1) if pooling == "mean" else tokens[:, 0]
        torch.testing.assert_close(ours.features(images), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours(images), ours.head(expected), rtol=1e-4, atol=1e-4)
        assert torch.equal(ours(images), ours(images.float()))


@pytest.mark.parametrize("size", [[16, 16], [16, 24]])
def test_position_embeddings_and_the_first_convolution_are_adapted_as_timm_does(
    hub: tuple[Path, Any], size: list[int]
) -> None:
    folder, theirs = hub
    model = model_folder.create(
        folder, MEAN, 3, tiny.training(), "sdpa", replace(tiny.image_input(16, 1), size=size)
    )
    expected = resample_abs_pos_embed(
        theirs.pos_embed, new_size=[size[0] // 4, size[1] // 4], num_prefix_tokens=1
    )
    torch.testing.assert_close(model.backbone.pos_embed, expected)
    torch.testing.assert_close(
        model.backbone.patch_embed.proj.weight, adapt_input_conv(1, theirs.patch_embed.proj.weight)
    )
    torch.testing.assert_close(model.backbone.blocks[1].mlp.fc1.weight, theirs.blocks[1].mlp.fc1.weight)
    assert model(torch.zeros(2, 1, *size, dtype=torch.uint8)).shape == (2, 3)


def test_an_adapted_model_saves_and_loads_at_its_new_size(hub: tuple[Path, Any], tmp_path: Path) -> None:
    model = make(hub[0], size=16, channels=1)
    loaded = save_and_load(model, tmp_path / "model", tiny.image_input(16, 1))
    assert torch.equal(loaded(pixels()), model(pixels()))
    again = tmp_path / "again"
    model_folder.save(
        loaded, model_folder.ModelInfo(tiny.task(*LABELS), MEAN, tiny.image_input(16, 1)), hub[0], again
    )
    for name in ("config.json", "model.safetensors", "baton.json"):
        assert (again / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def save_and_load(model: Any, folder: Path, shape: ImageInput, head: params.Head = MEAN) -> Any:
    info = model_folder.ModelInfo(tiny.task(*LABELS), head, shape)
    model_folder.save(model, info, folder, folder)
    loaded, found = model_folder.load(folder, "sdpa")
    assert found == info
    return loaded


@pytest.mark.parametrize(
    "head", [MEAN, HEADS["cls"], HEADS["pooler"], MLP], ids=["mean", "cls", "pooler", "mlp"]
)
def test_a_saved_model_loads_to_the_same_logits(base: Path, tmp_path: Path, head: params.Head) -> None:
    model = make(base, head, dropout=0.1, drop_path=0.1)
    loaded = save_and_load(model, tmp_path / "model", tiny.image_input(16), head)
    assert torch.equal(loaded(pixels()), model(pixels()))
    assert "mean" not in load_file(tmp_path / "model" / "model.safetensors")


def test_the_config_is_one_that_timm_itself_builds_from(base: Path, tmp_path: Path) -> None:
    model = make(base)
    save_and_load(model, tmp_path / "model", tiny.image_input(16))
    theirs = timm.create_model(f"local-dir:{tmp_path / 'model'}")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    theirs.load_state_dict(
        {
            name.removeprefix("backbone."): value
            for name, value in weights.items()
            if name.startswith("backbone.")
        }
    )
    torch.testing.assert_close(
        theirs.eval()((pixels() / 255 - 0.5) / 0.25), model.features(pixels()), rtol=1e-5, atol=1e-5
    )
    data = timm.data.resolve_model_data_config(theirs)
    assert (data["input_size"], data["mean"], data["std"]) == ((1, 16, 16), [0.5], [0.25])


def test_a_seed_fixes_what_is_drawn_and_another_draws_other_weights(tmp_path: Path) -> None:
    folder, drawn = write_architecture(tmp_path, "vit_tiny_patch16_224", **VIT), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(
            model_folder.create(folder, MEAN, 3, tiny.training(), "sdpa", tiny.image_input(16)).state_dict()
        )
    assert all(torch.equal(drawn[0][name], value) for name, value in drawn[1].items())
    assert not torch.equal(
        drawn[0]["backbone.patch_embed.proj.weight"], drawn[2]["backbone.patch_embed.proj.weight"]
    )


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("resnet18", 16),
        ("convnext_atto", 32),
        ("mobilenetv3_small_050", 16),
        ("test_vit", 32),
        ("test_efficientnet", 16),
        ("efficientvit_m0", 32),
    ],
)
def test_networks_of_every_kind_are_made_trained_and_loaded(
    tmp_path: Path, architecture: str, size: int
) -> None:
    model = make(
        write_architecture(tmp_path / "base", architecture), HEADS["pooler"], size=size, drop_path=0.0
    )
    convolutional = architecture != "test_vit"
    assert model.channels_last == convolutional
    weights = [
        parameter
        for parameter in model.backbone.parameters()
        if parameter.ndim == 4 and min(parameter.shape[1:]) > 1
    ]
    assert (
        all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
        or not convolutional
    )
    model.train()(pixels(size, count=4)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval()
    loaded = save_and_load(model, tmp_path / "model", tiny.image_input(size), HEADS["pooler"])
    assert torch.equal(loaded(pixels(size)), model(pixels(size)))
    named = [name for group in model.layer_groups() for name in group]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())


def test_the_memory_format_changes_the_speed_only(tmp_path: Path) -> None:
    model = make(write_architecture(tmp_path, "resnet18"), size=32)
    fast = model(pixels(32))
    assert next(model.backbone.children()).weight.is_contiguous(memory_format=torch.channels_last)
    model.channels_last = False
    model.backbone.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(fast, model(pixels(32)), rtol=1e-4, atol=1e-4)


def test_the_layers_of_a_vit_go_from_the_stem_to_the_head(base: Path) -> None:
    groups = make(base).layer_groups()
    patterns = [
        r"backbone\.(cls_token|pos_embed|patch_embed\..*)",
        r"backbone\.blocks\.0\..*",
        r"backbone\.(blocks\.1\..*|norm\..*)",
        r"head\..*",
    ]
    assert len(groups) == len(patterns)
    for group, pattern in zip(groups, patterns, strict=True):
        assert group and all(re.fullmatch(pattern, name) for name in group), group


def test_a_parameter_in_no_group_is_an_error(
    base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = make(base)
    groups = model._backbone_groups()
    for broken, count in (([groups[0], groups[1]], 0), ([*groups, groups[2]], 2)):
        monkeypatch.setattr(model, "_backbone_groups", lambda broken=broken: broken)
        with pytest.raises(ModelError, match=rf"backbone\.blocks\.1\.\S+, in {count} groups"):
            model.layer_groups()
    with pytest.raises(ModelError, match="layer_decay"):
        make(write_architecture(tmp_path, "caformer_s18"), size=32).layer_groups()


def test_rates_are_those_of_params_and_an_architectures_own_default_is_not(
    base: Path, tmp_path: Path
) -> None:
    model = make(base, dropout=0.1, attention_dropout=0.2, drop_path=0.3)
    block = model.backbone.blocks[1]
    found = (block.attn.attn_drop.p, block.attn.proj_drop.p, block.mlp.drop1.p, block.drop_path2.drop_prob)
    assert found == pytest.approx((0.2, 0.1, 0.1, 0.3))
    assert model.backbone.head_drop.p == 0.0  # our head has its own
    drops = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert drops and all(type(module) is dropout.Dropout for module in drops)
    swin = write_architecture(
        tmp_path / "swin", "swin_tiny_patch4_window7_224", depths=[1, 1], num_heads=[1, 2], embed_dim=16
    )
    assert any(
        isinstance(module, DropPath)
        for module in timm_backbone.construct({"model_name": f"local-dir:{swin}"}).modules()
    )
    assert not any(isinstance(module, DropPath) for module in make(swin, size=28, drop_path=0.0).modules())
    assert (
        make(write_architecture(tmp_path / "cnn", "resnet18"), dropout=0.4, size=32).backbone.drop_rate == 0.4
    )


def test_the_two_attentions_agree(base: Path) -> None:
    fused, plain = make(base, attention="sdpa"), make(base, attention="matmul")
    assert [model.backbone.blocks[0].attn.fused_attn for model in (fused, plain)] == [True, False]
    torch.testing.assert_close(fused(pixels()), plain(pixels()))


def test_activations_are_computed_again_with_the_same_gradient(base: Path) -> None:
    gradients, calls = [], []
    for again in (False, True):
        model = make(base, dropout=0.2, attention="matmul").train()
        if again:
            model.checkpoint_activations()
        model.backbone.blocks[0].register_forward_pre_hook(lambda *_, again=again: calls.append(again))
        torch.manual_seed(3)
        model(pixels()).square().sum().backward()
        gradients.append(model.backbone.patch_embed.proj.weight.grad)
    assert torch.equal(*gradients)
    assert calls.count(True) == 2 * calls.count(False)


def test_a_backbone_that_cannot_is_named(tmp_path: Path) -> None:
    model = make(write_architecture(tmp_path, "dla34"), size=32)
    with pytest.raises(ModelError, match=r"recompute its activations[\s\S]*dla34"):
        model.checkpoint_activations()


def spoil(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("blocks.1.norm1.bias"), r"missing blocks\.1\.norm1\.bias"),
        (lambda weights: weights.update(other=torch.zeros(1)), "unexpected other"),
        (lambda weights: weights.update({"norm.bias": torch.zeros(7)}), r"size mismatch for norm\.bias"),
        (lambda weights: weights.clear() or weights.update(a=torch.zeros(1)), "missing cls_token"),
    ],
)
def test_weights_that_do_not_fit_are_refused_not_drawn_at_random(
    tmp_path: Path, change: Any, message: str
) -> None:
    folder = tiny.write_image_base(tmp_path, size=16)
    spoil(folder, change)
    with pytest.raises(ModelError, match=rf"model\.safetensors does not match config\.json[\s\S]*{message}"):
        make(folder)


def test_a_first_layer_that_timm_cannot_adapt_is_refused_not_drawn_at_random(tmp_path: Path) -> None:
    """NaFlexViT embeds patches with a linear layer.

    Timm would initialise it again for a different number of channels, and only log that.
    """
    torch.manual_seed(0)
    model = timm.create_model("naflexvit_base_patch16_gap", embed_dim=32, depth=1, num_heads=2, num_classes=0)
    save_for_hf(model, tmp_path, safe_serialization=True)
    assert make(tmp_path, HEADS["pooler"], size=32, channels=3)(pixels(32, 3)).shape == (3, 3)
    with pytest.raises(ModelError, match=r"does not match[\s\S]*missing embeds\.proj\.weight"):
        make(tmp_path, HEADS["pooler"], size=32, channels=1)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            VIT,
            {"size": 18},
            r"ignore pixels[\s\S]*\[18, 18\] pixels in patches of \[4, 4\][\s\S]*tokenize\.size",
        ),
        (VIT | {"deep": 2}, {}, r"timm cannot make[\s\S]*deep"),
        (
            VIT | {"checkpoint_path": "evil.pt"},
            {},
            r"model_args must describe the architecture[\s\S]*checkpoint_path",
        ),
        (
            VIT | {"class_token": False, "global_pool": "avg"},
            {"head": HEADS["cls"]},
            r"pooling: vit_tiny_patch16_224 cannot pool that way[\s\S]*cls",
        ),
    ],
)
def test_what_a_vit_does_not_take_is_refused(
    tmp_path: Path, arguments: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        make(write_architecture(tmp_path, "vit_tiny_patch16_224", **arguments), **options)


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("resnet18", {"head": HEADS["cls"]}, r"pooling: resnet18 cannot pool that way"),
        ("convnext_atto", {"size": 8}, r"does not take images of \[8, 8\] pixels"),
        ("resnet18", {"attention_dropout": 0.1}, r"resnet18 has no attention_dropout[\s\S]*0\.1"),
        ("resnet19", {}, r"no such architecture[\s\S]*resnet1\d"),
    ],
)
def test_what_a_convolutional_network_does_not_take_is_refused(
    tmp_path: Path, architecture: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        make(write_architecture(tmp_path, architecture), **options)


def test_a_base_of_text_is_no_base_of_images_and_the_other_way_round(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a config in timm's layout"):
        make(tiny.write_base(tmp_path))
    with pytest.raises(ModelError, match="is not a known encoder"):
        model_folder.create(base, MEAN, 3, tiny.training(), "sdpa", tiny.TEXT_INPUT)


def test_a_model_folder_that_was_tampered_with_is_refused(base: Path, tmp_path: Path) -> None:
    save_and_load(make(base), tmp_path / "model", tiny.image_input(16))
    spoil(tmp_path / "model", lambda weights: weights.pop("backbone.norm.bias"))
    with pytest.raises(ModelError, match=r"does not match[\s\S]*missing backbone\.norm\.bias"):
        model_folder.load(tmp_path / "model", "sdpa")


@pytest.mark.slow
def test_a_step_of_the_real_vit_base_at_224_pixels_runs(tmp_path: Path) -> None:
    """Run forward, backward and AdamW on the architecture of `cifar10-vit` with random weights."""
    folder = write_architecture(tmp_path, "vit_base_patch16_224")
    model = model_folder.create(
        folder, HEADS["cls"], 10, tiny.training(drop_path=0.1), "sdpa", tiny.image_input(224, 3)
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == 85_806_346
    assert len(model.layer_groups()) == 14  # stem, 12 blocks, head
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    loss = torch.nn.functional.cross_entropy(model.train()(pixels(224, 3, count=2)), torch.tensor([1, 2]))
    loss.backward()
    assert abs(loss.item() - 2.3) < 0.5  # ten classes and a new head
    optimizer.step()
    assert all(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_batch_normalisation_needs_two_samples(base: Path, tmp_path: Path) -> None:
    assert make(base).smallest_part == 1
    assert make(tiny.write_convolutional_base(tmp_path / "tiny_vit"), size=8).smallest_part == 2
    assert make(write_architecture(tmp_path / "resnet", "resnet10t"), size=32, channels=3).smallest_part == 2
