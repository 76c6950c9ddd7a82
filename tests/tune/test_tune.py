"""The command around a study: what it is, what it refuses, and what `--apply` writes."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from baton import params
from baton.cli import tune_commands
from baton.cli.app import app
from baton.errors import OutputError, ParamsError
from baton.params import editing
from baton.tune import storages, study, tune, worker
from tests.tune import made_up

OWN = made_up.asked(trials=5, finalists=1, seeds=(7,)).model_dump(mode="json")
RANGES = {
    "finetune.learning_rate": {"kind": "float", "low": 1e-5, "high": 1.0, "log": True, "step": None},
    "finetune.schedule": {"kind": "choice", "values": ["linear", "cosine"]},
}


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(root / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    change(tune=OWN | {"ranges": RANGES}, tracking={"kind": "off"})
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *who, *words], check=True)


def change(**changes: Any) -> None:
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    path = Path("params.yaml")
    path.write_text(editing.edited(path.read_text(encoding="utf-8"), keys), encoding="utf-8")


def done() -> study.Study:
    """Do the study of params.yaml with made-up trials."""
    own = tune.plan()
    kept, claims = storages.opened(None, own.name)
    made = tune._opened(own, kept, claims, made_up.ACCURACY)
    while (work := made.next(own.recipe)) is not None:
        made.ended(work, made_up.outcome(work, own.asked))
    assert made.done
    return made


def test_a_study_is_all_that_its_trials_depend_on() -> None:
    first = tune.plan()
    assert first.stages == ("finetune",) and first.metric == "accuracy"
    for key, value in {
        "tune.trials": 99,
        "tune.seeds": [4],
        "finetune.learning_rate": 0.5,
        "distill.epochs": 9,
        "finetune.seeds": [0, 1],
    }.items():
        change(**{key: value})
        assert tune.plan().name == first.name, key
    for key, value in {
        "finetune.epochs": 3,
        "tune.seed": 5,
        "finetune.seeds": [1],
        "tune.generation": 2,
        "tokenize.max_length": 16,
    }.items():
        before = tune.plan().name
        change(**{key: value})
        assert tune.plan().name != before, key


def test_a_key_of_distill_tunes_the_student() -> None:
    more = {"distill.alpha": {"kind": "float", "low": 0.0, "high": 1.0, "log": False, "step": None}}
    change(tune__ranges=RANGES | more)
    assert tune.plan().stages == ("finetune", "distill")


def test_the_best_values_are_written_and_nothing_else() -> None:
    found = done()
    winner = found.winner()
    assert winner is not None
    before = params.read_raw()
    tune.apply(None)
    after = params.read_raw()
    values = found.trials[winner].params
    assert after["finetune"]["learning_rate"] == values[made_up.RATE]
    assert f'"{after["finetune"]["schedule"]}"' == values[made_up.WORD]
    for own in (before, after):
        del own["finetune"]["learning_rate"], own["finetune"]["schedule"]
    assert before == after and "# the teacher" in Path("params.yaml").read_text(encoding="utf-8")
    tune.status(None)
    assert Path("reports/tune/trials.csv").is_file()


def test_before_the_study_is_done_nothing_is_written() -> None:
    with pytest.raises(OutputError, match="has not begun"):
        tune.apply(None)
    own = tune.plan()
    kept, claims = storages.opened(None, own.name)
    tune._opened(own, kept, claims, made_up.ACCURACY)
    before = Path("params.yaml").read_bytes()
    with pytest.raises(OutputError, match="no winner yet"):
        tune.apply(None)
    assert Path("params.yaml").read_bytes() == before


def test_without_ranges_or_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    change(tune=None)
    with pytest.raises(ParamsError, match="nothing to tune"):
        tune.plan()
    monkeypatch.setattr(tune_commands.extras.util, "find_spec", lambda _: None)
    ended = CliRunner().invoke(app, ["tune"])
    assert ended.exit_code == 1 and "make install EXTRAS=tune" in ended.output
    assert "two commands" in CliRunner().invoke(app, ["tune", "--status", "--apply"]).output


def test_time_left_is_that_of_trials_and_repeats(tmp_path: Path) -> None:
    found = made_up.open_study(tmp_path / "study", made_up.asked(trials=10, finalists=2, seeds=(1, 2)))
    assert worker._left(found) == 10 + 3 * 2
    assert worker.Progress([60.0, 120.0]).said(found) == "90 s a trial, about 24 min left for one worker"
    work = found.next(made_up.RECIPE)
    assert work is not None
    found.ended(work, made_up.outcome(work, made_up.asked()))
    assert worker._left(found) == 15
