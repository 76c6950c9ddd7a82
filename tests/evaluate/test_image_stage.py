"""The whole stage on images: its outputs, reproducible bytes, measuring once, and refusals."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from baton import params, storage
from baton.batches import array_splits
from baton.contracts import predictions
from baton.errors import ParamsError
from baton.evaluate import baselines
from baton.evaluate.report import image_plots, plots, terminal
from baton.measure import corruptions, explain, measurements
from baton.models import model_folder
from stages import evaluate
from tests import tiny
from tests.evaluate.images import COUNTS, HEAD, write_project

AUGMENTATION = {
    "crop": {"kind": "padded", "padding": 1},
    "flip": 0.0,
    "rotation": 10.0,
    "colour": None,
    "randaugment": None,
}
BASELINES = [
    {"kind": "majority"},
    {"kind": "pixels", "side": 8, "C": [1.0]},
    {"kind": "features", "model": "linear", "neighbours": 5, "C": [1.0]},
    {"kind": "features", "model": "knn", "neighbours": 5, "C": [1.0]},
]
SETTINGS = {
    "baselines": BASELINES,
    "bootstrap": {"resamples": 200, "confidence": 0.95, "seed": 0},
    "calibration_bins": 15,
    "speed": {
        "repeats": 0,
        "precision": 0.5,
        "max_seconds": 1.0,
        "batch_size": 32,
        "samples": 64,
        "latency_samples": 10,
    },
    "robustness": {"samples": 1000, "severities": 2},
    "gallery": {"errors": 5, "steps": 4},
}
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_project(folder)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return `run(draw="", **changes of evaluate) -> metrics.json`.

    It runs in a copy of the project, which is the working directory.
    """
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    recipe = params.read_raw(root / "recipes/digits-vit.yaml") | {"tracking": {"kind": "off"}}
    recipe["base"] = {"kind": "local", "folder": "inbox/base", "licence": "mine"}  # a local base with weights
    recipe["runtime"] |= {"device": "cpu", "precision": "fp32", "threads": 1}
    recipe["finetune"]["augmentation"] = AUGMENTATION | {"erasing": 0.0, "mixup": 0.0, "cutmix": 0.0}
    # The plots for all modalities take seconds.
    drawing = {
        "": lambda *_: None,
        "images": lambda folder, _task, evaluation: image_plots.draw(folder, evaluation),
        "all": plots.draw,
    }

    def evaluated(draw: str = "", **changes: Any) -> dict[str, Any]:
        monkeypatch.setattr(plots, "draw", drawing[draw])
        (folder / "params.yaml").write_text(json.dumps(recipe | {"evaluate": SETTINGS | changes}))
        evaluate.main()
        report: dict[str, Any] = storage.read_json(Path("reports/metrics.json"))
        return report

    return evaluated


def refuse_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: Any, **__: Any) -> None:
        raise AssertionError("measured again")

    for module, name in ((explain, "attribute"), (corruptions, "hits"), (measurements, "_fitted")):
        monkeypatch.setattr(module, name, measured)


def test_reports_of_pictures(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(draw="all")
    assert report["test"]["baselines"] == ["majority", "pixels_logistic", "features_linear", "features_knn"]
    for name in report["test"]["baselines"][1:]:
        assert report[name]["accuracy"] > report["majority"]["accuracy"] + 0.3
    robust = report["robustness"]
    assert set(robust) == {"rows", *corruptions.STRENGTHS}
    assert robust["rows"] == COUNTS["test"]
    for kind in corruptions.STRENGTHS:
        # All rows were measured, so the unchanged images have the model's accuracy.
        for model in measurements.MODELS:
            assert robust[kind][model][0] == report[model]["accuracy"]
            assert len(robust[kind][model]) == 3
    assert robust["gaussian_noise"]["teacher"][2] < robust["gaussian_noise"]["teacher"][0]
    pictures = {"gallery_teacher.png", "gallery_student.png", "robustness.png", "augmentation.png"}
    assert pictures <= {path.name for path in Path("reports/figures").iterdir()}
    with Path("reports/tables/robustness.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 3
    with Path("reports/tables/deletion.csv").open(newline="", encoding="utf-8") as file:
        tested = list(csv.DictReader(file))
    assert {row["model"] for row in tested} == {"teacher", "student"} and len(tested) == 10
    for row in tested:
        assert row["right"] == "0" and 0 < int(row["removed"]) <= 0.2 * int(row["parts"]) + 1
        assert 0 <= float(row["without"]) <= 1 and 0 <= float(row["without_random"]) <= 1
    html = Path("reports/report.html").read_text(encoding="utf-8")
    assert '<div class="gallery"><img src="data:image/png;base64,' in html
    assert "Without the strongest pixels, at most a fifth of an image, the probability of 5 wrong" in html
    assert float(rows[1]["accuracy"]) == pytest.approx(robust["gaussian_noise"]["teacher"][1], rel=1e-5)
    with Path("reports/tables/errors.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["name"].startswith("test/")
    terminal.show(Path("reports"))
    said = " ".join(capsys.readouterr().out.split())
    assert "Accuracy on 120 test rows, unchanged to corrupted" in said
    before, after = report["teacher"]["accuracy"], robust["gaussian_noise"]["teacher_mean"]
    assert f"gaussian noise, teacher {100 * before:.1f}% to {100 * after:.1f}%" in said
    assert "top-5" not in said


@pytest.mark.slow
def test_a_rerun_writes_the_same_bytes(run: Run) -> None:
    def digest() -> str:
        Path("reports/report.html").unlink()  # it has times
        return storage.sha256_tree(Path("reports"))

    run(draw="images")
    before = digest()
    for kept in (Path("reports"), Path(".baton")):
        shutil.rmtree(kept)
    run(draw="images")
    assert digest() == before
    run(
        draw="images", gallery=SETTINGS["gallery"] | {"steps": 5}
    )  # negative control: another setting changes the bytes
    assert digest() != before


def test_what_models_are_needed_for_is_measured_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run()
    with monkeypatch.context() as patch:
        refuse_to_measure(patch)
        # Results derived from the measurements may change.
        again = run(bootstrap={"resamples": 300, "confidence": 0.9, "seed": 1}, baselines=BASELINES[1:])
        assert again["robustness"]["brightness"]["teacher"] == before["robustness"]["brightness"]["teacher"]
        assert (
            again["robustness"]["brightness"]["teacher_interval"]
            != before["robustness"]["brightness"]["teacher_interval"]
        )
        for changes in (
            {"robustness": {"samples": 100, "severities": 2}},
            {"gallery": {"errors": 4, "steps": 4}},
            {"baselines": [{"kind": "pixels", "side": 4, "C": [1.0]}]},
        ):
            with pytest.raises(AssertionError, match="measured again"):
                run(baselines=changes.pop("baselines", BASELINES[1:]), **changes)
        Path("models/control/extra.json").write_text("{}")
        with pytest.raises(AssertionError, match="measured again"):
            run(baselines=BASELINES[1:], gallery=None)
        run(baselines=BASELINES[1:], robustness=None)  # the galleries do not include the control
        Path("models/student/extra.json").write_text("{}")
        with pytest.raises(AssertionError, match="measured again"):
            run(baselines=BASELINES[1:], robustness=None)


def test_nothing_is_measured_that_is_not_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_measure(monkeypatch)
    report = run(draw="images", baselines=[], robustness=None, gallery=None)
    assert "robustness" not in report
    assert not {"robustness.png", "gallery_teacher.png"} & {
        path.name for path in Path("reports/figures").iterdir()
    }
    assert not Path("reports/tables/robustness.csv").exists()


def test_a_model_without_mistakes_has_an_empty_gallery(run: Run) -> None:
    path = Path("data/predictions/teacher/test.parquet")
    ids, logits = predictions.read_predictions(path)
    labels = np.load("data/arrays/test.targets.npy")
    predictions.write_predictions(path, ids, np.eye(logits.shape[1], dtype=np.float32)[labels] * 5)
    run(draw="images", baselines=[], robustness=None)
    with (
        Image.open("reports/figures/gallery_teacher.png") as empty,
        Image.open("reports/figures/gallery_student.png") as full,
    ):
        assert empty.height < 100 < full.height


def test_features_are_what_the_base_model_makes_of_a_sample(run: Run) -> None:
    """Check one of them directly: the features are those of the base model, not of the teacher."""
    report = run(baselines=BASELINES[3:], robustness=None, gallery=None)
    model = model_folder.create(
        Path("data/base"), HEAD, 10, tiny.training(), "matmul", tiny.image_input()
    ).eval()
    splits = array_splits.open_splits(Path("data/arrays"))
    train, test = (
        model.features(*splits[name].batch(np.arange(COUNTS[name])).inputs).detach().numpy()
        for name in ("train", "test")
    )
    settings = params.FeaturesBaseline.model_validate(BASELINES[3] | {"C": (1.0,)})
    answers = baselines.fit(settings, train, splits["train"].targets.all, 10).outputs(test)
    assert report["features_knn"]["accuracy"] == pytest.approx(
        (answers.predicted == splits["test"].targets.all).mean(), abs=1 / COUNTS["test"]
    )


def test_baselines_that_pictures_do_not_have_are_refused(run: Run) -> None:
    with pytest.raises(ParamsError, match=r"tfidf, but preprocess\.kind is images"):
        run(
            baselines=[
                {"kind": "tfidf", "model": "svm", "min_df": 2, "max_ngram": 1, "stop_words": None, "C": [1.0]}
            ]
        )
    assert not Path("reports").exists()
