"""Episodes through the real stages: held-out classes, two processes like one, killed and resumed.

The classes are packages of Python's standard library, whose docstrings are the texts.
"""

import csv
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from baton import storage
from baton.batches import array_splits
from tests import tiny
from tests.test_distributed_stages import processes
from tests.test_interrupted import checkpoints, finish, last_step, ours, start
from tests.test_pipeline import (
    BATON,
    PACKAGES,
    ROOT,
    STAGES,
    Project,
    copy_code,
    small,
    write_docstrings,
)

pytestmark = [pytest.mark.slow, pytest.mark.alone]
NOVEL = {"validation": ["http", "urllib"], "test": ["importlib", "unittest"]}
METHODS = {
    "prototypes": {"kind": "prototypes", "queries": 3},
    "reptile": {"kind": "reptile", "steps": 3, "learning_rate": 0.1},
}
TRAINING = "teacher_episodes-0"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("episodes") / "project"
    copy_code(folder)
    write_docstrings(folder / "inbox/data.csv", (*PACKAGES, *NOVEL["validation"], *NOVEL["test"]))
    tiny.write_base(folder / "inbox/base")
    shutil.copy(ROOT / "recipes/csv.yaml", folder / "params.yaml")
    made = Project(folder)
    made.edit(lambda raw: (small(raw), in_episodes(raw)))
    for command in ("init", "add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert made.run("git", *command.split()).returncode == 0
    made.repro("tokenize")
    yield made
    shutil.rmtree(folder)


def in_episodes(raw: dict[str, Any]) -> None:
    raw["preprocess"]["novel"] = NOVEL
    raw["finetune"] |= {
        "episodes": {"way": 2, "shots": 3, "queries": 5, "count": 50, "seed": 0},
        "strategy": strategy("prototypes"),
        "log_every": 1,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    raw["runtime"] |= {"precision": "fp32"}


def strategy(method: str, steps: int = 12) -> dict[str, Any]:
    own = {"way": 3, "shots": 2, "batch_size": 3, "steps": steps, "learning_rate": 1e-3, "evaluations": 2}
    return {"kind": "episodes", "method": METHODS[method]} | own


def use(project: Project, method: str, steps: int = 12, **changes: Any) -> None:
    project.edit(lambda raw: raw["finetune"].update(strategy=strategy(method, steps), **changes))


def figures(project: Project) -> dict[str, float]:
    found: dict[str, float] = storage.read_json(project.folder / "metrics/finetune.json")["teacher"]
    return found


def curve(project: Project) -> list[dict[str, str]]:
    with (project.folder / "curves/finetune.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_other_stages_run(project: Project) -> None:
    assert project.repro() == STAGES[3:]
    folder = project.folder
    labels = [pq.read_table(folder / f"data/clean/{split}.parquet")["label"] for split in array_splits.SPLITS]
    assert storage.read_json(folder / "data/clean/task.json")["names"] == sorted(PACKAGES)
    assert {value for column in labels for value in column.to_pylist()} == {0, 1, 2, 3}
    novel = array_splits.open_novel(folder / "data/arrays")
    assert {split: own.targets.spec.names for split, own in novel.items()} == {
        "novel_validation": ("http", "urllib"),
        "novel_test": ("importlib", "unittest"),
    }
    found = figures(project)
    assert 0.4 < found["episodes_test"] <= 1.0 and 0 < found["episodes_test_half_width"] < 0.2
    by_seed = storage.read_json(folder / "metrics/finetune.json")["seeds"]["0"]["teacher"]
    assert by_seed["episodes_validation"] == found["episodes_validation"]
    metrics = storage.read_json(folder / "reports/metrics.json")
    assert metrics["test"]["classes"] == len(PACKAGES)
    assert metrics["episodes"]["test"]["accuracy"] == pytest.approx(found["episodes_test"], rel=1e-5)
    said = f"2-way 3-shot episodes with an accuracy of {found['episodes_test']:.1%}"
    assert said in project.run(*BATON, "summary", "--test").stdout
    assert said in (folder / "reports/report.html").read_text()
    assert project.repro() == []


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_and_accumulation_train_as_one_does(project: Project, method: str) -> None:
    """Of three episodes a step, one process has two and the other one; each is a part of its own."""
    use(project, method)
    found = []
    for count, accumulation in ((1, 1), (1, 2), (2, 1)):
        processes(project, count)
        project.edit(lambda raw, own=accumulation: raw["finetune"].update(accumulation=own))
        result = project.run("sh", "stages/run", "finetune")
        assert result.returncode == 0, result.stdout + result.stderr
        found.append((curve(project), figures(project)))
    processes(project, 1)
    project.edit(lambda raw: raw["finetune"].update(accumulation=1))
    assert found[0] == found[1], "a part of a step is an episode, whatever accumulation is"
    (one, own), (two, others) = found[0], found[2]
    assert len(one) == len(two) >= 12
    for column in ("loss", "gradient_norm", "val_loss"):
        values = [[float(row[column]) for row in rows if row[column]] for rows in (one, two)]
        assert values[1] == pytest.approx(values[0], rel=1e-3, abs=1e-4), column
    assert others["episodes_test"] == pytest.approx(own["episodes_test"], abs=0.02)
    assert one != two, "sums are ordered differently: equal bits would mean that there was one process"


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_it_gives_the_same_bytes(project: Project, method: str) -> None:
    use(project, method, steps=60, dropout=0.1, log_every=1)
    project.edit(lambda raw: raw["runtime"].update(checkpoint_seconds=0.001))
    finish(project, "finetune")
    whole = project.digests()
    use(project, method, steps=60, log_every=2)  # another run than that it is compared with
    for _ in range(2):
        with start(project, "finetune") as process:
            before = last_step(project, TRAINING)
            while last_step(project, TRAINING) < before + 7:
                assert process.poll() is None, process.stdout.read() if process.stdout else ""
            for one in ours(project):
                os.kill(one.pid, signal.SIGKILL)
    assert "resumed after step" in finish(project, "finetune")
    after = project.digests()
    same = [name for name in whole if name.startswith(("models/teacher", "data/predictions/teacher"))]
    assert len(same) > 4 and [name for name in same if whole[name] != after.get(name)] == []
    assert whole["metrics/finetune.json"] == after["metrics/finetune.json"]
    assert whole["curves/finetune.csv"] != after["curves/finetune.csv"]  # it was not taken from the cache
    assert checkpoints(project, TRAINING) == []


def test_another_seed_is_tested_on_the_same_episodes(project: Project) -> None:
    use(project, "prototypes", seeds=[0, 1])
    finish(project, "finetune")
    seeds = storage.read_json(project.folder / "metrics/finetune.json")["seeds"]
    keys = {f"episodes_{split}{end}" for split in ("validation", "test") for end in ("", "_half_width")}
    assert all(keys <= set(seeds[seed]["teacher"]) for seed in ("0", "1"))
    assert Path(project.folder, "data/predictions/seeds/teacher/1.parquet").is_file()
