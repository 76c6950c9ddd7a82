"""Measurements with models for `evaluate`, on text too."""

import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch

from baton import params, storage
from baton.arrays import text_arrays
from baton.contracts.task_spec import Labels
from baton.evaluate import inputs, task_reports
from baton.measure import image_measurements, measurements
from baton.models import model_folder
from tests import test_cache_truth, tiny

KNN = params.FeaturesBaseline(kind="features", model="knn", neighbours=3, C=(1.0,))


@pytest.fixture
def subject(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> measurements.Subject:
    """Tiny texts up to their arrays, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "requirements.lock").write_text("")
    tiny.write_arrays(Path("data"))
    recipe = params.read(root / "params.yaml")
    return measurements.Subject(recipe.evaluate, recipe.finetune, tiny.machine())


def test_features_of_texts_are_the_base_models_and_in_order(subject: measurements.Subject) -> None:
    model = model_folder.create(
        Path("data/base"), subject.finetune.head, 3, tiny.training(), "matmul", tiny.TEXT_INPUT
    ).eval()
    for split, samples in subject.splits.items():
        with torch.no_grad():
            each = [
                model.features(*samples.batch(np.array([row])).inputs)[0].numpy()
                for row in range(len(samples))
            ]
        assert subject.features[split] == pytest.approx(np.stack(each), abs=1e-5)


def test_a_baseline_on_features_is_kept(
    subject: measurements.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {split: inputs.read_rows(Path("data/clean"), split) for split in text_arrays.SPLITS}
    first = measurements.answer(subject, KNN, rows)
    # Train holds each text with a number appended.
    assert (first["test"].predicted == rows["test"].targets).mean() > 0.9
    monkeypatch.setattr(measurements, "_fitted", lambda *_: pytest.fail("fitted again"))
    again = measurements.answer(subject, KNN, rows)
    for split in ("val", "test"):
        assert again[split].predicted.tolist() == first[split].predicted.tolist()
        assert (again[split].log_p == first[split].log_p).all()
    with pytest.raises(pytest.fail.Exception):
        measurements.answer(subject, KNN.model_copy(update={"neighbours": 4}), rows)


def test_a_baseline_on_texts_is_kept_until_a_text_or_a_label_changes(
    subject: measurements.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the report alone does not fit it again."""
    rows = {split: inputs.read_rows(Path("data/clean"), split) for split in text_arrays.SPLITS}
    tfidf = next(own for own in subject.settings.baselines if own.kind == "tfidf")
    first = measurements.answer(subject, tfidf, rows)
    monkeypatch.setattr(measurements, "_fitted", lambda *_: pytest.fail("fitted again"))
    again = measurements.answer(replace(subject), tfidf, rows)
    for split in ("val", "test"):
        assert again[split].C == first[split].C is not None
        assert (again[split].predicted == first[split].predicted).all()
        assert again[split].log_p.tobytes() == first[split].log_p.tobytes()
    with pytest.raises(pytest.fail.Exception):
        measurements.answer(subject, tfidf.model_copy(update={"C": (0.5, 1.0)}), rows)
    path = Path("data/clean/train.parquet")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(pytest.fail.Exception):
        measurements.answer(replace(subject), tfidf, rows)


def test_nothing_of_pictures_is_measured_on_texts(subject: measurements.Subject) -> None:
    assert image_measurements.robust(subject) is None
    assert image_measurements.sheet(subject) is None
    rows = inputs.read_rows(Path("data/clean"), "test")
    assert image_measurements.galleries(subject, rows, {}) == {}


# What the measuring modules import besides what it keeps, and why a change there leaves that as it is.
NOT_KEPT = {
    "src/baton/evaluate/task_reports.py": "chooses the kind; what is kept goes through its `baselines`",
    "src/baton/evaluate/robustness.py": "sums up what is kept",
    "src/baton/evaluate/attributions.py": "chooses the answers to explain, which are part of the key",
    "src/baton/evaluate/report": "chooses the mistakes to explain, which are part of the key, and draws",
}


def test_what_is_kept_depends_on_all_code_that_it_went_through(
    subject: measurements.Subject, root: Path
) -> None:
    """The digests cover everything that the measuring modules import from this project.

    This includes half precision and threads (resolve, memory, distributed), and metrics.
    """
    names, found = ["baton.measure.measurements", "baton.measure.image_measurements"], set[Path]()
    names += ["baton.measure.text_measurements"]
    # Those two are reached by task_reports.
    names += ["baton.evaluate.class_baselines", "baton.evaluate.label_baselines"]
    while names:
        file = test_cache_truth.module_file(root, names.pop())
        relative = file.relative_to(root).as_posix() if file else ""
        if (
            file
            and file not in found
            and file.name != "__init__.py"
            and not test_cache_truth.exempt(relative)
            and not any(relative == known or relative.startswith(f"{known}/") for known in NOT_KEPT)
        ):
            found.add(file)
            names += test_cache_truth.imported_names(file.read_text())
    assert {"metrics.py", "resolve.py", "memory.py", "distributed.py"} <= {file.name for file in found}
    assert [file.name for file in found if storage.sha256(file) not in subject._code] == []
    assert all((root / known).exists() for known in NOT_KEPT)


@pytest.mark.parametrize(("kind", "chosen_in"), [("classes", "class_reports"), ("labels", "label_reports")])
def test_baselines_run_no_code_without_a_digest(
    kind: str, chosen_in: str, subject: measurements.Subject, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every function of this project that fitting enters, seen by the interpreter's profiler, is in the key.

    The imports cannot show this: the kinds of task are reached through a protocol.
    """
    rows = {split: inputs.read_rows(Path("data/clean"), split) for split in text_arrays.SPLITS}
    if kind == "labels":
        marks = {split: np.eye(3, dtype=np.float32)[own.targets] for split, own in rows.items()}
        rows = {split: replace(own, targets=marks[split]) for split, own in rows.items()}
        labels = task_reports.of(Labels(tuple(tiny.TEXTS)))
        monkeypatch.setitem(subject.__dict__, "task", labels)
    assert subject._code and subject.features and subject.task.spec.kind == kind
    linear = KNN.model_copy(update={"model": "linear", "C": (0.1, 1.0)})
    tfidf = next(own for own in subject.settings.baselines if own.kind == "tfidf")
    entered = set[tuple[str, str]]()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            entered.add((frame.f_code.co_filename, frame.f_code.co_name))

    for baseline in (linear, tfidf, params.MajorityBaseline(kind="majority")):
        sys.setprofile(note)
        try:
            measurements._fitted(subject, baseline, rows)
        finally:
            sys.setprofile(None)
    package = root / "src/baton"
    ours = {
        (Path(file).relative_to(root).as_posix(), name)
        for file, name in entered
        if Path(file).is_relative_to(package)
    }
    assert {"src/baton/measure/measurements.py", "src/baton/evaluate/baselines.py"} <= {
        file for file, _ in ours
    }
    unknown = {
        (file, name)
        for file, name in ours
        if not test_cache_truth.exempt(file) and storage.sha256(root / file) not in subject._code
    }
    # The property only returns an object of a listed module.
    assert unknown == {(f"src/baton/evaluate/{chosen_in}.py", "baselines")}
