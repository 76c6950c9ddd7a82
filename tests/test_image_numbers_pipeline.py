"""The pipeline on images with a number through real `dvc repro`, then served.

A CSV names PNG files of digits and how much ink each has.
"""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, r2_score

from baton import storage
from baton.contracts import predictions
from baton.images import decoding
from tests.pipeline_checks import check_distillation, check_gate
from tests.test_image_labels_pipeline import table_source
from tests.test_image_pipeline import ROOT, STAGES, Project, copy_code
from tests.test_image_pipeline import small as small_image_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("images") / "project"
    copy_code(folder)
    write_images(folder / "inbox")
    shutil.copy(ROOT / "recipes/image-folder.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(small)
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    assert made.repro() == STAGES
    yield made
    shutil.rmtree(folder)


def write_images(folder: Path) -> None:
    """Write 160 digits, enlarged to 16 x 16, and the table that names them."""
    from sklearn.datasets import load_digits

    (folder / "images").mkdir(parents=True)
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "ink"])
        for number, image in enumerate(load_digits().images[:160]):
            pixels = np.rint(image * (255 / 16)).astype(np.uint8).repeat(2, 0).repeat(2, 1)[..., None]
            (folder / f"images/{number}.png").write_bytes(decoding.encode(pixels))
            writer.writerow([f"{number}.png", f"{image.mean():.3f}"])


def small(raw: dict[str, Any]) -> None:
    small_image_run(raw)
    raw["source"] = table_source("images", "images", "ink")
    raw["task"] = {"kind": "numbers", "loss": "mse", "coverage": 0.8}
    raw["evaluate"] |= {"robustness": None, "gallery": None}
    raw["runtime"]["precision"] = "fp32"  # as served
    raw["evaluate"]["baselines"] = [{"kind": "mean"}, {"kind": "pixels", "side": 8, "C": [0.01, 0.1, 1]}]
    raw["promotion"] |= {"metric": "mae", "class_floor": None}
    raw["distill"]["temperature"] = 1.0
    raw["preprocess"]["checks"]["small_class"] = "keep"
    for section in ("finetune", "distill"):
        raw[section] |= {"metric": "mae", "label_smoothing": 0.0, "class_weights": "none"}
        assert raw[section]["augmentation"]["mixup"] and raw[section]["augmentation"]["cutmix"]


def truth(project: Project) -> NDArray[np.float64]:
    return np.array(pq.read_table(project.folder / "data/clean/test.parquet")["numbers"].to_pylist())


def predicted(project: Project) -> NDArray[np.float64]:
    task = storage.read_json(project.folder / "models/student/baton.json")["task"]
    _, logits = predictions.read_predictions(project.folder / "data/predictions/student/test.parquet")
    return np.array(task["centre"]) + np.array(task["scale"]) * logits.astype(np.float64)


def test_all_seven_stages_run(project: Project) -> None:
    task = storage.read_json(project.folder / "data/clean/task.json")
    assert (task["kind"], task["names"], task["loss"]) == ("numbers", ["label"], "mse")
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    true, found = truth(project), predicted(project)
    assert metrics["student"]["mae"] == pytest.approx(mean_absolute_error(true, found), rel=1e-5)
    assert metrics["student"]["r2"] == pytest.approx(r2_score(true, found), rel=1e-4)
    assert metrics["test"]["baselines"] == ["mean", "pixels_ridge"]
    # Ink is linear in the pixels, so a ridge finds nearly all of it.
    assert metrics["pixels_ridge"]["r2"] > 0.9
    assert abs(metrics["mean"]["r2"]) < 0.1
    for name in ("predicted", "residuals"):
        assert (project.folder / f"reports/figures/{name}.png").stat().st_size > 1000


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_with_the_numbers_of_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    info = storage.read_json(Path("models/student/baton.json"))
    images = pq.read_table("data/clean/test.parquet")["image"].to_pylist()
    answer = project.served("student").predict(images)
    assert list(answer) == ["label", "label_low", "label_high"]
    near = 1e-5 * info["task"]["scale"][0]
    np.testing.assert_allclose(answer["label"], predicted(project)[:, 0], atol=near)
    np.testing.assert_allclose(answer["label_high"] - answer["label"], info["fitted"]["quantiles"][0])


def test_the_student_is_taught_and_the_gate_judges_it(project: Project) -> None:
    check_distillation(project)
    check_gate(project)
