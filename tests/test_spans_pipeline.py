"""The pipeline on questions through real `dvc repro`, killed and resumed, then served.

Goods and places are asked for in texts of the vocabulary of `tests.tiny`; some texts lack them.
"""

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest

from baton import storage
from baton.contracts import predictions
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Spans
from baton.tasks.span_figures import SpanFigures
from tests import tiny, tiny_questions
from tests.pipeline_checks import check_distillation, check_drift, check_gate
from tests.tasks.test_squad_scores import script
from tests.test_interrupted import check_kills, longer
from tests.test_pipeline import ROOT, STAGES, Project, check_rerun, copy_code, small

pytestmark = [pytest.mark.slow, pytest.mark.alone]
TASK = SpanFigures(Spans(4))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("spans") / "project"
    copy_code(folder)
    tiny_questions.write(folder / "inbox/questions.json", 160, longest=50)  # some in several windows
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/spans-squad.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(small)
    made.edit(quick)
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def quick(raw: dict[str, Any]) -> None:
    raw["task"]["max_answer_words"] = 4
    for section in ("finetune", "distill"):
        raw[section] |= {"learning_rate": 5e-3, "epochs": 6}
    raw["runtime"]["precision"] = "fp32"  # as served


def predicted(project: Project, name: str, split: str = "test") -> Ragged:
    _, logits = predictions.read_predictions(project.folder / f"data/predictions/{name}/{split}.parquet")
    assert isinstance(logits, Ragged)
    return logits


def fitted(project: Project, name: str) -> dict[str, Any]:
    found: dict[str, Any] = storage.read_json(project.folder / f"models/{name}/baton.json")["fitted"]
    return found


def test_all_seven_stages_run(project: Project) -> None:
    """Figures agree with SQuAD's script, as `tests.tasks.test_squad_scores` writes it out."""
    assert project.repro() == STAGES
    task = {"kind": "spans", "max_answer_words": 4}
    assert storage.read_json(project.folder / "data/clean/task.json") == task
    assert storage.read_json(project.folder / "models/student/baton.json")["task"] == task
    tables = {
        split: pq.read_table(project.folder / f"data/clean/{split}.parquet")
        for split in ("train", "val", "test")
    }
    contexts = {split: {*table["text_pair"].to_pylist()} for split, table in tables.items()}
    assert (
        not contexts["test"] & (contexts["train"] | contexts["val"])
        and not contexts["train"] & contexts["val"]
    )
    metrics, table = storage.read_json(project.folder / "reports/metrics.json"), tables["test"]
    true = [answers["text"] for answers in table["answers"].to_pylist()]
    for name in ("teacher", "student", "control"):
        own = TASK.answers(predicted(project, name), fitted(project, name), table["text_pair"].to_pylist())
        scores = [script(text, answers) for text, answers in zip(own.texts, true, strict=True)]
        exact, f1 = (sum(one) / len(scores) for one in zip(*scores, strict=True))
        assert metrics[name]["exact_match"] == pytest.approx(exact, abs=5e-7)
        assert metrics[name]["f1"] == pytest.approx(f1, abs=5e-7)
        low, high = metrics[name]["f1_interval"]
        assert low <= metrics[name]["f1"] <= high
    without = sum(not answers for answers in true) / len(true)
    assert metrics["teacher"]["f1"] > max(0.5, without)
    assert "student_vs_control" in metrics["comparison"] and metrics["recommended"]["model"]


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_logged_model_gives_the_answers_of_the_predictions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one window or several, one question at a time or all at once."""
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    served = project.served("student")
    table = pq.read_table("data/clean/test.parquet")
    questions, contexts = table["text"].to_pylist(), table["text_pair"].to_pylist()
    pairs = [[*pair] for pair in zip(questions, contexts, strict=True)]
    own = TASK.answers(predicted(project, "student"), fitted(project, "student"), contexts)
    whole, alone = served.predict(pairs), [served.predict([pair]) for pair in pairs[:5]]
    assert whole["answer"].tolist() == list(own.texts)
    assert [one["answer"][0] for one in alone] == list(own.texts[:5])
    assert whole["start"].tolist() == own.starts.tolist() and whole["end"].tolist() == own.ends.tolist()
    assert whole["score"].to_numpy() == pytest.approx(own.scores, abs=1e-4)
    for context, answer, start, end in zip(
        contexts, whole["answer"], whole["start"], whole["end"], strict=True
    ):
        assert answer == (context[start:end] if start >= 0 else "")


def test_the_student_is_taught_and_the_gate_judges_it(project: Project) -> None:
    check_distillation(project)
    check_gate(project)
    new = tiny_questions.write(project.folder / "new.json", 60, seed=1)
    new.write_text(re.sub(r"\b[a-z]{4,}(?= [a-z]+ [a-z])", "quartzite", new.read_text()))
    check_drift(project, "new.json")


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    """Teacher, then student and control, which learn from the teacher's answers."""
    project.edit(lambda raw: longer(raw, 4))
    check_kills(project, "finetune", "teacher", kills=5, steps=5, log_every=3)
    check_kills(project, "distill", "student", kills=5, steps=5, log_every=3)
