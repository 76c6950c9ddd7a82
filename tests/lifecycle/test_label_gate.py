"""Models that give a row any number of labels: their table, the gate's rules, drift and recorded columns."""

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
from sklearn.metrics import f1_score, recall_score

from baton import params, storage
from baton.contracts import task_spec
from baton.contracts.task_spec import Labels
from baton.errors import ModelError, ParamsError
from baton.lifecycle import model_card, test_table
from baton.lifecycle.promotion import gate, promote, scoring
from baton.lifecycle.promotion.gate import Scored
from baton.lifecycle.promotion.verdicts import Mark, Marks, Verdict
from baton.lifecycle.retraining import drift, predicted_drift, samples
from baton.lifecycle.test_table import Table, digests
from baton.tables import target_drift
from baton.tasks.label_figures import LabelFigures
from baton.tracking import datasets
from tests.lifecycle import scores
from tests.lifecycle.test_gate import RULES as GATE

NAMES = ("animal", "of text", "«naïve»")
TASK = Labels(NAMES)
ROWS = 400
RULES = GATE.model_copy(
    update={
        "metric": "micro_f1",
        "class_floor": params.ClassFloor(recall=0.5, rows=30, loss=0.05),
        "max_size_ratio": None,
        "max_latency_ratio": None,
    }
)
LIMITS = params.DriftLimits(changed=10.0, labels=0.15, lengths=1.0, unknown=1.0)


@pytest.fixture(scope="module")
def table() -> Table:
    """Return rows of which half, a third and a quarter have a label; a fourth of the rows have none."""
    rows = np.arange(ROWS)
    marks = np.stack([rows % 2 == 0, rows % 3 == 0, rows % 4 == 0], axis=1).astype(np.float32)
    ids = [f"test:{row}" for row in rows]
    return Table(Path("t.parquet"), "0" * 64, "text", ids, digests(ids), TASK, marks)


def scored(table: Table, wrong: int, first: int = 0, **changes: Any) -> Scored:
    """Return a model that decides each label of `wrong` rows from `first` on wrongly, and is 95% sure."""
    decided = table.targets > 0
    decided[first : first + wrong] ^= True
    return scores.of(changes.pop("task", TASK), np.where(decided, 0.95, 0.05), **changes)


def decided(model: Scored) -> NDArray[np.bool_]:
    return scores.probabilities(model) >= 0.5


def refused(verdict: Verdict) -> list[str]:
    json.dumps([vars(check) for check in verdict.checks] + [dict(verdict.figures)])  # as it is stored
    return [check.name for check in verdict.checks if not check.passed]


def text(verdict: Verdict, name: str) -> str:
    return next(check.text for check in verdict.checks if check.name == name)


def test_a_better_challenger_passes_by_micro_f1(table: Table) -> None:
    new, old = scored(table, 20), scored(table, 60)
    verdict = gate.decide(table, new, old, RULES)
    assert refused(verdict) == []
    names = [check.name for check in verdict.checks]
    assert names == [
        "labels",
        "labels",
        "leakage",
        "leakage",
        "gain",
        "label floor",
        "label losses",
        "calibration",
        "label calibration",
    ]
    for which, model in (("challenger", new), ("champion", old)):
        for figure in ("micro", "macro"):
            expected = f1_score(table.targets, decided(model), average=figure)
            assert verdict.figures[which][f"{figure}_f1"] == pytest.approx(expected, abs=1e-12)
    assert "points of micro_f1 (95% interval +" in text(verdict, "gain")
    assert "only the challenger has every label of 40 rows right, only the champion of 0" in text(
        verdict, "gain"
    )


@pytest.mark.parametrize("claimed", [0.9, 0.3], ids=["claims 90%", "claims 30%"])
def test_a_rare_label_whose_probability_is_wrong_is_refused(claimed: float) -> None:
    """A label of 1% is predicted for 40 rows, of which 12 have it; two frequent labels are calibrated.

    Negative control: of all decisions together the error is below the limit, by which alone it was accepted.
    """
    generator = np.random.default_rng(0)
    p = generator.random((2000, 3))
    p[:, 2] = np.where(np.arange(2000) < 40, claimed, 0.004)
    marks = generator.random(p.shape) < p
    marks[:, 2] = (np.arange(2000) < 12) | (np.arange(2000) >= 1992)
    ids = [f"test:{row}" for row in range(2000)]
    own = Table(Path("t.parquet"), "0" * 64, "text", ids, digests(ids), TASK, marks.astype(np.float32))
    answers = LabelFigures(TASK).of_probabilities(p, thresholds=[0.4, 0.4, 0.25])
    rules = RULES.model_copy(update={"first_minimum": 0.3, "class_floor": None})
    verdict = gate.decide(own, Scored(answers, 100, np.ones(20), frozenset({"x"})), None, rules)
    assert refused(verdict) == (["label calibration"] if claimed == 0.9 else [])
    assert verdict.figures["challenger"]["calibration_error"] < 0.1 < RULES.max_calibration_error
    if claimed == 0.9:
        said = text(verdict, "label calibration")
        assert "for «naïve»: 90.0% on average" in said and "40 rows" in said


@pytest.mark.parametrize("wrong", [40, 41], ids=["the same", "a little worse"])
def test_a_tie_and_a_worse_one_are_refused(table: Table, wrong: int) -> None:
    verdict = gate.decide(table, scored(table, wrong), scored(table, 40), RULES)
    assert refused(verdict) == ["gain"]
    assert "not distinguishable from the champion (differences of more than" in verdict.reasons[0]
    assert "points of micro_f1 are excluded" in verdict.reasons[0]


def test_non_inferiority_lets_a_tie_pass_and_refuses_what_is_worse_than_its_margin(table: Table) -> None:
    close = params.NonInferiority(kind="non_inferiority", margin=0.05)
    changes = {"rule": close, "class_floor": None, "max_calibration_error": None}
    rules = RULES.model_copy(update=changes)
    assert refused(gate.decide(table, scored(table, 40), scored(table, 40), rules)) == []
    assert refused(gate.decide(table, scored(table, 90), scored(table, 40), rules)) == ["non-inferiority"]


def test_a_first_champion_needs_no_other_but_must_be_good(table: Table) -> None:
    assert refused(gate.decide(table, scored(table, 10), None, RULES)) == []
    found = refused(gate.decide(table, scored(table, 90), None, RULES))
    assert found == ["first champion", "label calibration"]  # it is 95% sure of the wrong labels too
    assert "a first champion's micro_f1 interval" in text(
        gate.decide(table, scored(table, 90), None, RULES), "first champion"
    )


def test_a_label_that_is_given_up_is_refused_by_its_floor(table: Table) -> None:
    """The rarest label is found on 40 of its 100 rows, and everything else is right."""
    new, old = scored(table, 0), scored(table, 100)
    lost = np.flatnonzero(table.targets[:, 2])[40:]
    new = scores.changed(new, TASK, lost, 2, 0.05)
    verdict = gate.decide(table, new, old, RULES)
    recall = recall_score(table.targets, decided(new), average=None)
    assert recall.tolist() == [1.0, 1.0, 0.4]
    assert "label floor" in refused(verdict) and "gain" not in refused(verdict)
    expected = (
        "recall is lowest for «naïve»: 40.0% of 100 rows; every label with 30 test rows must reach 50.0%"
    )
    assert text(verdict, "label floor") == expected


def test_a_label_may_not_lose_much_against_the_champion(table: Table) -> None:
    """40 of its 100 rows are lost, which its floor allows."""
    new = scored(table, 0)
    lost = np.flatnonzero(table.targets[:, 2])[:40]
    new = scores.changed(new, TASK, lost, 2, 0.05)
    verdict = gate.decide(table, new, scored(table, 0), RULES)
    assert "label losses" in refused(verdict)
    assert "«naïve» from 100.0% to 60.0% of 100 rows" in text(verdict, "label losses")


def test_a_label_without_test_rows_is_not_judged(table: Table) -> None:
    marks = table.targets.copy()
    marks[:, 2] = 0
    without = replace(table, targets=marks)
    rules = RULES.model_copy(update={"max_calibration_error": None})
    verdict = gate.decide(without, scored(without, 20), scored(without, 60), rules)
    assert refused(verdict) == []
    assert "not judged: «naïve» (0 rows)" in text(verdict, "label floor")
    lost = text(verdict, "label losses")
    assert "(2 judged;" in lost and "could be chance: «naïve» (0 rows, 0 right)" in lost


def test_a_gain_in_macro_f1_must_not_cost_micro_f1(table: Table) -> None:
    """The rare label gains all of its 20 rows; the one of 200 rows loses 70."""
    marks = table.targets.copy()
    marks[:, 2] = np.arange(ROWS) < 20
    uneven = replace(table, targets=marks)
    new, old = scored(uneven, 0), scored(uneven, 0)
    old = scores.changed(old, TASK, slice(20), 2, 0.05)
    new = scores.changed(new, TASK, np.flatnonzero(marks[:, 0])[:70], 0, 0.05)
    rules = RULES.model_copy(
        update={"metric": "macro_f1", "class_floor": None, "max_calibration_error": None}
    )
    verdict = gate.decide(uneven, new, old, rules)
    found = verdict.figures["comparison"]
    assert found["macro_f1_difference_interval"][0] > 0 > found["micro_f1_difference_interval"][1], (
        "the control: by the interval of its metric alone it would pass"
    )
    assert refused(verdict) == ["gain"] and "micro_f1 must not fall significantly" in verdict.reasons[0]


def test_other_labels_are_refused_and_new_ones_beaten(table: Table) -> None:
    other = scored(table, 0, task=Labels(("animal", "of text", "plant")))
    verdict = gate.decide(table, other, scored(table, 60), RULES)
    assert refused(verdict) == ["labels"] and "no «naïve», unexpected plant" in verdict.reasons[0]
    old = scored(table, 0)
    champion = scores.renamed(old, Labels(NAMES[:2]), [0, 1])
    verdict = gate.decide(table, scored(table, 0), champion, RULES)
    assert refused(verdict) == [] and "the champion lacks labels" in verdict.checks[1].text
    expected = f1_score(table.targets, np.pad(decided(champion), ((0, 0), (0, 1))), average="micro")
    assert verdict.figures["champion"]["micro_f1"] == pytest.approx(expected, abs=1e-12)


def test_one_that_is_too_sure_is_refused(table: Table) -> None:
    sure = scores.of(TASK, np.where(decided(scored(table, 120)), 1 - 1e-9, 1e-9))
    rules = RULES.model_copy(
        update={"first_minimum": 0.1, "class_floor": None, "max_calibration_error": 0.15}
    )
    verdict = gate.decide(table, sure, None, rules)
    assert refused(verdict) == ["calibration", "label calibration"]
    assert verdict.figures["challenger"]["calibration_error"] == pytest.approx(0.3, abs=0.02)


def test_floors_that_last_are_those_of_the_metric(table: Table) -> None:
    rules = RULES.model_copy(
        update={
            "permanent_floor": params.PermanentFloor(below_best=0.01, below_baseline=0.0),
            "first_minimum": 0.5,
        }
    )
    marks = Marks(Mark("version 1", 0.99), Mark("tfidf", 0.98))
    verdict = gate.decide(table, scored(table, 20), None, rules, marks)
    assert refused(verdict) == ["best champion", "baseline"]
    assert "the challenger's micro_f1 is" in text(verdict, "baseline")


def test_accuracy_is_no_figure_by_which_labels_are_judged() -> None:
    with pytest.raises(
        ParamsError, match=r"the task `labels`\s+got: +accuracy\s+expected: micro_f1, macro_f1"
    ):
        gate.check_metric(GATE, TASK)
    gate.check_metric(RULES, TASK)


def test_what_is_remembered_and_shown_are_figures_of_labels(table: Table) -> None:
    verdict = gate.decide(table, scored(table, 20), None, RULES)
    reached = promote._reached(verdict, "challenger", table)
    own = verdict.figures["challenger"]
    assert reached == {key: own[key] for key in ("micro_f1", "macro_f1")}
    assert model_card.headline(TASK) == ("test_micro_f1", "test_macro_f1", "val_micro_f1")


def write(folder: Path, splits: dict[str, list[tuple[str, list[int]]]]) -> Path:
    """Write clean tables `id, text, labels`, and task.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        columns = {
            "id": pa.array([f"{split}:{row + 1}" for row in range(len(rows))], pa.string()),
            "text": pa.array([own for own, _ in rows], pa.string()),
            "labels": pa.array([labels for _, labels in rows], pa.list_(pa.int32())),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    storage.write_json(folder / "task.json", task_spec.described(TASK))
    return folder


def test_a_table_holds_the_labels_of_each_row(tmp_path: Path) -> None:
    path = write(tmp_path, {"test": [("one", [0, 2]), ("two", []), ("three", [1])]}) / "test.parquet"
    found = test_table.read(path)
    assert (found.task, found.ids) == (TASK, ["test:1", "test:2", "test:3"])
    assert found.targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    pq.write_table(pq.read_table(path).drop_columns(["labels"]), path)
    with pytest.raises(Exception, match="has no column labels"):
        test_table.read(path)


def test_a_model_that_gives_one_class_is_not_scored_on_labels(tmp_path: Path) -> None:
    class Model:
        def predict(self, some: list[str]) -> pd.DataFrame:
            return pd.DataFrame({"label": "animal", "probability_animal": np.ones(len(some))})

    found = test_table.read(write(tmp_path, {"test": [("one", [0])]}) / "test.parquet")
    with pytest.raises(ModelError, match="does not have the task of"):
        scoring._answers(Model(), found, "models:/n/1")


def test_the_column_of_labels_is_recorded_with_the_dataset(tmp_path: Path) -> None:
    from mlflow.types.schema import Array, DataType, Schema

    path = write(tmp_path, {"test": [("one", [0])]}) / "test.parquet"
    columns = datasets.describe(path)["columns"]
    assert [column["name"] for column in columns] == ["id", "text", "labels"]
    assert Schema.from_json(json.dumps(columns)).input_dict()["labels"].type == Array(DataType.integer)


def rows(count: int, start: int, rare: int) -> list[tuple[str, list[int]]]:
    """Return rows of which every second has the first label, and every `rare`-th also the last."""
    found = range(start, start + count)
    return [(f"text {row}", [*([0] if row % 2 else []), *([2] if row % rare == 0 else [])]) for row in found]


def test_drift_compares_the_shares_of_labels(tmp_path: Path) -> None:
    first = rows(300, 0, rare=10)
    clean = write(tmp_path / "one", {"train": first[:250], "val": first[250:]})
    profile = json.loads(json.dumps(drift.profile(clean)))
    assert profile["labels"] == {"[]": 120, '["animal"]': 150, '["«naïve»"]': 30}
    assert drift.measure(clean, profile) == drift.Drift(0, 0, 0.0, {})
    for name, rare, beyond in (("same", 10, []), ("other", 2, ["labels"])):
        both = {"train": first + rows(200, 1000, rare), "val": first[250:]}
        found = drift.measure(write(tmp_path / name, both), profile)
        assert found.rows == 200
        assert [own.split()[0] for own in found.beyond(LIMITS)] == beyond
    # Shares of rows with the first, the last and no label: 0.5, 0.1 and 0.4; 0.5, 0.5 and 0.
    assert found.distances["labels"].value == pytest.approx((0.4 + 0.4) / 2)


def test_a_row_whose_labels_changed_is_a_new_one(tmp_path: Path) -> None:
    profile = drift.profile(write(tmp_path / "one", {"train": [("a", [0]), ("b", [])], "val": [("c", [1])]}))
    later = write(tmp_path / "two", {"train": [("a", [0, 2]), ("b", [])], "val": [("c", [1])]})
    found = drift.measure(later, profile)
    assert (found.rows, found.gone) == (1, 1)


def test_a_champion_that_gave_one_class_differs_in_its_labels() -> None:
    found = target_drift.distance(TASK, {"animal": 40, "plant": 10}, {'["animal"]': 40, '["«naïve»"]': 10})
    assert found.value == pytest.approx(0.2)


def test_predicted_labels_are_compared_with_those_of_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    class Model:
        def predict(self, some: list[str]) -> pd.DataFrame:
            return pd.DataFrame(
                {"labels": ['["animal", "of text"]' if one[0] == "n" else "[]" for one in some]}
            )

    clean = write(tmp_path, {"train": [("a", [0])], "val": [(f"val {row}", [0]) for row in range(30)]})
    sample = samples.Sample("text", [f"new {row}" for row in range(30)], None)
    known = frozenset(test_table.training_digests(clean))
    found = predicted_drift.distance("models:/n/1", Model, clean / "val.parquet", known, sample, range(30))
    assert found is not None and found.value == 1.0 and found.p < 0.01
