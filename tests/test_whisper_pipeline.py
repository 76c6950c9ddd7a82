"""The pipeline on clips of sound with Whisper's encoder, through real `dvc repro`: rerun, killed, served."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from baton import storage
from tests import test_audio_pipeline, tiny
from tests.pipeline_checks import check_distillation
from tests.test_interrupted import check_kills, longer
from tests.test_pipeline import ROOT, STAGES, Project, check_rerun, copy_code

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("whisper") / "project"
    copy_code(folder)
    test_audio_pipeline.write_clips(folder / "inbox/audio")
    tiny.write_whisper(folder / "inbox/whisper", width=32, layers=2)
    shutil.copy(ROOT / "recipes/audio-folder.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(small)
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def small(raw: dict[str, Any]) -> None:
    test_audio_pipeline.small(raw)
    raw["base"] = {"kind": "local", "folder": "inbox/whisper", "licence": "none"}
    raw["tokenize"] |= {"sample_rate": 16_000, "seconds": 0.48, "bands": 80, "window": 400, "hop": 160}
    for section in ("finetune", "distill"):
        raw[section] |= {"drop_path": 0.0, "layer_decay": 0.9}


def test_all_seven_stages_run_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    assert project.repro() == STAGES
    for name, layers in {"teacher": 2, "student": 1, "control": 1}.items():
        config = storage.read_json(project.folder / f"models/{name}/config.json")
        assert (config["encoder_layers"], config["max_source_positions"]) == (layers, 24)
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    assert "student_vs_control" in metrics["comparison"]
    assert {"majority", "bands_logistic"} <= set(metrics["test"]["baselines"])
    assert (project.folder / "reports/figures/gallery_teacher.png").is_file()
    check_rerun(project)


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_with_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_audio_pipeline.check_answers(project, monkeypatch)


def test_the_student_is_taught(project: Project) -> None:
    check_distillation(project)


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    project.edit(lambda raw: longer(raw, 24))
    check_kills(project, "finetune", "teacher", kills=1, log_every=3)
    check_kills(project, "distill", "student", kills=1, log_every=3)
