"""Inputs with targets that no other pipeline test has, through real `dvc repro`, then judged and served.

Pairs of texts with a number, images with texts with labels (the texts' encoder frozen), clips with a number.
"""

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from scipy.special import expit

from baton import storage
from baton.contracts import predictions
from tests import audio_files, test_audio_pipeline, test_image_text_pipeline, tiny, tiny_images_with_texts
from tests.pipeline_checks import check_distillation, check_gate
from tests.test_image_labels_pipeline import table_source
from tests.test_pairs_pipeline import of_pairs, write_pairs
from tests.test_pipeline import ROOT, STAGES, Project, copy_code, small, write_docstrings

pytestmark = [pytest.mark.slow, pytest.mark.alone]
Raw = dict[str, Any]


class Case(NamedTuple):
    """A recipe, what to write into `inbox/`, what to change in params, and the inputs that are served."""

    recipe: str
    write: Callable[[Path], None]
    change: Callable[[Raw], None]
    inputs: tuple[str, ...]


def shared_words(folder: Path) -> None:
    """Write pairs, and how many words of the first text are in the second one."""
    write_docstrings(folder / "data.csv")
    write_pairs(folder / "data.csv")
    table = pd.read_csv(folder / "data.csv")
    pairs = zip(table["first"], table["rest"], strict=True)
    table["score"] = [len({*first.lower().split()} & {*rest.lower().split()}) for first, rest in pairs]
    table.drop(columns="label").to_csv(folder / "data.csv", index=False)
    tiny.write_base(folder / "base")


def of_shared_words(raw: Raw) -> None:
    small(raw)
    of_pairs(raw)
    raw["promotion"]["metric"] = "mae"


def digit_and_topic(folder: Path) -> None:
    """Write images with texts, whose labels are both, one of them, or none."""
    tiny_images_with_texts.write_table(folder)
    table = pd.read_csv(folder / "images.csv")
    named = {"0 grain": "grain", "0 ship": "", "1 grain": "one|grain", "1 ship": "one"}
    table["label"] = table["label"].map(named)
    table.to_csv(folder / "images.csv", index=False)
    tiny.write_base(folder / "base")


def of_digit_and_topic(raw: Raw) -> None:
    test_image_text_pipeline.small(raw)
    raw["task"] = {"kind": "labels", "separator": "|"}
    raw["finetune"] |= {"frozen": ["text"], "metric": "micro_f1", "class_weights": "balanced"}
    raw["distill"] |= {"metric": "micro_f1", "frozen": ["text"]}
    raw["distill"]["student"]["text"] = {"kind": "whole"}
    raw["promotion"]["metric"] = "micro_f1"


def pitches(folder: Path) -> None:
    """Write tones of several rates, with their frequency."""
    (folder / "clips").mkdir()
    draw = np.random.default_rng(0)
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "hertz"])
        for number in range(120):
            hertz, level = draw.uniform(300, 3000), draw.uniform(0.05, 0.8)
            rate = (8000, 16_000, 44_100)[number % 3]
            tone = audio_files.tone(hertz, 0.4, rate, level)
            (folder / f"clips/{number}.flac").write_bytes(audio_files.saved(tone, "FLAC", "PCM_16", rate))
            writer.writerow([f"{number}.flac", f"{hertz:.1f}"])


def of_pitches(raw: Raw) -> None:
    test_audio_pipeline.small(raw)
    raw["source"] = table_source("audio", "clips", "hertz")
    raw["task"] = {"kind": "numbers", "loss": "mse", "coverage": 0.8}
    raw["preprocess"]["checks"] |= dict.fromkeys(
        ("small_class", "similar_labels", "continuous_labels", "unseen_label"), "keep"
    )
    raw["evaluate"] |= {"baselines": [{"kind": "mean"}, {"kind": "bands", "C": [0.1, 1]}], "gallery": None}
    raw["distill"]["temperature"] = 1.0
    raw["finetune"]["strategy"] = {"kind": "full"}
    for section in ("finetune", "distill"):
        raw[section] |= {"metric": "mae", "label_smoothing": 0.0, "class_weights": "none", "epochs": 12}
    raw["promotion"]["metric"] = "mae"


CASES = {
    "pairs with a number": Case("numbers-csv", shared_words, of_shared_words, ("text", "text_pair")),
    "images and texts with labels": Case(
        "image-text-csv", digit_and_topic, of_digit_and_topic, ("text", "image")
    ),
    "clips with a number": Case("audio-folder", pitches, of_pitches, ("audio",)),
}


@pytest.fixture(scope="module", params=CASES)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    case = CASES[request.param]
    folder = tmp_path_factory.mktemp("combined") / "project"
    copy_code(folder)
    case.write(folder / "inbox")
    shutil.copy(ROOT / f"recipes/{case.recipe}.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(case.change)
    made.edit(lambda raw: raw["runtime"].update(precision="fp32"))  # as served
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    assert made.repro() == STAGES
    yield made
    shutil.rmtree(folder)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.node.callspec.params["project"]]


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_as_the_predictions_do(
    project: Project, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    table = pq.read_table("data/clean/test.parquet").to_pandas()
    rows = table[[*case.inputs]] if len(case.inputs) > 1 else table[case.inputs[0]].tolist()
    answer = project.served("student").predict(rows)
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    info = storage.read_json(Path("models/student/baton.json"))
    task, names = info["task"], info["task"]["names"]
    if task["kind"] == "labels":
        found = answer[[f"probability_{name}" for name in names]].to_numpy()
        np.testing.assert_allclose(found, expit(logits / info["fitted"]["temperature"]), atol=1e-5)
        return
    centre, scale = np.array(task["centre"]), np.array(task["scale"])
    np.testing.assert_allclose((answer[names].to_numpy() - centre) / scale, logits, atol=1e-5)


def test_the_student_is_taught_and_the_gate_judges_it(project: Project) -> None:
    check_distillation(project)
    check_gate(project)


def test_a_frozen_encoder_keeps_its_weights(project: Project, case: Case) -> None:
    """That of the texts, of the only model here that has two encoders."""
    if case.recipe != "image-text-csv":
        pytest.skip("one encoder")
    base = load_file(project.folder / "inbox/base/model.safetensors")
    for name in ("teacher", "student", "control"):
        own = load_file(project.folder / f"models/{name}/model.safetensors")
        kept = {key: [value for full, value in own.items() if full.endswith(key)] for key in base}
        encoder = {key: found for key, found in kept.items() if not key.startswith("pooler.")}
        assert all(any(np.array_equal(base[key], one) for one in found) for key, found in encoder.items())
