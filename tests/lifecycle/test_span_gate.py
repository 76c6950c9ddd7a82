"""Models that answer questions: the gate's rules on what they answer when served, and drift of answers."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params, storage
from baton.contracts import task_spec
from baton.lifecycle import test_table
from baton.lifecycle.promotion import gate
from baton.lifecycle.promotion.gate import Scored
from baton.lifecycle.promotion.verdicts import Verdict
from baton.lifecycle.retraining import drift, unlabelled
from baton.lifecycle.test_table import Table, digests
from baton.tables.span_cells import SpanCells
from baton.tasks import span_answers
from tests import tiny_questions
from tests.evaluate import test_span_reports
from tests.evaluate.test_span_reports import TASK, published
from tests.lifecycle.test_gate import RULES as GATE

RECIPES = Path(__file__).parents[2] / "recipes"
PAIRS, QUESTIONS = test_span_reports.asked(300)
CONTEXTS = [context for _, context in PAIRS]
IDS = [f"test:{row}" for row in range(300)]
TABLE = Table(Path("t.parquet"), "0" * 64, "text", IDS, digests(IDS), TASK.spec, QUESTIONS)
RULES = GATE.model_copy(
    update={
        "metric": "f1",
        "class_floor": None,
        "max_calibration_error": None,
        "max_size_ratio": None,
        "max_latency_ratio": None,
    }
)
LIMITS = params.DriftLimits(changed=10.0, labels=0.15, lengths=1.0, unknown=1.0)


def scored(wrong: float, seed: int = 1, without: str = "") -> Scored:
    """Return a served model that does not know the answers to a share of the questions."""
    answers = TASK.figures.answer(test_span_reports.model(QUESTIONS, wrong, seed).logits, {}, None, CONTEXTS)
    answers = answers.drop(columns=[without]) if without else answers
    return Scored(answers, size=100, latency=np.full(20, 1.0), training_rows=frozenset({"x"}))


def refused(verdict: Verdict) -> list[str]:
    json.dumps([vars(check) for check in verdict.checks] + [dict(verdict.figures)])  # as it is stored
    return [check.name for check in verdict.checks if not check.passed]


def test_a_better_challenger_passes_by_the_f1_of_its_answers_and_a_tie_does_not() -> None:
    new, old = scored(0.1), scored(0.5)
    verdict = gate.decide(TABLE, new, old, RULES)
    assert refused(verdict) == []
    for name, own in (("challenger", new), ("champion", old)):
        wanted = published(tuple(own.answers["answer"]), QUESTIONS)
        assert verdict.figures[name]["f1"] == pytest.approx(wanted["f1"], abs=1e-9)
        assert verdict.figures[name]["exact_match"] == pytest.approx(wanted["exact_match"], abs=1e-9)
    reason = next(check.text for check in verdict.checks if check.name == "gain")
    assert "points of f1 (95% interval +" in reason and "only the challenger answers" in reason
    tie = gate.decide(TABLE, scored(0.3), scored(0.3), RULES)
    assert refused(tie) == ["gain"] and "not distinguishable from the champion" in tie.reasons[0]


def test_a_first_champion_needs_the_lower_end_of_its_f1_and_probabilities_that_hold() -> None:
    rules = RULES.model_copy(update={"first_minimum": 0.8, "max_calibration_error": 0.3})
    assert refused(gate.decide(TABLE, scored(0.02), None, rules)) == []
    verdict = gate.decide(TABLE, scored(0.9), None, rules)
    assert "first champion" in refused(verdict)
    assert "f1 interval must be at least 80.0%" in verdict.reasons[0]


@pytest.mark.parametrize("column", span_answers.COLUMNS)
def test_an_answer_that_lacks_a_column_is_refused(column: str) -> None:
    verdict = gate.decide(TABLE, scored(0.1, without=column), None, RULES)
    assert refused(verdict) == ["spans"]
    assert f"no column {column}" in verdict.reasons[0]


def clean(folder: Path, rows: int, seed: int, none: float, each: int = 1) -> Path:
    """Write clean tables as `preprocess` does; with `each` questions contexts have their own words."""
    cells, every, random = (
        SpanCells(8),
        test_span_reports.asked(rows, seed, none),
        np.random.default_rng(seed),
    )
    tails = [
        f" and so w{seed}x{row}" * int(random.integers(1, 40)) if each > 1 else "" for row in range(rows)
    ]
    folder.mkdir()
    for split, own in (("train", slice(0, rows // 2)), ("val", slice(rows // 2, rows))):
        pairs = [
            (asked, context + tail) for (asked, context), tail in zip(every[0][own], tails[own], strict=True)
        ]
        pairs, answers = pairs * each, [*every[1].passages.answers[own]] * each
        targets = []
        for (question, context), true in zip(pairs, answers, strict=True):
            listed = [{"text": text, "answer_start": context.index(text)} for text in true]
            joined = cells.joined(question, listed, context)
            assert not isinstance(joined, str)
            targets.append(cells.target(joined.label, {}))
        columns = {
            "id": pa.array([f"{split}:{row}" for row in range(len(pairs))], pa.string()),
            "text": pa.array([f"{question} {row}" for row, (question, _) in enumerate(pairs)]),
            "text_pair": pa.array([context for _, context in pairs]),
            "answers": pa.array(targets, cells.type()),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    storage.write_json(folder / "task.json", task_spec.described(TASK.spec))
    return folder


def test_drift_compares_the_words_of_answers_and_how_many_have_none(tmp_path: Path) -> None:
    profile = drift.profile(clean(tmp_path / "earlier", 400, 1, 0.3))
    assert set(profile["labels"]) == {"0", "1", "3", "5"}  # words; 0: no answer
    json.dumps(profile)
    same = drift.measure(clean(tmp_path / "same", 400, 2, 0.3), profile)
    assert same.rows > 300 and same.beyond(LIMITS) == []
    fewer = drift.measure(clean(tmp_path / "fewer", 400, 3, 0.8), profile)
    assert [text.partition(" ")[0] for text in fewer.beyond(LIMITS)] == ["labels"]
    assert fewer.distances["labels"].value == pytest.approx(0.5, abs=0.1)  # 0.8 - 0.3


def test_many_questions_about_a_context_are_no_independent_sample_of_its_words(tmp_path: Path) -> None:
    """With few contexts of the same source, a distance is significant no more often than its p says."""
    found = []
    for seed in range(20):
        profile = drift.profile(clean(tmp_path / f"earlier {seed}", 24, 100 + seed, 0.3, each=12))
        assert len(profile["rows"]) == 24 * 12 and sum(profile["lengths"]["counts"]) == 24
        new = clean(tmp_path / f"new {seed}", 24, seed, 0.3, each=12)
        found.append(drift.measure(new, profile))
    assert all(one.rows == 24 * 12 for one in found)
    for name in ("labels", "lengths", "unknown"):
        assert sum(one.distances[name].p < 0.05 for one in found) <= 3, name


def test_a_row_is_new_if_question_context_or_an_answer_differs(tmp_path: Path) -> None:
    folder = clean(tmp_path / "clean", 40, 1, 0.3)
    profile = drift.profile(folder)
    assert drift.measure(folder, profile).rows == 0
    table = pq.read_table(folder / "val.parquet")
    for column, change in (
        ("text", lambda cell: cell + " really"),
        ("text_pair", lambda cell: cell + " Really."),
        (
            "answers",
            lambda cell: (
                cell | {"text": [*cell["text"], "Paris"], "answer_start": [*cell["answer_start"], 0]}
            ),
        ),
    ):
        cells = table[column].to_pylist()
        row = next(row for row, own in enumerate(table["answers"].to_pylist()) if own["text"])
        cells[row] = change(cells[row])
        place = table.schema.get_field_index(column)
        made = table.set_column(place, column, pa.array(cells, table.schema.field(column).type))
        pq.write_table(made, folder / "val.parquet")
        found = drift.measure(folder, profile)
        assert (found.rows, found.gone) == (1, 1), column


def test_a_table_of_questions_is_read(tmp_path: Path) -> None:
    folder = clean(tmp_path / "clean", 40, 1, 0.3)
    found = test_table.read(folder / "val.parquet")
    assert found.task == TASK.spec and len(found.targets) == 20
    assert next(found.inputs())[0] == [
        *pq.read_table(folder / "val.parquet", columns=["text", "text_pair"]).to_pylist()[0].values()
    ]


@pytest.mark.parametrize("answered", [True, False])
def test_a_file_of_squad_is_a_sample_of_new_rows(tmp_path: Path, answered: bool) -> None:
    """With or without answers: they play no part in `baton drift FILE`."""
    path = tiny_questions.write(tmp_path / "new.json", 20)
    content = json.loads(path.read_text())
    for article in content["data"]:
        for asked in article["paragraphs"][0]["qas"]:
            if not answered:
                asked.pop("answers")
                asked.pop("is_impossible")
    path.write_text(json.dumps(content))
    given = params.read(RECIPES / "spans-squad.yaml")
    found = unlabelled.read(path, given.preprocess, given.task)
    assert found.pairs is not None and len(found.pairs) == 40
    first = content["data"][0]["paragraphs"][0]
    assert found.pairs[0] == (first["qas"][0]["question"], first["context"])
    assert len(found.apart(range(40))) == 20, "one question of each context"
    assert next(found.inputs([0])) == [*found.pairs[0]] and found.labels is None
