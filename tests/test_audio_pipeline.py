"""The pipeline on clips of sound through real `dvc repro`: one folder per class, masks, killed, served.

Clips are notes that rise or fall, or stay: the spectrum alone does not tell rising from falling.
"""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from baton import storage
from baton.contracts import predictions
from tests import audio_files
from tests.pipeline_checks import check_distillation, check_drift, check_gate
from tests.test_interrupted import check_kills, longer
from tests.test_pipeline import ROOT, STAGES, Project, check_rerun, copy_code

pytestmark = [pytest.mark.slow, pytest.mark.alone]
CLASSES = ("falling", "level", "rising")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("audio") / "project"
    copy_code(folder)
    write_clips(folder / "inbox/audio")
    shutil.copy(ROOT / "recipes/audio-folder.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(small)
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def write_clips(folder: Path) -> None:
    """Write forty clips of each class, in all formats and at several rates, and one that is truncated."""
    forms = [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", None), ("AIFF", "PCM_16")]
    draw = np.random.default_rng(0)
    for label, slope in zip(CLASSES, (-1, 0, 1), strict=True):
        (folder / label).mkdir(parents=True)
        for number in range(40):
            form, subtype = forms[number % len(forms)]
            rate = (8000, 16_000, 44_100)[number % 3]
            time = np.arange(int(0.4 * rate)) / rate
            pitch = draw.uniform(400, 1200) * 2 ** (slope * 2.5 * (time - 0.2))
            sound = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / rate) + 0.01 * draw.standard_normal(len(time))
            name = f"{number}.{form.lower()}"
            (folder / label / name).write_bytes(audio_files.saved(sound, form, subtype, rate))
    (folder / "level/cut.wav").write_bytes(audio_files.saved(audio_files.tone())[:-100])


def small(raw: dict[str, Any]) -> None:
    vit = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    raw["base"] |= {"architecture": "vit_tiny_patch16_224", "arguments": vit}
    spectrograms = {"sample_rate": 8000, "seconds": 0.32, "bands": 24, "window": 256, "hop": 80}
    raw["tokenize"] |= spectrograms | {"parts": 3}
    for section in ("finetune", "distill"):
        raw[section] |= {"epochs": 6, "min_steps": 0, "batch_size": 16, "log_every": 2}
        raw[section]["augmentation"]["masks"] = {"time": 1, "frames": 6, "frequency": 1, "bands": 4}
    raw["distill"]["student"] = {"kind": "teacher_layers", "layers": [0]}
    raw["evaluate"]["bootstrap"]["resamples"] = 50
    raw["evaluate"]["speed"] |= {"repeats": 1, "samples": 16, "latency_samples": 2, "max_seconds": 1}
    raw["evaluate"]["gallery"] = {"errors": 2, "steps": 2}
    raw["runtime"] |= {"threads": 1, "compile": False, "precision": "fp32"}  # as served
    raw["promotion"]["class_floor"] = None


def test_all_seven_stages_run(project: Project) -> None:
    assert project.repro() == STAGES
    report = storage.read_json(project.folder / "data/clean/report.json")
    reason = "level/cut.wav: truncated: 100 of 32,000 bytes of samples are missing"
    assert list(report["checks"]["unreadable"]["reasons"].values()) == [reason]
    formats = report["decoded"]["train"]["formats"]
    assert formats == dict.fromkeys(("WAV", "FLAC", "OGG", "MP3", "AIFF"), 24)
    described = storage.read_json(project.folder / "models/student/baton.json")["input"]
    assert described["kind"] == "audio" and described["bands"] == 24
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    _, logits = predictions.read_predictions(project.folder / "data/predictions/teacher/test.parquet")
    assert metrics["teacher"]["accuracy"] == pytest.approx(
        (logits.argmax(1) == truth(project)).mean(), abs=1e-6
    )
    baselines = metrics["test"]["baselines"]
    assert set(baselines) == {"majority", "bands_logistic"}
    tokenized = storage.read_json(project.folder / "data/arrays/report.json")
    for split in ("val", "test"):  # 0.4 s are two parts of 0.32 s
        assert tokenized[split]["parts"] == 2 * tokenized[split]["clips"]
    assert "student_vs_control" in metrics["comparison"]
    for name in ("augmentation", "gallery_teacher", "gallery_student"):
        assert (project.folder / f"reports/figures/{name}.png").is_file()


def truth(project: Project) -> np.ndarray:
    import pyarrow.parquet as pq

    return pq.read_table(project.folder / "data/clean/test.parquet")["label"].to_numpy()


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


def check_answers(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that the logged student answers clips, as bytes or base64, with its predictions."""
    import pyarrow.parquet as pq

    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    served = project.served("student")
    clips = pq.read_table("data/clean/test.parquet")["audio"].to_pylist()
    answer = served.predict([clips[0], base64.b64encode(clips[1]).decode(), *clips[2:]])
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    info = storage.read_json(Path("models/student/baton.json"))
    expected = softmax(logits.astype(np.float64) / info["fitted"]["temperature"], axis=1)
    np.testing.assert_allclose(answer.drop(columns="label").to_numpy(), expected, atol=1e-5)
    assert len(served.predict(served.input_example)) == 2


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_with_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_answers(project, monkeypatch)


def test_the_student_is_taught_and_the_gate_judges_it(project: Project) -> None:
    check_distillation(project)
    check_gate(project)
    (project.folder / "new").mkdir()
    for number in range(60):
        quiet = audio_files.saved(audio_files.noise(number, 2.0, 8000, 0.004), "WAV", "PCM_16", 8000)
        (project.folder / f"new/{number}.wav").write_bytes(quiet)
    check_drift(project, "new")


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    project.edit(lambda raw: longer(raw, 24))
    check_kills(project, "finetune", "teacher", kills=5, log_every=3)
    check_kills(project, "distill", "student", kills=5, log_every=3)
