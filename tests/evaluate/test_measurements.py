"""Measurements with models for `evaluate`, on text too."""

from pathlib import Path

import numpy as np
import pytest
import torch

from baton import params, storage
from baton.arrays import text_arrays
from baton.evaluate import inputs
from baton.measure import measurements
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


def test_nothing_of_pictures_is_measured_on_texts(subject: measurements.Subject) -> None:
    assert measurements.robust(subject) is None
    assert measurements.sheet(subject) is None
    rows = inputs.read_rows(Path("data/clean"), "test")
    assert measurements.galleries(subject, rows, {}) == {}


def test_what_is_kept_depends_on_all_code_that_it_went_through(
    subject: measurements.Subject, root: Path
) -> None:
    """The digests cover everything that the measuring modules import from this project.

    This includes half precision and threads (resolve, memory, distributed), and metrics.
    """
    todo, found = (
        [
            "predict",
            "measure.speed",
            "measure.explain",
            "measure.corruptions",
            "measure.features",
            "evaluate.baselines",
            "evaluate.label_baselines",
            "evaluate.timing",
        ],
        set(),
    )
    names = [f"baton.{name}" for name in todo]
    while names:
        file = test_cache_truth.module_file(root, names.pop())
        relative = file.relative_to(root).as_posix() if file else ""
        if (
            file
            and file not in found
            and file.name != "__init__.py"
            and not test_cache_truth.exempt(relative)
        ):
            found.add(file)
            names += test_cache_truth.imported_names(file.read_text())
    assert {"metrics.py", "resolve.py", "memory.py", "distributed.py"} <= {file.name for file in found}
    assert [file.name for file in found if storage.sha256(file) not in subject._code] == []
