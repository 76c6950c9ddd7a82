"""The image benchmark on a tiny ViT: every side trains on the same images."""

from pathlib import Path

import pytest

from baton import params
from benchmarks import image_speed
from tests import tiny, tiny_images

AUGMENTATION = params.Augmentation(
    crop=params.PaddedCrop(kind="padded", padding=1),
    flip=0.5,
    rotation=5.0,
    colour=None,
    randaugment=None,
    erasing=0.0,
    mixup=0.0,
    cutmix=0.0,
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> image_speed.Work:
    folder = tmp_path_factory.mktemp("images")
    tiny.write_image_base(folder / "data/base")
    tiny_images.write_arrays(folder / "data", {"train": 48, "val": 8, "test": 8})
    image_speed.write_files(
        folder / "data/clean/train.parquet", folder / "files", [str(label) for label in range(10)]
    )
    recipe = params.read(Path("recipes/digits-vit.yaml"))
    settings = recipe.finetune.model_copy(update={"batch_size": 4, "augmentation": AUGMENTATION, "ema": None})
    runtime = recipe.runtime.model_copy(update={"precision": "fp32", "threads": 1})
    return image_speed.Work(folder, folder / "files", settings, runtime, steps=2)


def test_files_are_the_pictures_of_the_table(work: image_speed.Work) -> None:
    assert len(list(work.files.rglob("*.png"))) == 48 and len(list(work.files.iterdir())) == 10


# timm leaves files open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_side_trains(work: image_speed.Work) -> None:
    for run in (image_speed.ours(work), image_speed.tutorial(work, 0), image_speed.timm_loader(work, 0)):
        assert run.rate > 0 and run.peak > 0 and abs(run.grown) < run.peak


def test_the_peers_model_is_the_same_architecture(work: image_speed.Work) -> None:
    machine = tiny.machine()
    ours, theirs = image_speed.our_model(work, machine), image_speed.timm_model(work, machine)
    count = [sum(parameter.numel() for parameter in model.parameters()) for model in (ours.backbone, theirs)]
    head = sum(parameter.numel() for parameter in ours.head.parameters())
    assert abs(count[0] + head - count[1]) <= 2 * ours.backbone.num_features  # a norm before or after pooling
