"""Encoders for which transformers has no fused attention: `auto` does not choose it, and they train."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    DebertaConfig,
    DebertaV2Config,
    LongformerConfig,
    MPNetConfig,
    PreTrainedConfig,
)

from baton import params
from baton.distill import student
from baton.errors import ModelError
from baton.models import model_folder, transformers_backbone
from baton.runtime import kernels, resolve
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
SIZE = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
RELATIVE = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "DebertaModel": DebertaConfig(**SIZE, **RELATIVE),
    "DebertaV2Model": DebertaV2Config(**SIZE, **RELATIVE),
    "MPNetModel": MPNetConfig(**SIZE, max_position_embeddings=40),
    "LongformerModel": LongformerConfig(**SIZE, attention_window=[4, 4], max_position_embeddings=40),
}
IDS = torch.tensor([[2, 9, 8, 7, 3, 4, 5, 6], [2, 9, 3, 1, 1, 1, 1, 1]])
MASK = torch.tensor([[1] * 8, [1] * 3 + [0] * 5])


@pytest.fixture(params=CONFIGS)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    AutoModel.from_config(CONFIGS[request.param]).save_pretrained(tmp_path / request.param)
    return tmp_path / request.param


def test_they_are_told_by_name(base: Path, tmp_path: Path) -> None:
    assert model_folder.work(base, tiny.TEXT_INPUT) == resolve.Work(unfused=base.name)
    BertConfig(**SIZE).save_pretrained(tmp_path / "bert")
    assert model_folder.work(tmp_path / "bert", tiny.TEXT_INPUT) == resolve.Work()
    assert model_folder.work(base, tiny.image_input()) == resolve.Work(fixed_shapes=True)


def test_they_train_with_what_auto_chooses_on_a_device(base: Path) -> None:
    chosen, reason = kernels.attention("auto", torch.device("cuda"), model_folder.work(base, tiny.TEXT_INPUT))
    assert (chosen, reason) == ("matmul", f"{base.name} has no fused attention in transformers")
    torch.manual_seed(1)
    model = model_folder.create(base, HEAD, 3, tiny.training(), chosen, tiny.TEXT_INPUT).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(model(IDS, MASK), torch.tensor([0, 2]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_asked_for_it_they_say_that_they_have_none(base: Path) -> None:
    """Negative control: the choice of `auto` on CUDA before it considered the model."""
    info = model_folder.ModelInfo(tiny.task("a", "b", "c"), HEAD, tiny.TEXT_INPUT)
    made = model_folder.create(base, HEAD, 3, tiny.training(), "matmul", tiny.TEXT_INPUT)
    model_folder.save(made, info, base, base.parent / "saved")
    with pytest.raises(ModelError, match=r"cannot be built with runtime\.attention sdpa"):
        model_folder.load(base.parent / "saved", "sdpa")
    with pytest.raises(ModelError, match=r"has no fused attention, set runtime\.attention to matmul"):
        model_folder.create(base, HEAD, 3, tiny.training(), "sdpa", tiny.TEXT_INPUT)


def test_a_student_of_theirs_has_their_attention(tmp_path: Path) -> None:
    base = tmp_path / "base"
    AutoModel.from_config(CONFIGS["MPNetModel"]).save_pretrained(base)
    teacher = model_folder.create(base, HEAD, 3, tiny.training(), "matmul", tiny.TEXT_INPUT)
    info = model_folder.ModelInfo(tiny.task("a", "b", "c"), HEAD, tiny.TEXT_INPUT)
    model_folder.save(teacher, info, base, tmp_path / "teacher")
    assert transformers_backbone.unfused(tmp_path / "teacher") == "MPNetModel"
    loaded, info = model_folder.load(tmp_path / "teacher", "matmul")
    kept = params.LayersStudent(kind="teacher_layers", layers=(1,))
    small = student.make(loaded, info, kept, tiny.training(), "matmul")
    assert small(IDS, MASK).shape == (2, 3)
