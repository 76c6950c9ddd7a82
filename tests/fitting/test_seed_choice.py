"""Several seeds through `finetune` and `distill`: separate runs, chosen on validation, killed and resumed."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from baton import params, storage
from baton.contracts import predictions
from baton.errors import ParamsError
from baton.fitting import seed_choice
from baton.lifecycle.retraining import overrides
from baton.tasks import task_figures
from baton.train import loop
from stages import distill, finetune
from tests import tiny

DEPS = {
    "finetune": ["data/arrays", "data/base"],
    "distill": ["data/arrays", "models/teacher", "data/predictions/teacher"],
}
SMALL = {
    "epochs": 1,
    "min_steps": 1,
    "batch_size": 16,
    "evaluations_per_epoch": 1,
    "log_every": 2,
    "dropout": 0.1,
}
STEPS = 3  # of one training run


class Stages:
    """The stages in the working directory; `steps` counts the training steps computed."""

    def __init__(self) -> None:
        self.steps, self.fail_at = 0, 0

    def run(self, *seeds_of_both: int, stage: Any = finetune) -> int:
        """Run a stage as DVC does, without its outputs; return the number of steps it took."""
        raw = params.read_raw(Path("params.yaml"))
        for section in ("finetune", "distill"):
            raw[section]["seeds"] = list(seeds_of_both)
        YAML(typ="safe", pure=True).dump(raw, Path("params.yaml"))
        for name in ("teacher",) if stage is finetune else ("student", "control"):
            for place in ("models", "data/predictions", "data/predictions/seeds"):
                shutil.rmtree(Path(place, name), ignore_errors=True)
        before = self.steps
        stage.main()
        return self.steps - before


@pytest.fixture
def stages(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    """Create a project with arrays of tiny texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    tiny.write_arrays(Path("data"))
    raw = params.read_raw(root / "recipes/csv.yaml") | {"tracking": {"kind": "off"}}
    for section in ("finetune", "distill"):
        raw[section] |= SMALL
    raw["finetune"]["strategy"] = {"kind": "full"}
    raw["distill"]["student"]["layers"] = [0]
    raw["runtime"] |= {"threads": 1, "checkpoint_seconds": 1e-6}
    YAML(typ="safe", pure=True).dump(raw, Path("params.yaml"))
    YAML(typ="safe", pure=True).dump(
        {"stages": {name: {"deps": deps} for name, deps in DEPS.items()}}, Path("dvc.yaml")
    )
    made, step = Stages(), loop._Loop.step

    def counted(self: Any, parts: Any) -> Any:
        made.steps += 1
        if made.steps == made.fail_at:
            raise KeyboardInterrupt
        return step(self, parts)

    monkeypatch.setattr(loop._Loop, "step", counted)
    return made


def digests(*folders: str) -> dict[str, str]:
    files = [
        path
        for folder in folders or ("models", "data/predictions", "metrics", "curves")
        for path in Path(folder).rglob("*.*")
    ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def weights() -> str:
    return storage.sha256(Path("models/teacher/model.safetensors"))


def test_each_seed_is_the_training_that_it_is_alone_and_validation_chooses(stages: Stages) -> None:
    alone = {}
    for seed in (0, 1, 2):
        assert stages.run(seed) == STEPS
        assert digests("data/predictions/seeds").keys() == {f"data/predictions/seeds/teacher/{seed}.parquet"}
        alone[seed] = weights(), storage.sha256(Path(f"data/predictions/seeds/teacher/{seed}.parquet"))
        shutil.rmtree(".baton")
    assert len(set(alone.values())) == 3, "control: the test is meaningful only if seeds differ"
    assert stages.run(0, 1, 2) == 3 * STEPS
    for seed, (_, answers) in alone.items():
        assert storage.sha256(Path(f"data/predictions/seeds/teacher/{seed}.parquet")) == answers
    told = storage.read_json(Path("metrics/finetune.json"))
    best = max(
        (0, 1, 2),
        key=lambda seed: (
            told["seeds"][str(seed)]["teacher"]["val_accuracy"],
            -told["seeds"][str(seed)]["teacher"]["val_loss"],
        ),
    )
    assert told["teacher"] == {"seed": best} | told["seeds"][str(best)]["teacher"]
    assert weights() == alone[best][0]
    assert storage.sha256(Path("data/predictions/teacher/test.parquet")) == alone[best][1]


def test_labels_of_test_choose_nothing(stages: Stages) -> None:
    stages.run(0, 1, 2)
    before = digests()
    path = Path("data/arrays/test.targets.npy")
    labels = np.load(path)
    np.save(path, (labels + 1) % 3)
    assert stages.run(0, 1, 2) == 3 * STEPS, "data/arrays changed: everything is computed"
    assert digests() == before


def add(trained: seed_choice.Trained, seed: int, name: str, accuracy: float, loss: float = 1.0) -> bool:
    return trained.add(
        name,
        seed,
        [],
        {"val_accuracy": accuracy, "val_loss": loss, "val_macro_f1": accuracy, "parameters": 5},
    )


def test_the_pair_is_that_of_the_best_student_on_validation() -> None:
    """On test, and by the control, other seeds would be chosen."""
    trained = seed_choice.Trained("student", "accuracy", task_figures.of(tiny.TASK))
    assert add(trained, 3, "student", 0.8) and add(trained, 3, "control", 0.7)
    assert add(trained, 4, "student", 0.9) and add(trained, 4, "control", 0.6)
    assert not add(trained, 5, "student", 0.7) and not add(trained, 5, "control", 0.99)
    for seed, share in ((3, 0.1), (4, 0.2), (5, 1.0)):
        answers = seed_choice.Answered(np.full((2, 2), share, np.float32), {})
        trained.answered("student", seed, answers)
    assert trained.chosen == 4
    assert {name: own["seed"] for name, own in trained.final().items()} == {"student": 4, "control": 4}
    assert trained.final()["control"]["val_accuracy"] == 0.6


@pytest.mark.parametrize(("metric", "chosen"), [("accuracy", 2), ("macro_f1", 2), ("loss", 1)])
def test_equal_scores_go_to_the_lower_loss_then_to_the_first(metric: str, chosen: int) -> None:
    trained = seed_choice.Trained("teacher", metric, task_figures.of(tiny.TASK))
    for seed, accuracy, loss in ((1, 0.8, 0.1), (2, 0.9, 0.4), (3, 0.9, 0.5), (4, 0.9, 0.4)):
        add(trained, seed, "teacher", accuracy, loss)
    assert trained.chosen == chosen


def test_an_added_seed_is_trained_alone_and_the_result_is_that_of_all(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stages.run(0, 1) == 2 * STEPS
    assert "finished earlier" not in capsys.readouterr().out
    assert stages.run(0, 1, 2) == STEPS
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "seeds: reusing 0, 1 of 3, finished earlier with the same params, data, code and environment" in said
    )
    reused = digests()
    assert stages.run(0, 1, 2) == 3 * STEPS, "the same list again is a forced run, so it computes"
    assert digests() == reused
    assert stages.run(2, 0) == 0
    stages.run(2, 0, stage=distill)
    before = digests()
    assert stages.run(2, 0, 1, stage=distill) == 2 * STEPS, "a student and its control"
    assert {
        name: before[name] for name in before if "seeds/student" in name or "seeds/control" in name
    }.items() <= digests().items()


def test_killed_in_the_second_of_three_seeds(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    stages.run(0, 1, 2)
    whole = digests()
    shutil.rmtree(".baton")
    stages.fail_at = stages.steps + STEPS + 2
    with pytest.raises(KeyboardInterrupt):
        stages.run(0, 1, 2)
    capsys.readouterr()
    assert stages.run(0, 1, 2) == 2 * STEPS - 1, "the rest of seed 1, and seed 2"
    said = " ".join(capsys.readouterr().out.split())
    assert "finished earlier, in 3 steps" in said and "resumed after step 1 of 3" in said
    assert digests() == whole


def test_an_interrupted_seed_waits_while_others_are_trained(stages: Stages) -> None:
    stages.fail_at = STEPS + 3
    with pytest.raises(KeyboardInterrupt):
        stages.run(0, 1)
    assert stages.run(0) == 0
    assert stages.run(0, 1) == 1


def test_the_answers_of_all_seeds_are_on_test(stages: Stages) -> None:
    stages.run(5, 7)
    ids, logits = predictions.read_predictions(Path("data/predictions/seeds/teacher/7.parquet"))
    assert ids == predictions.read_predictions(Path("data/predictions/teacher/test.parquet"))[0]
    assert logits.shape == (len(ids), 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [([], "finetune.seeds"), ([1, 1], "must be distinct"), (3, "finetune.seeds"), ([-1], "finetune.seeds")],
)
def test_bad_lists_are_refused(stages: Stages, given: Any, message: str) -> None:
    raw = params.read_raw(Path("params.yaml"))
    raw["finetune"]["seeds"] = given
    YAML(typ="safe", pure=True).dump(raw, Path("params.yaml"))
    with pytest.raises(ParamsError, match=message):
        params.read()


def test_a_list_can_be_set_from_the_command_line(stages: Stages) -> None:
    Path("params.yaml").write_text(overrides.applied(["finetune.seeds=[0,1]", "distill.seeds=[3]"]))
    read: Callable[[], Any] = params.read
    assert (read().finetune.seeds, read().distill.seeds) == ((0, 1), (3,))
