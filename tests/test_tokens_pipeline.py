"""The pipeline on tagged words through real `dvc repro`, killed and resumed, then served.

Goods and places are tagged in texts of the vocabulary of `tests.tiny`.
"""

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from seqeval.metrics import f1_score

from baton import storage
from baton.contracts import predictions
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.tasks import token_decoding
from tests import tiny, tiny_tokens
from tests.pipeline_checks import check_distillation
from tests.test_interrupted import check_kills, longer
from tests.test_pipeline import BATON, ROOT, STAGES, Project, check_rerun, copy_code, small

pytestmark = [pytest.mark.slow, pytest.mark.alone]
TASK = Tokens(("goods", "place"), "space")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("tokens") / "project"
    copy_code(folder)
    lines = []
    for text, tags in tiny_tokens.rows(240, 0, 60):  # some in several windows
        lines += [f"{word} X X {TASK.tags[tag]}" for word, tag in zip(text.split(), tags, strict=True)]
        lines.append("")
    (folder / "inbox/data.conll").write_text("\n".join(lines))
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/tokens-conll.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(small)
    made.edit(quick)
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def quick(raw: dict[str, Any]) -> None:
    raw["evaluate"]["baselines"][1] |= {"c1": [0.1], "c2": [0.1], "iterations": 20}
    raw["finetune"]["learning_rate"] = 5e-3
    raw["finetune"]["epochs"] = 3
    raw["runtime"]["precision"] = "fp32"  # as served
    raw["promotion"] |= {"first_minimum": 0.0, "class_floor": None, "permanent_floor": None}


def predicted(project: Project, name: str, split: str = "test") -> Ragged:
    _, logits = predictions.read_predictions(project.folder / f"data/predictions/{name}/{split}.parquet")
    assert isinstance(logits, Ragged)
    return logits


def named(tags: np.ndarray, offsets: np.ndarray) -> list[list[str]]:
    return [[TASK.tags[tag] for tag in tags[a:b]] for a, b in itertools.pairwise(offsets)]


def test_all_seven_stages_run(project: Project) -> None:
    import pyarrow.parquet as pq

    assert project.repro() == STAGES
    task = {"kind": "tokens", "names": list(TASK.names), "words": "space"}
    assert storage.read_json(project.folder / "data/clean/task.json") == task
    assert storage.read_json(project.folder / "models/student/baton.json")["task"] == task
    metrics = storage.read_json(project.folder / "reports/metrics.json")
    logits = predicted(project, "teacher")
    tags = pq.read_table(project.folder / "data/clean/test.parquet")["tags"].to_pylist()
    truth = [[TASK.tags[tag] for tag in row] for row in tags]
    expected = f1_score(truth, named(token_decoding.decoded(logits), logits.offsets))
    assert metrics["teacher"]["entity_f1"] == pytest.approx(expected, abs=1e-6)
    assert expected > 0.5
    low, high = metrics["teacher"]["entity_f1_interval"]
    assert low <= metrics["teacher"]["entity_f1"] <= high
    assert metrics["crf"]["entity_f1"] > 0.95
    assert "student_vs_control" in metrics["comparison"] and metrics["recommended"]["model"]
    names = {path.name for path in (project.folder / "reports/tables").glob("*.csv")}
    assert {"per_type.csv", "confusion.csv", "errors.csv"} <= names


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_answers_with_the_entities_of_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one window or several, one text at a time or all at once."""
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    import pyarrow.parquet as pq

    served = project.served("student")
    texts = pq.read_table("data/clean/test.parquet")["text"].to_pylist()
    logits = predicted(project, "student")
    found = token_decoding.entities(token_decoding.decoded(logits), logits.offsets).tolist()
    for answer in (served.predict(texts), [served.predict([text]) for text in texts[:5]]):
        cells = [one["entities"][0] for one in answer] if isinstance(answer, list) else answer["entities"]
        for row, (text, cell) in enumerate(zip(texts, cells, strict=False)):
            begin = logits.offsets[row]
            expected = [(a - begin, b - begin, TASK.names[kind]) for r, a, b, kind in found if r == row]
            own = json.loads(cell)
            assert [(*one["words"], one["label"]) for one in own] == expected
            for one in own:
                assert text[one["start"] : one["end"]] == one["text"]
                assert one["text"].split() == text.split()[slice(*one["words"])]
                assert 0 < one["score"] <= 1
    assert served.predict([" "])["entities"].tolist() == ["[]"]


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_gate_judges_entities_and_drift_reads_new_files(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first champion; then texts without tags, as columns and as lists of tokens."""
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    import pyarrow.parquet as pq

    assert project.run(*BATON, "register").returncode == 0
    done = project.run(*BATON, "promote", "--mode", "enabled", "--json", "verdict.json")
    assert done.returncode == 0 and "@champion is now" in done.stdout, done.stdout + done.stderr
    verdict = storage.read_json(Path("verdict.json"))
    expected = storage.read_json(Path("reports/metrics.json"))["student"]["entity_f1"]
    assert verdict["passed"] and verdict["figures"]["challenger"]["entity_f1"] == pytest.approx(expected)

    train = pq.read_table("data/clean/train.parquet")["text"].to_pylist()
    Path("old.conll").write_text("\n\n".join("\n".join(text.split()) for text in train))
    done = project.run(*BATON, "drift", "old.conll")
    assert re.search(r"^0 rows of .*old\.conll are not in", done.stdout), done.stdout + done.stderr
    new = [[f"unseen{row}", "wheat", f"word{row}", "strait"] for row in range(60)]
    pq.write_table(pa.table({"word": new}), "new.parquet")
    done = project.run(*BATON, "drift", "new.parquet", "--predict")
    assert re.search(r"^60 rows of .*new\.parquet are not in", done.stdout), done.stdout + done.stderr
    assert "beyond the limits" in done.stdout and "predicted labels: distance" in done.stdout


def test_the_student_is_taught(project: Project) -> None:
    check_distillation(project)


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    """Teacher, then student and control, which learn from the teacher's words."""
    project.edit(lambda raw: (longer(raw), many(raw)))
    check_kills(project, "finetune", "teacher", kills=5, steps=5, log_every=3)
    check_kills(project, "distill", "student", kills=5, steps=5, log_every=3)


def many(raw: dict[str, Any]) -> None:
    raw["finetune"]["epochs"] = 12
