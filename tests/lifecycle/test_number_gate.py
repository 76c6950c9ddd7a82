"""The gate, drift and the model card of numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, r2_score

from baton import params, storage
from baton.contracts import task_spec
from baton.contracts.task_spec import Numbers
from baton.errors import ParamsError
from baton.evaluate import task_reports
from baton.evaluate.number_significance import FEWEST
from baton.lifecycle import model_card, test_table
from baton.lifecycle.promotion import gate, margins, promote, scoring
from baton.lifecycle.promotion.gate import Scored
from baton.lifecycle.promotion.verdicts import Mark, Marks, Verdict
from baton.lifecycle.retraining import drift, predicted_drift, samples
from baton.lifecycle.test_table import Table, digests
from baton.tables import target_drift
from baton.tasks.number_figures import NumberFigures
from baton.tracking import datasets
from tests.lifecycle.test_gate import RULES as GATE

NAMES = ("price", "«âge»")
TASK = Numbers(NAMES, (300.0, 40.0), (100.0, 20.0), "smooth_l1", 0.9)
ROWS = 400
RULES = GATE.model_copy(
    update={
        "metric": "mae",
        "first_minimum": 0.5,  # of an error: the largest, with several numbers in deviations of train
        "class_floor": None,
        "max_calibration_error": 0.05,
        "max_size_ratio": None,
        "max_latency_ratio": None,
    }
)
LIMITS = params.DriftLimits(changed=10.0, labels=0.15, lengths=1.0, unknown=1.0)


@pytest.fixture(scope="module")
def table() -> Table:
    numbers = np.random.default_rng(0).normal(size=(ROWS, 2)) * TASK.scale + TASK.centre
    ids = [f"test:{row}" for row in range(ROWS)]
    return Table(Path("t.parquet"), "0" * 64, "text", ids, digests(ids), TASK, numbers)


def scored(table: Table, noise: float, seed: int = 1, half: float = 1.645, **changes: Any) -> Scored:
    """Return a model whose errors are normal, `noise` deviations wide, with intervals of ± `half` of it."""
    random = np.random.default_rng(seed).normal(size=(ROWS, 2))
    logits = (table.targets - TASK.centre) / TASK.scale + noise * random
    quantiles = [half * noise * own for own in TASK.scale]
    answers = NumberFigures(TASK).answer(logits, {"quantiles": quantiles}, None)
    own = {"size": 100, "latency": np.ones(20), "training_rows": frozenset({"x"})}
    return Scored(answers, **(own | changes))


def errors(model: Scored, table: Table) -> float:
    """Return the mean absolute error in deviations of train."""
    return float(
        mean_absolute_error(table.targets / TASK.scale, model.answers[list(NAMES)].to_numpy() / TASK.scale)
    )


def refused(verdict: Verdict) -> list[str]:
    json.dumps([vars(check) for check in verdict.checks] + [dict(verdict.figures)])  # as it is stored
    return [check.name for check in verdict.checks if not check.passed]


def text(verdict: Verdict, name: str) -> str:
    return next(check.text for check in verdict.checks if check.name == name)


def test_a_smaller_error_passes_and_a_larger_one_does_not(table: Table) -> None:
    good, poor = scored(table, 0.3), scored(table, 0.5, 2)
    verdict = gate.decide(table, good, poor, RULES)
    assert refused(verdict) == []
    found = verdict.figures["comparison"]
    gap = errors(good, table) - errors(poor, table)
    assert found["mae_difference"] == pytest.approx(gap) and gap < 0
    assert "closer on" in text(verdict, "gain") and "must lie below -0" in text(verdict, "gain")
    assert verdict.figures["challenger"]["r2"] == pytest.approx(
        r2_score(table.targets, good.answers[list(NAMES)])
    )
    assert refused(gate.decide(table, poor, good, RULES)) == ["gain"]
    assert refused(gate.decide(table, scored(table, 0.3, 3), good, RULES)) == ["gain"], "a tie is no gain"


def test_the_metric_may_be_one_of_which_more_is_better(table: Table) -> None:
    rules = RULES.model_copy(update={"metric": "r2", "first_minimum": 0.5})
    good, poor = scored(table, 0.3), scored(table, 0.5, 2)
    assert refused(gate.decide(table, good, poor, rules)) == []
    assert refused(gate.decide(table, poor, good, rules)) == ["gain"]
    assert refused(gate.decide(table, good, None, rules)) == []
    assert refused(gate.decide(table, scored(table, 0.9), None, rules)) == ["first champion"]


def test_a_gain_in_another_figure_needs_that_figures_own_test() -> None:
    """The interval alone would let it pass; a test of absolute errors says nothing about squares or ranks."""
    reports = task_reports.of(TASK)
    found = {"mae_difference": -1.0, "mae_difference_interval": [-2.0, -0.1], "mae_p": 0.01}
    found |= {"r2_difference": 0.1, "r2_difference_interval": [0.01, 0.2], "discordant": [9, 1]}
    rules = RULES.model_copy(update={"metric": "r2"})
    for p, passed in ((0.2, False), (0.01, True)):
        check = margins.better(found | {"r2_p": p}, 50, rules, reports)
        assert check.passed is passed
        assert f"p of r2 ({p}) must be below 0.05" in check.text
    close = params.NonInferiority(kind="non_inferiority", margin=0.01)
    rules = rules.model_copy(update={"rule": close})
    assert margins.better(found | {"r2_p": 0.2}, 50, rules, reports).passed


@pytest.mark.parametrize("rows", [1, FEWEST - 1])
def test_a_table_of_few_rows_judges_nothing(table: Table, rows: int) -> None:
    few = replace(
        table, ids=table.ids[:rows], digests=table.digests[:rows], targets=table.targets[:rows].copy()
    )
    good = scored(table, 0.01)
    cut = replace(good, answers=good.answers[:rows])
    for champion in (None, cut):
        verdict = gate.decide(few, cut, champion, RULES)
        assert refused(verdict) == ["rows"] and not verdict.figures
        assert f"{rows} rows, too few to judge numbers by: at least {FEWEST} are needed" in verdict.reasons[0]


def test_non_inferiority_has_a_margin_in_the_errors_unit(table: Table) -> None:
    good, worse = scored(table, 0.3), scored(table, 0.36, 2)
    lost = errors(worse, table) - errors(good, table)
    assert 0.03 < lost < 0.07
    for margin, expected in ((0.15, []), (0.02, ["non-inferiority"])):
        close = params.NonInferiority(kind="non_inferiority", margin=margin)
        verdict = gate.decide(table, worse, good, RULES.model_copy(update={"rule": close}))
        assert refused(verdict) == expected


def test_a_first_champions_error_is_at_most_the_minimum(table: Table) -> None:
    assert refused(gate.decide(table, scored(table, 0.3), None, RULES)) == []
    verdict = gate.decide(table, scored(table, 0.9), None, RULES)
    assert refused(verdict) == ["first champion"]
    assert "the upper end of a first champion's mae interval must be at most 0.5" in verdict.reasons[0]


def test_intervals_that_cover_too_few_rows_are_refused(table: Table) -> None:
    narrow = scored(table, 0.3, half=0.8)
    verdict = gate.decide(table, narrow, None, RULES)
    assert refused(verdict) == ["calibration"]
    inside = np.abs(narrow.answers["price"] - table.targets[:, 0]) <= 0.8 * 0.3 * 100
    own = verdict.figures["challenger"]
    assert own["calibration_error"] >= 0.9 - inside.mean() > 0.2
    low, high = own["calibration_error_interval"]
    assert low <= own["calibration_error"] <= high


def test_a_model_of_other_numbers_cannot_be_compared(table: Table) -> None:
    good = scored(table, 0.3)
    other = replace(good, answers=good.answers.rename(columns={"price": "cost"}))
    verdict = gate.decide(table, other, None, RULES)
    assert refused(verdict) == ["numbers"] and "unexpected cost" in verdict.reasons[0]
    less = replace(good, answers=good.answers[[name for name in good.answers if name.startswith("price")]])
    assert refused(gate.decide(table, good, less, RULES)) == ["numbers"]


def test_floors_that_last_are_in_the_metrics_unit(table: Table) -> None:
    floor = params.PermanentFloor(below_best=0.005, below_baseline=0.0)
    rules = RULES.model_copy(update={"permanent_floor": floor})
    good = scored(table, 0.3)
    mae = errors(good, table)
    near = Marks(Mark("version 1", mae - 0.004), Mark("tfidf_ridge", mae + 0.01))
    assert refused(gate.decide(table, good, None, rules, near)) == []
    far = Marks(Mark("version 1", mae - 0.006), Mark("tfidf_ridge", mae - 0.01))
    assert refused(gate.decide(table, good, None, rules, far)) == ["best champion", "baseline"]


def test_accuracy_is_no_figure_of_numbers_and_others_are_remembered(table: Table) -> None:
    with pytest.raises(ParamsError, match=r"task `numbers`[\s\S]*expected: mae, rmse, r2, spearman"):
        gate.check_metric(GATE, TASK)
    verdict = gate.decide(table, scored(table, 0.3), None, RULES)
    reached = promote._reached(verdict, "challenger", table)
    assert list(reached) == ["mae", "rmse", "r2", "spearman"]
    assert model_card.headline(TASK)[-1] == "val_mae"


def test_a_row_that_is_answered_with_nan_is_named(tmp_path: Path) -> None:
    class Model:
        def predict(self, some: list[str]) -> pd.DataFrame:
            frame = NumberFigures(TASK).answer(np.zeros((len(some), 2)), {}, None)
            frame.loc[1, "price"] = np.nan
            return frame

    found = test_table.read(write(tmp_path, {"test": 3 * [("one", [1.0, 2.0])]}) / "test.parquet")
    with pytest.raises(Exception, match=r"no answer for test:2 of [\s\S]*column price"):
        scoring._answers(Model(), found, "models:/n/1")


def write(folder: Path, splits: dict[str, list[tuple[str, list[float]]]]) -> Path:
    """Write clean tables `id, text, numbers`, and task.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        columns = {
            "id": pa.array([f"{split}:{row + 1}" for row in range(len(rows))], pa.string()),
            "text": pa.array([own for own, _ in rows], pa.string()),
            "numbers": pa.array([numbers for _, numbers in rows], pa.list_(pa.float64(), 2)),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    storage.write_json(folder / "task.json", task_spec.described(TASK))
    return folder


def drawn(name: str, mean: float, rows: int = 120) -> list[tuple[str, list[float]]]:
    values: NDArray[np.float64] = np.random.default_rng(len(name)).normal([mean, 40], 20, (rows, 2)).round(1)
    return [(f"{name} {place}", own) for place, own in enumerate(values.tolist())]


def test_a_table_holds_the_numbers_of_each_row(tmp_path: Path) -> None:
    path = write(tmp_path, {"test": [("one", [1.5, 2]), ("two", [-3, 0])]}) / "test.parquet"
    found = test_table.read(path)
    assert found.task == TASK and found.targets.tolist() == [[1.5, 2.0], [-3.0, 0.0]]


def test_the_column_of_numbers_is_recorded_with_the_dataset(tmp_path: Path) -> None:
    from mlflow.types.schema import Array, DataType, Schema

    path = write(tmp_path, {"test": [("one", [1.5, 2])]}) / "test.parquet"
    columns = datasets.describe(path)["columns"]
    assert Schema.from_json(json.dumps(columns)).input_dict()["numbers"].type == Array(DataType.double)


def test_numbers_that_moved_are_drift_and_others_are_not(tmp_path: Path) -> None:
    profile = drift.profile(write(tmp_path / "one", {"train": drawn("a", 300), "val": drawn("bb", 300)}))
    profile = json.loads(json.dumps(profile))  # as it is stored
    for mean, moved in ((300.0, False), (320.0, True)):
        rows = {"train": drawn("a", 300) + drawn("ccc", mean), "val": drawn("bb", 300)}
        found = drift.measure(write(tmp_path / str(mean), rows), profile)
        assert found.rows == 120
        assert any("labels" in line for line in found.beyond(LIMITS)) is moved


def test_a_row_whose_number_changed_is_a_new_one(tmp_path: Path) -> None:
    rows = {"train": drawn("a", 300), "val": drawn("bb", 300)}
    profile = drift.profile(write(tmp_path / "one", rows))
    changed = {
        "train": [(own, [1.0, 2.0]) for own, _ in rows["train"][:1]] + rows["train"][1:],
        "val": rows["val"],
    }
    found = drift.measure(write(tmp_path / "two", changed), profile)
    assert (found.rows, found.gone) == (1, 1)


def test_rows_of_another_number_of_numbers_have_nothing_in_common() -> None:
    """The first number alone would be compared, or a place be sought that is not there."""
    one, two = {"[1.0]": 30}, {"[1.0, 2.0]": 30}
    for earlier, new in ((one, two), (two, one), ({"sport": 30}, one)):
        found = target_drift.of_numbers(earlier, new)
        assert (found.value, found.p) == (1.0, 0.0)
    assert target_drift.of_numbers(two, two | {"": 3}).value == 0


def test_predicted_numbers_are_compared_with_those_of_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    class Model:
        def predict(self, some: list[str]) -> pd.DataFrame:
            logits = np.array([[len(one) % 7 + 9.0 * (one[0] == "n"), 0.0] for one in some])
            return NumberFigures(TASK).answer(logits, {}, None)

    clean = write(tmp_path, {"train": drawn("a", 1), "val": drawn("val", 1, 30)})
    sample = samples.Sample("text", [f"new {row}" for row in range(30)], None)
    known = frozenset(test_table.training_digests(clean))
    found = predicted_drift.distance("models:/n/1", Model, clean / "val.parquet", known, sample, range(30))
    assert found is not None and found.value == 1.0 and found.p < 0.01
