"""The pipeline on images with any number of labels through real `dvc repro`, then served.

A CSV names PNG files of digits and their labels: `even`, `big` (above 4), both or none.
"""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from baton import storage
from baton.contracts import predictions
from baton.images import decoding
from tests.pipeline_checks import check_distillation, check_gate
from tests.test_image_pipeline import ROOT, STAGES, Project, copy_code
from tests.test_image_pipeline import small as small_image_run
from tests.test_labels_pipeline import fitted_values

pytestmark = pytest.mark.slow
NAMES = ("big", "even")
CSV = {
    "kind": "delimited",
    "encoding": "auto",
    "delimiter": ",",
    "quote": '"',
    "escape": None,
    "skip_lines": 0,
    "columns": None,
}


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

    digits = load_digits()
    (folder / "images").mkdir(parents=True)
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "labels"])
        for number, (image, digit) in enumerate(zip(digits.images[:160], digits.target, strict=False)):
            pixels = np.rint(image * (255 / 16)).astype(np.uint8).repeat(2, 0).repeat(2, 1)[..., None]
            (folder / f"images/{number}.png").write_bytes(decoding.encode(pixels))
            named = {"even": digit % 2 == 0, "big": digit > 4}
            writer.writerow([f"{number}.png", "|".join(name for name, has in named.items() if has)])


def table_source(content: str, name: str, label: str) -> dict[str, Any]:
    """Return the source of a table `inbox/NAME.csv` of paths below `inbox/NAME`."""
    return {
        "kind": "table",
        "content": content,
        "files": {"train": f"inbox/{name}.csv"},
        "format": CSV,
        "folder": f"inbox/{name}",
        "path_column": "path",
        "label_column": label,
        "licence": "none",
    }


def small(raw: dict[str, Any]) -> None:
    small_image_run(raw)
    raw["source"] = table_source("images", "images", "labels")
    raw["task"] = {"kind": "labels", "separator": "|"}
    raw["evaluate"] |= {"robustness": None, "gallery": None}
    raw["runtime"]["precision"] = "fp32"  # as served
    raw["promotion"]["metric"] = "micro_f1"
    for section in ("finetune", "distill"):
        assert raw[section]["augmentation"]["mixup"] and raw[section]["augmentation"]["cutmix"]


def test_all_seven_stages_run(project: Project) -> None:
    task = {"kind": "labels", "names": list(NAMES)}
    assert storage.read_json(project.folder / "data/clean/task.json") == task
    assert storage.read_json(project.folder / "models/student/baton.json")["task"] == task
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    assert {"majority", "pixels_logistic", "student_vs_control"} <= {*metrics, *metrics["comparison"]}
    for name in ("teacher", "student", "control"):
        _, logits = predictions.read_predictions(project.folder / f"data/predictions/{name}/test.parquet")
        own = fitted_values(project, name)
        predicted = own["p"](logits) >= own["thresholds"]
        hits = (predicted & truth(project)).sum()
        expected = 2 * hits / (predicted.sum() + truth(project).sum())  # micro F1 by its definition
        assert metrics[name]["micro_f1"] == pytest.approx(expected, abs=1e-6)
    assert (project.folder / "reports/figures/augmentation.png").stat().st_size > 1000


def truth(project: Project) -> np.ndarray:
    rows = pq.read_table(project.folder / "data/clean/test.parquet")["labels"].to_pylist()
    assert {len(row) for row in rows} == {0, 1, 2}
    return np.array([[place in row for place in range(len(NAMES))] for row in rows])


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_with_the_labels_of_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    served = project.served("student")
    answer = served.predict(pq.read_table("data/clean/test.parquet")["image"].to_pylist())
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    own = fitted_values(project, "student")
    expected = own["p"](logits)
    answered = answer[[f"probability_{name}" for name in NAMES]].to_numpy()
    np.testing.assert_allclose(answered, expected, atol=1e-5)
    assert [json.loads(cell) for cell in answer["labels"]] == [
        [name for name, p, t in zip(NAMES, row, own["thresholds"], strict=True) if p >= t] for row in answered
    ]


def test_the_student_is_taught_and_the_gate_judges_it(project: Project) -> None:
    check_distillation(project)
    check_gate(project)
