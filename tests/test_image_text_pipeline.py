"""The pipeline on images with texts through real `dvc repro`, killed and resumed, then served.

A row's class follows from its image and its text together, and from neither alone.
"""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax

from baton import storage
from baton.contracts import predictions
from tests import tiny, tiny_images_with_texts
from tests.pipeline_checks import check_distillation, check_drift, check_gate, foreign
from tests.test_image_pipeline import small as small_image_run
from tests.test_interrupted import check_kills
from tests.test_pipeline import ROOT, STAGES, Project, check_rerun, copy_code

pytestmark = [pytest.mark.slow, pytest.mark.alone]
NAMES = ("0 grain", "0 ship", "1 grain", "1 ship")
BASELINES = ["majority", "tfidf_logistic", "pixels_logistic", "features_linear_text"]
VIT = {"patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 16}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("both") / "project"
    copy_code(folder)
    tiny_images_with_texts.write_table(folder / "inbox")
    with (folder / "inbox/images.csv").open("a", newline="", encoding="utf-8") as file:
        # No text, no image, a text that is not UTF-8 is elsewhere: each is left out, by its row.
        csv.writer(file).writerows([["0.png", " ", "0 grain"], ["lost.png", "wheat", "0 grain"]])
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/image-text-csv.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(small)
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    assert made.repro() == STAGES
    yield made
    shutil.rmtree(folder)


def small(raw: dict[str, Any]) -> None:
    baselines, student = raw["evaluate"]["baselines"], raw["distill"]["student"]
    tokenize = raw["tokenize"]
    small_image_run(raw)
    image = {"kind": "timm", "architecture": "vit_tiny_patch16_224", "arguments": VIT}
    image |= {"weights": None, "licence": "none"}
    text = {"kind": "local", "folder": "inbox/base", "licence": "none"}
    raw["base"] = {"kind": "image_text", "image": image, "text": text}
    raw["preprocess"]["max_dropped"] = {"rows": 0.1, "rows_of_class": 0.1}
    raw["tokenize"] = {"kind": "image_text", "image": tokenize["image"], "text": tokenize["text"]}
    raw["tokenize"]["image"] |= {"size": 16, "crop_fraction": 1.0, "channels": 1}
    raw["tokenize"]["text"] |= {"max_length": 16, "unknown": {"named": 1.0, "refused": 1.0}}
    for section in ("finetune", "distill"):
        raw[section] |= {"epochs": 16, "learning_rate": 2e-3, "layer_decay": 0.9, "ema": None}
        raw[section]["augmentation"] |= {"cutmix": 0.0, "mixup": 0.0, "flip": 0.0, "erasing": 0.0}
    for name in ("image", "text"):
        student[name] = {"kind": "teacher_layers", "layers": [1]}
    raw["distill"]["student"] = student
    raw["evaluate"]["baselines"] = [baselines[0], baselines[1], baselines[2] | {"side": 8}, baselines[4]]
    raw["evaluate"] |= {"robustness": None, "gallery": None}
    raw["runtime"] |= {"checkpoint_seconds": 0.001, "precision": "fp32"}  # as served
    raw["evaluate"]["baselines"][3]["C"] = [0.1]


def test_all_seven_stages_run(project: Project) -> None:
    for name in ("teacher", "student", "control"):
        assert (
            storage.read_json(project.folder / f"models/{name}/baton.json")["input"]["kind"] == "image_text"
        )
        for part in ("image/config.json", "text/config.json", "text/tokenizer.json"):
            assert (project.folder / f"models/{name}/{part}").is_file()
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    assert metrics["test"]["baselines"] == [
        "majority",
        "tfidf_logistic",
        "pixels_logistic",
        "features_linear_text",
    ]
    _, logits = predictions.read_predictions(project.folder / "data/predictions/student/test.parquet")
    truth = pq.read_table(project.folder / "data/clean/test.parquet")["label"].to_numpy()
    assert metrics["student"]["accuracy"] == pytest.approx((logits.argmax(1) == truth).mean(), abs=1e-6)
    assert (project.folder / "reports/figures/augmentation.png").stat().st_size > 1000


def test_two_encoders_know_what_neither_does_alone(project: Project) -> None:
    own = storage.read_json(project.folder / "reports/metrics.json")
    found = own["single_inputs"]["teacher"]
    assert found["both"]["accuracy"] == own["teacher"]["accuracy"] > 0.7
    assert max(found[part]["accuracy"] for part in ("image", "text")) < 0.65  # at best half of the classes
    assert {"both_vs_image", "both_vs_text"} == set(found["comparison"])
    table = (project.folder / "reports/tables/single_inputs.csv").read_text().splitlines()
    assert table[0] == "model,reads,accuracy,low,high" and len(table) == 7


def test_rows_that_lack_a_side_are_named(project: Project) -> None:
    checks = storage.read_json(project.folder / "data/clean/report.json")["checks"]
    assert checks["empty"]["reasons"] == {"train:161": "white space"}
    assert list(checks["malformed"]["reasons"]) == ["train:162"]
    assert "lost.png" in checks["malformed"]["reasons"]["train:162"]


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_as_the_predictions_do(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    served = project.served("student")
    table = pq.read_table("data/clean/test.parquet").to_pandas()
    answer = served.predict(table[["text", "image"]])
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    found = answer[[f"probability_{name}" for name in NAMES]].to_numpy()
    temperature = storage.read_json(Path("models/student/baton.json"))["fitted"]["temperature"]
    np.testing.assert_allclose(found, softmax(logits.astype(np.float64) / temperature, axis=1), atol=1e-5)
    assert [NAMES[place] for place in found.argmax(1)] == answer["label"].tolist()
    with pytest.raises(Exception, match="text"):
        served.predict(table[["image"]])


def test_the_student_is_taught_and_the_gate_judges_it(project: Project) -> None:
    check_distillation(project)
    check_gate(project)
    foreign(project.folder / "texts.csv")
    new = pd.read_csv(project.folder / "texts.csv")
    new["path"] = [f"inbox/images/{number}.png" for number in new.index]
    new.to_csv(project.folder / "new.csv", index=False)
    check_drift(project, "new.csv")


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    project.edit(lambda raw: [raw[name].update(epochs=60) for name in ("finetune", "distill")])
    check_kills(project, "finetune", "teacher", kills=5, log_every=3)
    check_kills(project, "distill", "student", kills=5, log_every=3)
    assert np.isfinite(
        predictions.read_predictions(project.folder / "data/predictions/teacher/test.parquet")[1]
    ).all()
