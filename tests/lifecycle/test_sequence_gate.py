"""The gate and drift for texts as targets: chrF of served texts decides, lengths of targets are compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sacrebleu.metrics import CHRF

from baton import params, storage
from baton.contracts import task_spec
from baton.contracts.task_spec import Sequence
from baton.lifecycle import test_table
from baton.lifecycle.promotion import gate
from baton.lifecycle.promotion.gate import Scored
from baton.lifecycle.promotion.verdicts import Verdict
from baton.lifecycle.retraining import drift
from baton.lifecycle.test_table import Table, digests
from tests.lifecycle.test_gate import RULES as GATE

TASK = Sequence(target_length=24, beams=1, validation_rows=10)
ROWS = 200
TARGETS = np.array([f"the {row} ships left port {row % 7} today" for row in range(ROWS)], dtype=object)
RULES = GATE.model_copy(
    update={
        "metric": "chrf",
        "class_floor": None,
        "max_calibration_error": None,
        "max_size_ratio": None,
        "max_latency_ratio": None,
    }
)
LIMITS = params.DriftLimits(changed=10.0, labels=0.15, lengths=1.0, unknown=1.0)


@pytest.fixture(scope="module")
def table() -> Table:
    ids = [f"test:{row}" for row in range(ROWS)]
    return Table(Path("t.parquet"), "0" * 64, "text", ids, digests(ids), TASK, TARGETS)


def scored(wrong: int, column: str = "text") -> Scored:
    """Return a model that writes half of the target for the first `wrong` rows."""
    texts = [text[: len(text) // 2] if row < wrong else text for row, text in enumerate(TARGETS)]
    answers = pd.DataFrame({column: texts})
    return Scored(answers, size=100, latency=np.full(20, 1.0), training_rows=frozenset({"x"}))


def refused(verdict: Verdict) -> list[str]:
    json.dumps([vars(check) for check in verdict.checks] + [dict(verdict.figures)])  # as it is stored
    return [check.name for check in verdict.checks if not check.passed]


def test_a_better_challenger_passes_and_a_tie_does_not(table: Table) -> None:
    verdict = gate.decide(table, scored(20), scored(120), RULES)
    assert refused(verdict) == []
    texts = scored(20).answers["text"].tolist()
    expected = CHRF().corpus_score(texts, [TARGETS.tolist()]).score / 100
    assert verdict.figures["challenger"]["chrf"] == pytest.approx(expected, abs=1e-9)
    reason = next(check.text for check in verdict.checks if check.name == "gain")
    assert "points of chrf (95% interval +" in reason
    assert "only the challenger has exactly the reference of 100 rows, only the champion of 0" in reason
    tie = gate.decide(table, scored(60), scored(60), RULES)
    assert refused(tie) == ["gain"]
    assert "not distinguishable from the champion" in tie.reasons[0]


def test_a_first_champion_needs_the_lower_end_of_its_chrf(table: Table) -> None:
    rules = RULES.model_copy(update={"first_minimum": 0.8})
    assert refused(gate.decide(table, scored(10), None, rules)) == []
    verdict = gate.decide(table, scored(199), None, rules)
    assert refused(verdict) == ["first champion"]
    assert "chrf interval must be at least 80.0%" in verdict.reasons[0]


def test_a_model_without_texts_is_refused(table: Table) -> None:
    verdict = gate.decide(table, scored(10, column="label"), None, RULES)
    assert refused(verdict) == ["sequence"]
    assert "columns label, expected text" in verdict.reasons[0]


def clean(folder: Path, targets: list[str]) -> Path:
    folder.mkdir()
    for split, part in (("train", targets[: len(targets) // 2]), ("val", targets[len(targets) // 2 :])):
        columns: dict[str, Any] = {
            "id": pa.array([f"{split}:{row}" for row in range(len(part))], pa.string()),
            "text": pa.array([f"{split} source {row}" for row in range(len(part))], pa.string()),
            "target": pa.array(part, pa.string()),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    storage.write_json(folder / "task.json", task_spec.described(TASK))
    return folder


def test_drift_compares_the_lengths_of_targets(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)

    def texts(mean: int, start: int) -> list[str]:
        return [("x" * int(length)) + str(start + row) for row, length in enumerate(draw.poisson(mean, 400))]

    profile = drift.profile(clean(tmp_path / "earlier", texts(20, 1000)))
    assert profile["labels"].keys() <= {str(length) for length in range(60)}
    json.dumps(profile)
    same = drift.measure(clean(tmp_path / "same", texts(20, 2000)), profile)
    assert same.rows == 400, "a row whose target changed is a new row"
    assert same.beyond(LIMITS) == []
    longer = drift.measure(clean(tmp_path / "longer", texts(30, 2000)), profile)
    assert [text.partition(" ")[0] for text in longer.beyond(LIMITS)] == ["labels"]


def test_a_table_of_texts_is_read(tmp_path: Path) -> None:
    folder = clean(tmp_path / "clean", TARGETS.tolist())
    table = test_table.read(folder / "val.parquet")
    assert table.task == TASK
    assert table.targets.tolist() == TARGETS.tolist()[100:]
