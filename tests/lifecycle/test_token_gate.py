"""Models that tag words: the gate's rules on what they answer when served, and drift of entity types."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seqeval.metrics import f1_score

from baton import params, storage
from baton.contracts import task_spec
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.errors import DataError
from baton.evaluate import token_outputs
from baton.evaluate.token_reports import TokenReports
from baton.lifecycle import test_table
from baton.lifecycle.promotion import gate, scoring
from baton.lifecycle.promotion.gate import Scored
from baton.lifecycle.promotion.verdicts import Verdict
from baton.lifecycle.retraining import drift, samples, unlabelled
from baton.lifecycle.test_table import Table, digests
from baton.tasks import token_decoding
from baton.tasks.token_figures import TokenFigures
from tests import tiny_tokens
from tests.lifecycle.test_gate import RULES as GATE

TASK = tiny_tokens.TASK
ROWS = tiny_tokens.rows(300, 0, 8)
TEXTS = [text for text, _ in ROWS]
TAGS = Ragged(
    np.array([tag for _, tags in ROWS for tag in tags]), np.cumsum([0, *(len(tags) for _, tags in ROWS)])
)
TABLE = Table(
    Path("t.parquet"), "0" * 64, "text", [f"test:{row}" for row in range(300)], digests(TEXTS), TASK, TAGS
)
RULES = GATE.model_copy(
    update={
        "metric": "entity_f1",
        "class_floor": params.ClassFloor(recall=0.7, rows=30, loss=0.05),
        "max_size_ratio": None,
        "max_latency_ratio": None,
    }
)


def tags(wrong: int, kind: int = 0) -> np.ndarray:
    """Return tags in which the first `wrong` entities of a type are missed."""
    found, missed = TAGS.values.copy(), 0
    for place in np.flatnonzero(TAGS.values == 2 * kind + 1)[:wrong]:
        found[place] = 0
        missed += 1
        if place + 1 < len(found) and found[place + 1] == 2 * kind + 2:
            found[place + 1] = 0
    assert missed == wrong
    return found


def scored(own: np.ndarray) -> Scored:
    """Return a served model with these tags, about 95% sure of each."""
    logits = Ragged(np.where(np.eye(TASK.width)[own] > 0, 4.3, 0.0).astype(np.float32), TAGS.offsets)
    answers = TokenFigures(TASK).answer(logits, {}, None, TEXTS)
    return Scored(answers, 1000, np.ones(10), frozenset({"0" * 16}))


def refused(verdict: Verdict) -> list[str]:
    json.dumps([vars(check) for check in verdict.checks] + [dict(verdict.figures)])  # as it is stored
    return [check.name for check in verdict.checks if not check.passed]


def named(own: np.ndarray) -> list[list[str]]:
    return [[TASK.tags[tag] for tag in part] for part in np.split(own, TAGS.offsets[1:-1])]


def test_a_better_challenger_passes_by_the_entity_f1_of_its_answers() -> None:
    new, old = tags(10), tags(80)
    verdict = gate.decide(TABLE, scored(new), scored(old), RULES)
    assert refused(verdict) == []
    for which, own in (("challenger", new), ("champion", old)):
        expected = f1_score(named(TAGS.values), named(own))
        assert verdict.figures[which]["entity_f1"] == pytest.approx(expected, abs=1e-12)
    names = [check.name for check in verdict.checks]
    assert {"tokens", "leakage", "gain", "entity type floor", "entity type losses"} <= set(names)


def test_a_tie_is_refused_and_so_is_a_type_that_is_lost() -> None:
    assert refused(gate.decide(TABLE, scored(tags(40)), scored(tags(40)), RULES)) == ["gain"]
    lost = gate.decide(TABLE, scored(tags(130, 1)), scored(tags(200, 0)), RULES)
    assert {"entity type floor", "entity type losses"} <= set(refused(lost))


def test_an_answer_of_another_task_is_refused() -> None:
    other = scored(tags(0))
    wrong = Scored(other.answers.rename(columns={"entities": "label"}), 1000, np.ones(10), None)
    assert "tokens" in refused(gate.decide(TABLE, wrong, None, RULES))


@pytest.mark.parametrize(("of_table", "of_model"), [*itertools.permutations(["space", "pattern"])])
def test_a_model_with_another_cut_of_words_is_judged_by_the_characters_of_its_entities(
    of_table: Any, of_model: Any, tmp_path: Path
) -> None:
    """Its entities are fitted to the table's words, as those of raw data are."""
    own, other = (Tokens(("place",), cut) for cut in (of_table, of_model))
    text = "seen: New York and (Bonn)"
    tags = {"space": [0, 1, 2, 0, 1], "pattern": [0, 0, 1, 2, 0, 0, 1, 0]}
    cells = {"id": ["test:1"], "text": [text], "tags": pa.array([tags[of_table]], pa.list_(pa.int32()))}
    pq.write_table(pa.table(cells), tmp_path / "test.parquet")
    storage.write_json(tmp_path / "task.json", task_spec.described(own))
    table = test_table.read(tmp_path / "test.parquet")
    logits = Ragged(np.eye(3)[tags[of_model]], np.array([0, len(tags[of_model])]))

    class Model:
        def predict(self, some: list[str]) -> pd.DataFrame:
            return TokenFigures(other).answer(logits, {}, None, some)

    answers = scoring._answers(Model(), table, "models:/n/1")
    found = TokenReports(own).served(answers)
    right = 2 if of_table == "space" else 1  # "(Bonn)" is not "Bonn": the model's words are too coarse
    assert token_decoding.matched(token_outputs.actual(table.targets), found.entities)[1].sum() == right
    assert len(found.entities) == 2
    with pytest.raises(DataError, match="row 1 of the table has another number of words than tags"):
        TokenFigures(own).aligned(answers, [f"{text} more"], table.targets)


def test_a_champion_with_other_types_is_not_compared() -> None:
    """Its entities would be left out, and any challenger would beat it."""
    old = scored(tags(0))
    renamed = old.answers.replace("place", "LOC", regex=True)
    verdict = gate.decide(TABLE, scored(tags(200)), replace(old, answers=renamed), RULES)
    assert refused(verdict) == ["tokens"] and not verdict.figures
    text = next(check.text for check in verdict.checks if not check.passed)
    assert text == "the champion does not have the tokens of t.parquet: unexpected LOC"


def test_drift_compares_the_types_and_the_places_of_entities(tmp_path: Path) -> None:
    clean = tiny_tokens.write_clean(tmp_path / "clean", {"train": 60, "val": 20, "test": 20}, 15)
    profile = drift.profile(clean)
    assert sum(profile["labels"].values()) == 80  # of train and val
    assert set(profile["labels"]) <= {"[]", '["goods"]', '["place"]', '["goods", "place"]'}
    same = drift.measure(clean, profile)
    assert (same.rows, same.gone, same.distances) == (0, 0, {})
    rewrite(clean, lambda tags: tags[::-1])  # the same types elsewhere
    moved = drift.measure(clean, profile)
    assert moved.rows == moved.gone > 40 and moved.distances["labels"].excess < 0.2
    rewrite(clean, lambda tags: [0 if tag < 3 else tag - 2 for tag in tags])  # places are goods now
    other = drift.measure(clean, profile)
    assert other.rows > 40 and other.distances["labels"].excess > 0.3


@pytest.mark.parametrize(
    "form", ["conll", "conll without tags", "jsonl", "parquet", "delimited", "token_xml"]
)
def test_new_texts_come_as_lists_of_tokens_too(form: str, tmp_path: Path) -> None:
    """Each is the text that training data of the same form has."""
    clean, path = (
        tiny_tokens.write_clean(tmp_path / "clean", {"train": 9, "val": 3, "test": 1}),
        tmp_path / "new",
    )
    tokens = [text.split() for text in pq.read_table(clean / "train.parquet")["text"].to_pylist()]
    own: dict[str, Any] = {"kind": form.partition(" ")[0], "encoding": "utf-8"}
    match form.split():
        case ["conll", *without]:
            own |= {"separator": None, "columns": ("text", "pos", "tag")}
            end = "\n" if without else " X O\n"
            path.write_text("\n".join("".join(word + end for word in row) for row in tokens))
        case ["jsonl"]:
            path.write_text("".join(json.dumps({"text": row}) + "\n" for row in tokens))
        case ["parquet"]:
            pq.write_table(pa.table({"text": tokens}), path)
            own.pop("encoding")
        case ["delimited"]:
            own |= {"delimiter": ",", "quote": '"', "escape": None, "skip_lines": 0, "columns": None}
            pd.DataFrame({"text": map(json.dumps, tokens)}).to_csv(path)
        case ["token_xml"]:
            own = {"kind": "token_xml", "element": "A"}
            words = ("".join(f"<B>{word}</B> " for word in row) for row in tokens)
            path.write_text(f"<All>{''.join(f'<A>{row}</A>' for row in words)}</All>")
    recipe = params.read(Path("recipes/tokens-conll.yaml"))
    name = "token" if form == "token_xml" else "text"
    changed = recipe.preprocess.model_dump() | {"format": own, "text_column": name}
    sample = unlabelled.read(path, params.TextPreprocess.model_validate(changed), recipe.task)
    assert [*sample.keys] == [" ".join(row) for row in tokens]
    assert samples.unseen(sample, test_table.training_digests(clean)) == []


def rewrite(clean: Path, change: Callable[[list[int]], list[int]]) -> None:
    """Change the tags of each row of train."""
    table = pq.read_table(clean / "train.parquet")
    tags = pa.array([change(row) for row in table["tags"].to_pylist()], pa.list_(pa.int32()))
    pq.write_table(table.set_column(2, "tags", tags), clean / "train.parquet")
