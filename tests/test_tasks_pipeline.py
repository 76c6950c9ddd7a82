"""Three tasks on one encoder through real `dvc repro`, killed and resumed.

The main task tells docstrings of packages apart. The others read the same file, for the length of a text, and
one of their own, for the words in it.
"""

import csv
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from scipy.stats import spearmanr

from baton import params, storage
from baton.contracts import predictions
from tests import tiny
from tests.test_interrupted import check_kills, longer
from tests.test_labels_pipeline import WORDS
from tests.test_pipeline import (
    BATON,
    ROOT,
    STAGES,
    Project,
    check_rerun,
    copy_code,
    small,
    write_docstrings,
)

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("tasks") / "project"
    copy_code(folder)
    write_docstrings(folder / "inbox/data.csv")
    with (folder / "inbox/data.csv").open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    for name, columns in (("data", ("text", "label", "letters")), ("words", ("text", "labels"))):
        with (folder / f"inbox/{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            for row in rows:
                named = "|".join(word for word in WORDS if word in row["text"].lower())
                writer.writerow(row | {"letters": len(row["text"]), "labels": named})
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/csv.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(lambda raw: (small(raw), with_tasks(raw)))
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    yield made
    shutil.rmtree(folder)


def with_tasks(raw: dict[str, Any]) -> None:
    """Add two tasks, which have the checks of their recipes."""
    numbers, words = (params.read_raw(ROOT / f"recipes/{name}-csv.yaml") for name in ("numbers", "labels"))
    numbers["preprocess"]["label_column"] = "letters"
    words["source"]["files"]["train"] = "inbox/words.csv"
    own = {"head": raw["finetune"]["head"], "weight": 0.5}
    raw["tasks"] = {
        "letters": {"source": None, **own} | {key: numbers[key] for key in ("task", "preprocess")},
        "words": own | {key: words[key] for key in ("source", "task", "preprocess")},
    }
    raw["finetune"] |= {"mixing": {"kind": "uniform"}, "epochs": 2}


def read(project: Project, name: str) -> Any:
    return storage.read_json(project.folder / name)


def texts(project: Project, folder: str, split: str) -> set[str]:
    table = pq.read_table(project.folder / f"data/clean/{folder}{split}.parquet")
    return {*table["text"].to_pylist()}


def test_all_seven_stages_run(project: Project) -> None:
    assert project.repro() == STAGES
    assert [path.name for path in sorted((project.folder / "data/raw/tasks").iterdir())] == ["words"]
    figures, metrics = (
        read(project, "metrics/finetune.json")["teacher"],
        read(project, "reports/metrics.json"),
    )
    steps = {name: figures[f"tasks/{name}/steps"] for name in ("main", "letters", "words")}
    assert sum(steps.values()) == figures["steps"] and max(steps.values()) - min(steps.values()) <= 2
    assert "tasks/words/val_micro_f1" in figures and "tasks/letters/val_spearman" in figures
    assert set(metrics["tasks"]) == {"letters", "words"}
    ids, logits = predictions.read_predictions(
        project.folder / "data/predictions/teacher/tasks/letters/test.parquet"
    )
    table = pq.read_table(project.folder / "data/clean/tasks/letters/test.parquet")
    assert ids == table["id"].to_pylist()
    truth = np.array(table["numbers"].to_pylist())[:, 0]
    own = metrics["tasks"]["letters"]
    assert own["rows"] == len(ids) and own["task"]["kind"] == "numbers"
    assert own["spearman"] == pytest.approx(spearmanr(truth, logits[:, 0]).statistic, abs=1e-5)
    low, high = own["mae_interval"]
    assert low <= own["mae"] <= high
    shown = project.run(*BATON, "summary").stdout
    assert "The teacher's other task letters: mae" in shown and "other task words: micro F1" in shown


def test_no_task_trains_on_a_text_on_which_the_main_one_is_measured(project: Project) -> None:
    measured = texts(project, "", "val") | texts(project, "", "test")
    for name in ("letters", "words"):
        assert not texts(project, f"tasks/{name}/", "train") & measured
        assert texts(project, f"tasks/{name}/", "test") & measured, "its own test rows stay"
        (note,) = [
            note
            for note in read(project, f"data/clean/tasks/{name}/report.json")["notes"]
            if "have a text of the main task's val or test" in note
        ]
        assert int(note.split()[0]) > 0


def test_the_teacher_is_a_plain_classifier(project: Project) -> None:
    weights = load_file(project.folder / "models/teacher/model.safetensors")
    assert not [name for name in weights if not name.startswith(("backbone.", "head."))]
    assert read(project, "models/teacher/baton.json")["task"]["kind"] == "classes"
    student = load_file(project.folder / "models/student/model.safetensors")
    assert {name.split(".")[0] for name in student} == {"backbone", "head"}


def test_nothing_runs_again_and_a_forced_rerun_gives_the_same_bytes(project: Project) -> None:
    check_rerun(project)


def test_what_is_edited_runs_again(project: Project) -> None:
    """Another weight makes the same data, and another teacher; one task fewer leaves no files behind."""
    before, digests = params.read_raw(project.folder / "params.yaml"), project.digests()
    project.edit(lambda raw: raw["tasks"]["words"].update(weight=2.0))
    assert project.repro("finetune") == ["download", "preprocess", "finetune"]
    changed = {name for name, digest in project.digests().items() if digests.get(name) != digest}
    assert "models/teacher/model.safetensors" in changed
    assert not [name for name in changed if name.startswith(("data/raw", "data/clean", "data/arrays"))]
    project.edit(lambda raw: (raw.update(tasks={}), raw["finetune"].update(mixing=None)))
    project.repro("finetune")
    assert not [name for name in project.digests() if "/tasks/" in name]
    project.edit(lambda raw: raw.update(before))
    project.repro()
    assert {name for name, digest in project.digests().items() if digests[name] != digest} <= {
        "reports/report.html",
        "reports/timings.json",
        "reports/speed/speed_accuracy.png",
    }


def test_a_task_that_cannot_be_read_is_named(project: Project) -> None:
    before = params.read_raw(project.folder / "params.yaml")
    project.edit(lambda raw: raw["tasks"]["words"]["preprocess"].update(label_column="absent"))
    failed = project.run(sys.executable, "-m", "dvc", "repro", "preprocess")
    assert failed.returncode != 0
    assert "error: tasks.words: " in failed.stdout + failed.stderr
    assert not (project.folder / "data/clean").exists(), "nothing half-written"
    project.edit(lambda raw: raw.update(before))
    project.repro()


def test_two_processes_give_the_curve_of_one(project: Project) -> None:
    curves = []
    project.edit(lambda raw: raw["runtime"].update(precision="fp32"))
    for count in (1, 2):
        project.edit(lambda raw, count=count: raw["runtime"].update(processes=count))
        done = project.run("sh", "stages/run", "finetune")
        assert done.returncode == 0, done.stdout + done.stderr
        with (project.folder / "curves/finetune.csv").open() as file:
            curves.append([float(row["loss"]) for row in csv.DictReader(file) if row["loss"]])
    assert curves[1] == pytest.approx(curves[0], abs=1e-4) and curves[1] != curves[0]
    project.edit(lambda raw: raw["runtime"].update(processes=1))


def test_a_training_run_that_is_killed_gives_the_same_bytes(project: Project) -> None:
    project.edit(lambda raw: longer(raw, 6))
    check_kills(project, "finetune", "teacher", kills=4)
