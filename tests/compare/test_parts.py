"""What is kept of outcomes and baselines, the time left, room on the disk, and rows that differ."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton import params, storage
from baton.compare import baseline_fits, gathering, outcome, running
from baton.compare.outcome import Outcome
from baton.compare.plan import Experiment
from baton.compare.strategies import Strategies, Strategy
from baton.errors import ParamsError
from tests import tiny
from tests.compare import made_up

SVM = params.TfidfBaseline(kind="tfidf", model="svm", min_df=1, max_ngram=1, stop_words=None, C=(0.1, 1.0))
CHOSEN = Strategies("finetune", "preprocess.shots", (Strategy("full", {}), Strategy("probe", {})))


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(digest: str = "c", split: str = "test", **figures: float) -> Outcome:
    scores = np.array([1.0, 0.0, 1.0, 1.0])
    models = {"teacher": figures or {"accuracy": 0.75}}
    tables = {"train": "a", "val": "b", "test": "c"} | {split: digest}
    rows = {"train": 20, "val": 4, "test": 4}
    return Outcome(
        made_up.ACCURACY,
        models,
        {"teacher": {"parameters": 50, "trained_parameters": 7}},
        rows,
        3,
        tables,
        {"teacher": scores},
    )


def experiment(strategy: str = "full", seed: int = 0) -> Experiment:
    return Experiment(f"{strategy}-8-seed{seed}-1a", strategy, 8, seed, {})


def test_an_outcome_is_kept_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome.kept("one") is None
    outcome.keep("one", made())
    found = outcome.kept("one")
    assert found is not None and found.figure == made_up.ACCURACY and found.rows == made().rows
    np.testing.assert_array_equal(found.scores["teacher"], made().scores["teacher"])
    monkeypatch.setattr(outcome, "FORMAT", 2)
    assert outcome.kept("one") is None, "that of another version is read again from the experiment"


def test_a_baseline_is_fitted_once_for_each_draw() -> None:
    clean, tables = tiny.write_clean(Path("data/clean")), {"train": "a", "val": "b", "test": "c"}
    found = baseline_fits.fit(clean, tables, "tfidf_svm", SVM)
    assert found is not None and set(found.figures) >= {"accuracy", "macro_f1"}
    assert found.figures["accuracy"] == found.scores.mean() > 0.9, "test repeats texts of train"
    again = baseline_fits.kept(tables, SVM)
    assert again is not None and again.figures == found.figures and again.seconds == found.seconds
    assert baseline_fits.kept(tables | {"train": "d"}, SVM) is None
    assert baseline_fits.kept(tables, SVM.model_copy(update={"min_df": 2})) is None


def test_a_baseline_that_cannot_be_fitted_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    clean = tiny.write_splits(
        Path("data/clean"), {split: [("a", 0), ("b", 1)] for split in ("train", "val", "test")}, ["x", "y"]
    )
    assert baseline_fits.fit(clean, {}, "tfidf_svm", SVM.model_copy(update={"min_df": 5})) is None
    assert "TF-IDF finds no term in the 2 train texts" in " ".join(capsys.readouterr().out.split())


def test_baselines_that_read_texts_are_chosen() -> None:
    raw = params.read_raw(Path(__file__).parents[2] / "params.yaml")
    settings: Any = params.checked(raw, Path("params.yaml")).evaluate
    assert list(baseline_fits.chosen(settings, ridge=False)) == ["tfidf_svm", "tfidf_logistic"]


def test_costs_are_those_that_the_stage_wrote() -> None:
    one = experiment()
    storage.write_json(running.costs(one, "finetune"), {"seconds": 3.5})
    (found,) = gathering._trials(one, made(), CHOSEN)
    own = found.costs
    assert (own.seconds, own.trained_parameters, own.peak_memory_bytes) == (3.5, 7, None)
    assert (found.used, own.parameters) == (8.0, 50), "24 labels of 3 classes"
    (other,) = gathering._trials(experiment("probe"), made(), CHOSEN)
    assert other.costs.seconds is None


def test_a_student_costs_what_its_teacher_costs_too() -> None:
    one = experiment()
    sizes = {"parameters": 50, "trained_parameters": 7}
    storage.write_json(running.costs(one, "finetune"), {"seconds": 3.5, "peak_memory_bytes": 9})
    assert gathering._costs(one, "student", sizes).seconds is None, "that of `distill` is not known"
    storage.write_json(running.costs(one, "distill"), {"seconds": 2.0, "peak_memory_bytes": 8})
    own = gathering._costs(one, "student", sizes)
    assert (own.seconds, own.peak_memory_bytes, own.trained_parameters, own.parameters) == (5.5, 9, 7, 50)
    assert gathering._costs(one, "teacher", sizes).seconds == 3.5
    assert gathering._costs(one, "control", sizes).seconds is None
    storage.write_json(running.costs(one, "finetune"), {"seconds": None, "peak_memory_bytes": 9})
    assert gathering._costs(one, "student", sizes).seconds is None, "an interrupted teacher"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_strategies_with_other_rows_are_refused(split: str) -> None:
    own = [experiment("full"), experiment("probe"), experiment("pairs")]
    gathering.check_rows(own, {})
    gathering.check_rows(own, {one.name: made() for one in own[:2]})
    with pytest.raises(ParamsError, match="full and pairs cannot be compared") as error:
        gathering.check_rows(own, {own[0].name: made(), own[2].name: made("other", split)})
    assert f"different {split} rows" in str(error.value)


def test_the_time_left() -> None:
    progress = running.Progress(total=10, cached=4)
    assert (progress.left, progress.time_left()) == (6, "")
    progress.seconds += [100.0, 140.0]
    progress.failed["x"] = "why"
    assert (progress.left, progress.time_left()) == (3, ", about 6 min left")
    progress.seconds += [1.0, 1.0, 1.0]
    assert (progress.left, progress.time_left()) == (0, "")


def test_an_experiment_has_the_params_with_which_it_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """params.yaml may be edited while others run; the experiment's name is a digest of what it was."""
    text = (Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("batch_size: 32", "batch_size: 4"), encoding="utf-8")
    Path("copy").mkdir()
    monkeypatch.setattr(running, "_reproduce", lambda *_: None)
    monkeypatch.setattr(running, "_share_costs", lambda *_: None)
    monkeypatch.setattr(running.dvc_files, "outputs", lambda _: {"finetune": []})
    monkeypatch.setattr(running.experiments, "record", lambda *_: "commit")
    one = Experiment("full-8-seed0-1a", "full", 8, 0, {"preprocess.shots": 8})
    running.run(one, running.Place(Path("copy"), ("finetune",), track=False, models=True, text=text))
    made = params.read_raw(Path("copy/params.yaml"))
    assert (made["finetune"]["batch_size"], made["preprocess"]["shots"]) == (32, 8)


def test_a_stage_that_dvc_skips_costs_what_the_same_run_did() -> None:
    """Students of one teacher: `finetune` runs for the first of them alone."""
    place = running.Place(Path("copy"), ("finetune",), track=False, models=True, text="")
    lock = Path("copy/dvc.lock")
    lock.parent.mkdir()
    first, second, third = (running.costs(experiment(name), "finetune") for name in ("a", "b", "c"))
    lock.write_text("stages: {finetune: {outs: [{path: x, md5: '1'}]}}")
    storage.write_json(first, {"seconds": 3.5})
    running._share_costs("finetune", place, first)
    running._share_costs("finetune", place, second)
    assert storage.read_json(second) == {"seconds": 3.5}
    lock.write_text("stages: {finetune: {outs: [{path: x, md5: '2'}]}}")
    running._share_costs("finetune", place, third)
    assert not third.exists(), "another run"
