"""The experiments: their order, their params, and names that tell all they depend on."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.compare import plan
from baton.compare.strategies import Strategies, Strategy
from baton.errors import ParamsError
from baton.params import editing
from baton.workspace import stage_inputs

ROOT = Path(__file__).parents[2]
HEAD = {"kind": "linear", "pooling": "cls", "dropout": 0.5}
CHOSEN = Strategies(
    "finetune",
    "preprocess.limit.train",
    (Strategy("slow", {"finetune.learning_rate": 1e-6}), Strategy("cls", {"finetune.head": HEAD})),
)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The content of a project's params.yaml; the project is the working directory."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return params.read_raw()


def planned(
    raw: dict[str, Any], files: str = "digest", chosen: Strategies = CHOSEN
) -> tuple[plan.Experiment, ...]:
    return plan.experiments(chosen, [100, None], [0, 3], raw, stage_inputs.of(chosen.stage), files)


def test_experiments_of_one_draw_follow_each_other(raw: dict[str, Any]) -> None:
    found = planned(raw)
    assert [(one.labels, one.seed, one.strategy) for one in found] == [
        (labels, seed, name) for labels in (100, None) for seed in (0, 3) for name in ("slow", "cls")
    ]
    assert found[0].changes == {
        "preprocess.limit.train": 100,
        "preprocess.seed": 0,
        "finetune.seeds": [0],
        "finetune.learning_rate": 1e-6,
    }
    assert list(plan.draws(found)) == [(100, 0), (100, 3), (None, 0), (None, 3)]


def test_a_value_takes_the_place_of_what_was_there(raw: dict[str, Any]) -> None:
    one = next(own for own in planned(raw) if own.strategy == "cls" and own.seed == 3)
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("made.yaml").write_text(editing.edited(text, one.changes), encoding="utf-8")
    made = params.read_raw(Path("made.yaml"))
    assert made == editing.replaced(raw, one.changes)
    assert made["finetune"]["head"] == HEAD and made["finetune"]["seeds"] == [3]
    assert made["preprocess"]["limit"] == {"train": 100, "test": raw["preprocess"]["limit"]["test"]}
    untouched = {"source", "base", "distill", "evaluate", "runtime", "tracking"}
    assert {key: made[key] for key in untouched} == {key: raw[key] for key in untouched}


def test_a_name_is_readable_and_unique_to_what_the_experiment_depends_on(raw: dict[str, Any]) -> None:
    names = [one.name for one in planned(raw)]
    assert names[0].startswith("slow-100-seed0-") and names[-1].startswith("cls-all-seed3-")
    assert len(set(names)) == 8
    assert [one.name for one in planned(raw)] == names
    raw["evaluate"]["calibration_bins"] += 1
    raw["description"] = "another"
    assert [one.name for one in planned(raw)] == names, "no stage up to finetune reads these"
    assert not {one.name for one in planned(raw, "other files")} & set(names)
    raw["tokenize"]["max_length"] = 64
    assert not {one.name for one in planned(raw)} & set(names)


def test_wrong_values_are_refused_before_anything_runs(raw: dict[str, Any]) -> None:
    def refused(key: str, value: object) -> str:
        chosen = Strategies("finetune", CHOSEN.labels, (Strategy("odd", {key: value}),))
        with pytest.raises(ParamsError) as error:
            planned(raw, chosen=chosen)
        return str(error.value)

    assert "with strategy odd" in refused("finetune.epochs", "two")
    assert "finetune.epoch: unknown key; did you mean `epochs`?" in refused("finetune.epoch", 2)
    assert "finetune.epochs: int" in refused("finetune.epochs.more", 2)
    assert "changes what its experiments do not read" in refused("distill.alpha", 0.5)


@pytest.mark.parametrize(
    "key", ["preprocess.seed", "finetune.seeds", "preprocess.limit.train", "preprocess.limit", "preprocess"]
)
def test_a_strategy_may_not_set_the_draw(raw: dict[str, Any], key: str) -> None:
    chosen = Strategies("finetune", CHOSEN.labels, (Strategy("more", {key: 64}),))
    with pytest.raises(ParamsError, match="strategy more sets what `baton compare` sets itself") as error:
        planned(raw, chosen=chosen)
    assert "--labels and --seeds" in str(error.value)


def test_labels_per_class_of_a_task_without_classes_are_one_clear_error(raw: dict[str, Any]) -> None:
    numbers = params.read_raw(ROOT / "recipes/numbers-csv.yaml")
    shots = Strategies("finetune", "preprocess.shots", CHOSEN.all)
    with pytest.raises(ParamsError) as error:
        plan.usable(shots, [8, None], numbers)
    assert "params.yaml cannot be used with 8 labels per class" in str(error.value)
    assert "set `labels: preprocess.limit.train` in the file of strategies" in str(error.value)


def test_strategies_for_other_tasks_are_left_out(raw: dict[str, Any]) -> None:
    spans = Strategy("spans", {"finetune.metric": "exact_match"})
    kept, refused = plan.usable(Strategies("finetune", CHOSEN.labels, (*CHOSEN.all, spans)), [8], raw)
    assert [own.name for own in kept.all] == ["slow", "cls"]
    assert list(refused) == ["spans"] and "metric" in refused["spans"]


def test_a_strategy_must_be_for_each_number_of_labels(raw: dict[str, Any]) -> None:
    """With all labels there are no rows without one, of which only probable ones could be kept."""
    sure = Strategies("distill", "preprocess.shots", (Strategy("sure", {"distill.confidence": 0.9}),))
    assert not plan.usable(sure, [8], raw)[1]
    assert "no rows without labels" in plan.usable(sure, [8, None], raw)[1]["sure"]
    known = stage_inputs.Inputs((), ("preprocess", "finetune", "distill"))
    with pytest.raises(ParamsError, match="strategy sure at all labels"):
        plan.experiments(sure, [8, None], [0], raw, known, "")


def test_lists_of_numbers() -> None:
    assert plan.numbers("8,all, 32", "--labels", 1, "all") == [8, 32, None]
    assert plan.numbers("0", "--seeds", 0) == [0]
    for text, least in (("8,,2", 1), ("0", 1), ("all", 1), ("8,8", 1), ("-1", 0), ("x", 0)):
        with pytest.raises(ParamsError, match="--labels"):
            plan.numbers(text, "--labels", least, "all" if text == "0" else "")
    assert plan.split("a, b", "--strategies") == ["a", "b"]
    for text in ("a,,b", "a,a", ""):
        with pytest.raises(ParamsError, match="--strategies"):
            plan.split(text, "--strategies")
