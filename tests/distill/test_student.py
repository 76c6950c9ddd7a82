"""Students of image teachers: some of the teacher's blocks, or a different architecture."""

from pathlib import Path
from typing import Any

import pytest
import torch

from baton import params
from baton.distill import student
from baton.errors import ModelError, ParamsError
from baton.models import model_folder
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="cls", dropout=0.1)
SHAPE = tiny.image_input(16)
INFO = model_folder.ModelInfo(tiny.task("a", "b", "c"), HEAD, SHAPE)
PIXELS = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_image_base(tmp_path_factory.mktemp("base"), size=16, depth=3)


@pytest.fixture
def teacher(base: Path) -> Any:
    torch.manual_seed(1)
    return model_folder.create(base, HEAD, 3, tiny.training(dropout=0.2, drop_path=0.2), "sdpa", SHAPE).eval()


def make(
    teacher: Any,
    wanted: params.LayersStudent | params.TimmStudent,
    info: model_folder.ModelInfo = INFO,
    **rates: float,
) -> Any:
    torch.manual_seed(2)
    return student.make(teacher, info, wanted, tiny.training(**rates), "sdpa").eval()


def layers(*chosen: int) -> params.LayersStudent:
    return params.LayersStudent(kind="teacher_layers", layers=chosen)


def architecture(name: str, **arguments: Any) -> params.TimmStudent:
    return params.TimmStudent(kind="timm", architecture=name, arguments=arguments)


def save_and_load(model: Any, base: Path, folder: Path) -> tuple[Any, model_folder.ModelInfo]:
    model_folder.save(model, INFO, base, folder)
    return model_folder.load(folder, "sdpa")


def test_blocks_of_a_vit_are_the_teacher_without_the_others(teacher: Any, base: Path, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    small = make(teacher, layers(0, 2), dropout=0.4, drop_path=0.3)
    assert len(small.backbone.blocks) == 2 and small.backbone.blocks[1].mlp.drop1.p == 0.4
    assert small.backbone.blocks[1].drop_path1.drop_prob == pytest.approx(0.3)
    loaded, info = save_and_load(small, base, tmp_path / "student")
    assert info == INFO and torch.equal(loaded(PIXELS), small(PIXELS))
    assert not torch.equal(small(PIXELS), teacher(PIXELS))
    assert len(teacher.backbone.blocks) == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    teacher.backbone.blocks[1] = torch.nn.Identity()
    assert torch.equal(small(PIXELS), teacher(PIXELS))


def test_a_student_of_a_student_can_be_made(teacher: Any, base: Path, tmp_path: Path) -> None:
    loaded, info = save_and_load(make(teacher, layers(0, 2)), base, tmp_path / "student")
    smaller = make(loaded, layers(1), info)
    assert torch.equal(smaller.backbone.blocks[0].mlp.fc1.weight, teacher.backbone.blocks[2].mlp.fc1.weight)


def test_another_vit_is_drawn_from_the_seed_for_the_teachers_input(
    teacher: Any, base: Path, tmp_path: Path
) -> None:
    wanted = architecture("vit_tiny_patch16_224", patch_size=8, embed_dim=16, depth=1, num_heads=2)
    small, again = make(teacher, wanted), make(teacher, wanted)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in small.state_dict().items())
    assert (
        small.pooling == "cls" and small.backbone.global_pool == "token" and len(small.backbone.blocks) == 1
    )
    loaded, info = save_and_load(small, base, tmp_path / "student")
    assert info == INFO and torch.equal(loaded(PIXELS), small(PIXELS))


def test_a_convolutional_student_pools_in_its_own_way_and_says_so(
    teacher: Any, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = make(teacher, architecture("resnet18"), dropout=0.3)
    assert "resnet18 cannot pool by cls" in capsys.readouterr().out
    assert small.channels_last and small.backbone.conv1.in_channels == 1 and small.backbone.drop_rate == 0.3
    loaded, info = save_and_load(small, base, tmp_path / "student")
    assert info.head == HEAD.model_copy(update={"pooling": "pooler"})
    assert torch.equal(loaded(PIXELS), small(PIXELS))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (layers(0, 3), r"distill\.student\.layers[\s\S]*less than 3"),
        (architecture("resnet19"), r"no such architecture[\s\S]*did you mean"),
        (architecture("hf-hub:timm/resnet18"), "no such architecture"),
        (architecture("vit_tiny_patch16_224", img_size=32, drop_path_rate=0.1), "drop_path_rate, img_size"),
        (architecture("vit_tiny_patch16_224", checkpoint_path="weights.pt"), "checkpoint_path"),
    ],
)
def test_what_cannot_be_a_student_is_refused(teacher: Any, wanted: Any, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        make(teacher, wanted)


@pytest.mark.parametrize(
    ("wanted", "rates", "message"),
    [
        (architecture("vit_tiny_patch16_224", deep=3), {}, "cannot make vit_tiny_patch16_224"),
        (architecture("convnext_atto"), {}, "does not take images"),
        (architecture("resnet18"), {"attention_dropout": 0.1}, "no attention_dropout"),
    ],
)
def test_what_an_architecture_does_not_take_is_refused(
    teacher: Any, wanted: Any, rates: dict[str, float], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        make(teacher, wanted, **rates)


def test_a_convolutional_teacher_has_no_layers_to_choose_from(
    teacher: Any, base: Path, tmp_path: Path
) -> None:
    network, info = save_and_load(make(teacher, architecture("resnet18")), base, tmp_path)
    with pytest.raises(ParamsError, match=r"no list of blocks[\s\S]*resnet18[\s\S]*kind to timm"):
        make(network, layers(0), info)


def test_a_teacher_that_reads_text_has_no_student_of_timms(tmp_path: Path) -> None:
    head = HEAD.model_copy(update={"pooling": "mean"})
    reader = model_folder.create(
        tiny.write_base(tmp_path), head, 3, tiny.training(), "matmul", tiny.TEXT_INPUT
    )
    with pytest.raises(ParamsError, match=r"read images[\s\S]*teacher_layers"):
        make(
            reader,
            architecture("resnet18"),
            model_folder.ModelInfo(tiny.task("a", "b", "c"), head, tiny.TEXT_INPUT),
        )
