"""The pipeline on images through real `dvc repro`: one folder per class, augmentation, a live teacher.

The student is convolutional.
"""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton import storage
from baton.images import decoding
from tests.test_pipeline import ROOT, STAGES, TIMED, Project, copy_code

pytestmark = pytest.mark.slow
CLASSES = ("0", "1", "2", "3")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("images") / "project")
    yield made
    shutil.rmtree(made.folder)


def make_project(folder: Path) -> Project:
    """Copy this checkout's code, add digits as PNG files, one folder per class, and reduce the recipe."""
    copy_code(folder)
    write_images(folder / "inbox/images")
    shutil.copy(ROOT / "recipes/image-folder.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(small)
    for command in ("init", "add ."):
        assert made.run("git", *command.split()).returncode == 0
    assert (
        made.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-m", "x").returncode
        == 0
    )
    return made


def write_images(folder: Path) -> None:
    """Write forty digits of each class, enlarged to 16 x 16, and one file that is not an image."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == int(label)][:40]):
            pixels = np.rint(image * (255 / 16)).astype(np.uint8).repeat(2, 0).repeat(2, 1)[..., None]
            (folder / label / f"{number}.png").write_bytes(decoding.encode(pixels))
    (folder / "0/broken.png").write_bytes(b"no picture")


def small(raw: dict[str, Any]) -> None:
    vit = {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
    raw["base"] = {
        "kind": "timm",
        "architecture": "vit_tiny_patch16_224",
        "arguments": vit,
        "weights": None,
        "licence": "none",
    }
    raw["tokenize"] |= {"size": 16, "crop_fraction": 1.0, "channels": 1}
    for section in ("finetune", "distill"):
        raw[section] |= {"epochs": 2, "min_steps": 0, "batch_size": 16, "log_every": 2}
        raw[section]["augmentation"] |= {
            "crop": {"kind": "padded", "padding": 2},
            "cutmix": 1.0,
            "erasing": 0.2,
        }
    raw["finetune"]["strategy"] = {"kind": "full"}
    raw["distill"]["student"] = {"kind": "timm", "architecture": "resnet10t", "arguments": {}}
    raw["evaluate"]["baselines"] = [{"kind": "majority"}, {"kind": "pixels", "side": 8, "C": [1.0]}]
    raw["evaluate"]["bootstrap"]["resamples"] = 100
    raw["evaluate"]["speed"] = {
        "repeats": 1,
        "precision": 0.5,
        "max_seconds": 1.0,
        "batch_size": 8,
        "samples": 8,
        "latency_samples": 2,
    }
    raw["evaluate"] |= {"robustness": {"samples": 16, "severities": 2}, "gallery": {"errors": 2, "steps": 4}}
    raw["runtime"]["threads"] = 1


def test_all_seven_stages_run(project: Project) -> None:
    assert project.repro() == STAGES
    report = storage.read_json(project.folder / "data/clean/report.json")
    unreadable = report["checks"]["unreadable"]
    assert len(unreadable["rows"]) == 1 and "0/broken.png" in unreadable["reasons"][unreadable["rows"][0]]
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    assert (
        metrics["test"]["classes"] == len(CLASSES)
        and "pixels_logistic" in metrics
        and "robustness" in metrics
    )
    for name in ("augmentation", "gallery_teacher", "robustness"):
        assert (project.folder / f"reports/figures/{name}.png").stat().st_size > 1000
    assert storage.read_json(project.folder / "models/student/config.json")["architecture"] == "resnet10t"


def test_nothing_runs_again(project: Project) -> None:
    assert project.repro() == []


def test_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    """With augmentation, mixing, stochastic depth, batch statistics and averaged weights."""
    before = project.digests()
    assert project.repro("--force") == STAGES
    after = project.digests()
    assert {name for name in before if before[name] != after.get(name)} <= TIMED


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_takes_images(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes, base64 and paths give the labels of the predictions table."""
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    import pyarrow.parquet as pq

    from baton.contracts import predictions

    served = project.served("student")
    content = pq.read_table("data/clean/test.parquet")["image"].to_pylist()[:8]
    labels = storage.read_json(Path("data/clean/task.json"))["names"]
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    expected = [labels[best] for best in logits[:8].argmax(axis=1)]
    Path("picture.png").write_bytes(content[0])
    assert served.predict(content)["label"].tolist() == expected
    assert served.predict([base64.b64encode(one).decode() for one in content])["label"].tolist() == expected
    assert served.predict([Path("picture.png").resolve()])["label"].tolist() == expected[:1]


def test_another_augmentation_is_another_training(project: Project) -> None:
    """`--dry` would not show it: distill only has to run once the teacher differs."""
    project.edit(lambda raw: raw["finetune"]["augmentation"].update(flip=0.0))
    assert project.repro() == ["finetune", "distill", "evaluate", "export"]
