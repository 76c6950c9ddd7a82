"""Test that two processes (gloo, CPU) follow the curve of one in the real stage, and end together."""

import contextlib
import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from baton import params, storage
from baton.batches import array_splits
from baton.contracts import predictions
from tests import test_image_pipeline
from tests.test_interrupted import ours
from tests.test_pipeline import BATON, Project

pytestmark = [pytest.mark.alone, pytest.mark.slow]
TOGETHER_SECONDS = 60.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tokenized: Path) -> Iterator[Project]:
    """Prepare the tiny project up to its arrays: fp32, no dropout (ranks draw their own random numbers)."""
    made = Project(tmp_path_factory.mktemp("distributed") / "project")
    shutil.copytree(tokenized, made.folder)
    made.edit(exact)
    windows = array_splits.open_splits(made.folder / "data/arrays")["train"].windows
    assert windows.max() > 1, "the two have different numbers of parts in a step"
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Prepare images up to their arrays.

    Training uses augmentation, averaged weights, and a TinyViT, whose batch normalisation is local to each
    rank.
    """
    made = test_image_pipeline.make_project(tmp_path_factory.mktemp("distributed_images") / "project")
    made.edit(convolutional)
    made.repro("tokenize")
    yield made
    shutil.rmtree(made.folder)


def convolutional(raw: dict[str, Any]) -> None:
    own = {"embed_dims": [8, 16], "depths": [1, 1], "num_heads": [1, 2], "window_sizes": [4, 2]}
    raw["base"] |= {"architecture": "tiny_vit_5m_224", "arguments": own}
    raw["finetune"] |= {
        "batch_size": 14,
        "accumulation": 2,
        "ema": {"decay": 0.9},
        "layer_decay": 0.8,
        "drop_path": 0.1,
    }
    raw["finetune"]["head"] |= {"pooling": "mean"}
    raw["runtime"] |= {"precision": "fp32", "threads": 1}


def exact(raw: dict[str, Any]) -> None:
    raw["finetune"] |= {
        "epochs": 2,
        "min_steps": 0,
        "strategy": {"kind": "full"},
        "batch_size": 14,
        "accumulation": 2,
        "log_every": 1,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    raw["runtime"] |= {"precision": "fp32", "threads": 1}


def processes(project: Project, count: int) -> None:
    project.edit(lambda raw: raw["runtime"].update(processes=count))


def curve(project: Project) -> list[dict[str, str]]:
    with (project.folder / "curves/finetune.csv").open() as file:
        return list(csv.DictReader(file))


def test_two_processes_give_the_curve_of_one(project: Project) -> None:
    curves, logits, before = [], [], runs(project)
    for count in (1, 2):
        processes(project, count)
        result = project.run("sh", "stages/run", "finetune")
        assert result.returncode == 0, result.stdout + result.stderr
        if "wait in the journal" in result.stdout:  # on a busy machine the stage ends before they are sent
            sent = project.run(*BATON, "sync")
            assert sent.returncode == 0, sent.stdout + sent.stderr
        assert runs(project) == before + count, "only the main process tracks"
        curves.append(curve(project))
        logits.append(predicted(project, "test"))
    one, two = curves
    assert len(one) == len(two) > 10
    for column in ("loss", "val_loss", "gradient_norm"):
        values = [[float(row[column]) for row in rows if row[column]] for rows in (one, two)]
        assert values[1] == pytest.approx(values[0], abs=1e-4), column
    assert np.abs(logits[0] - logits[1]).max() < 1e-2
    assert curves[0] != curves[1], (
        "sums are ordered differently: equal bits would mean that there was one process"
    )


AUTO = {"kind": "auto", "rows": 1000, "folds": 2, "among": [{"kind": "probe"}, {"kind": "full"}]}


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-9, 3e-3], ids=["probe", "either"])
def test_two_processes_choose_between_probe_and_fine_tuning_as_one_does(
    project: Project, rate: float
) -> None:
    """At the first rate fine-tuning learns nothing, and the probe is chosen."""
    before = params.read_raw(project.folder / "params.yaml")["finetune"]
    project.edit(lambda raw: raw["finetune"].update(strategy=AUTO, learning_rate=rate))
    found = []
    for count in (1, 2):
        processes(project, count)
        result = project.run("sh", "stages/run", "finetune")
        assert result.returncode == 0, result.stdout + result.stderr
        logits = {name: predicted(project, name) for name in ("test", predictions.LEFT_OUT)}
        found.append((storage.read_json(project.folder / "metrics/finetune.json")["teacher"], logits))
    project.edit(lambda raw: raw.update(finetune=before))
    (one, own), (two, others) = found
    assert one["chosen_probe"] == two["chosen_probe"] and (rate > 1e-6 or one["chosen_probe"] == 1.0)
    assert two == pytest.approx(one, abs=1e-3)
    assert all(np.abs(own[name] - others[name]).max() < 1e-2 for name in own)


def runs(project: Project) -> int:
    """Return the number of runs of the stage in the MLflow store."""
    store = project.folder / "mlflow.db"
    if not store.exists():
        return 0
    with contextlib.closing(sqlite3.connect(store)) as database:
        ((count,),) = database.execute("select count(*) from runs where name like 'finetune%'")
    return int(count)


def predicted(project: Project, name: str) -> NDArray[np.float32]:
    """Return the teacher's logits on a split."""
    return predictions.read_predictions(project.folder / f"data/predictions/teacher/{name}.parquet")[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["project", "images"])
def test_a_split_model_gives_the_curve_and_the_files_of_a_whole_one(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """Train teacher, student and control, with a live teacher; for texts in two processes and in four.

    The student of texts also learns what its teacher's head reads.
    """
    from safetensors.torch import load_file

    project: Project = request.getfixturevalue(kind)
    found, texts = [], kind == "project"
    compared = {"features": {"weight": 1.0}} if texts else {}
    project.edit(
        lambda raw: raw["distill"].update(
            epochs=2, min_steps=0, teacher="live", dropout=0.0, attention_dropout=0.0, **compared
        )
    )
    stages, names = (
        (("finetune", "distill"), ("teacher", "student", "control"))
        if texts
        else (("finetune",), ("teacher",))
    )
    for count, sharding in ((2, "none"), (2, "full"), (4, "full"))[: 3 if texts else 2]:
        project.edit(
            lambda raw, own=(count, sharding): raw["runtime"].update(processes=own[0], sharding=own[1])
        )
        for stage in stages:
            result = project.run("sh", "stages/run", stage)
            assert result.returncode == 0, result.stdout + result.stderr
        models = {name: load_file(project.folder / f"models/{name}/model.safetensors") for name in names}
        found.append((curve(project), models))
    project.edit(lambda raw: raw["runtime"].update(sharding="none"))
    for own, models in found[1:]:
        for column in ("loss", "val_loss"):
            values = [[float(row[column]) for row in rows if row[column]] for rows in (found[0][0], own)]
            assert values[1] == pytest.approx(values[0], abs=1e-4), column
        for name, weights in models.items():
            assert {key: (value.shape, value.dtype) for key, value in weights.items()} == {
                key: (value.shape, value.dtype) for key, value in found[0][1][name].items()
            }
            assert (
                max(
                    float((value.float() - found[0][1][name][key].float()).abs().max())
                    for key, value in weights.items()
                )
                < 1e-2
            )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "epochs"), [("project", 6), ("images", 40)])
def test_two_processes_go_on_bit_for_bit(kind: str, epochs: int, request: pytest.FixtureRequest) -> None:
    """Points are logged at validations only; the sums of both processes since then are in the checkpoint."""
    project: Project = request.getfixturevalue(kind)
    processes(project, 2)
    project.edit(lambda raw: raw["finetune"].update(epochs=epochs, log_every=1000, dropout=0.1))
    stage = begin(project)
    try:
        wait_for_training(project, stage)
        stage.send_signal(signal.SIGTERM)
        stopped, _ = stage.communicate(timeout=TOGETHER_SECONDS)
    finally:
        stage.kill()
        stage.wait()
    assert stage.returncode == 143, stopped
    outcomes = []
    for resumed in (True, False):
        result = project.run("sh", "stages/run", "finetune")
        assert result.returncode == 0, result.stdout + result.stderr
        assert ("resumed after step" in result.stdout) == resumed
        outcomes.append(((project.folder / "models/teacher/model.safetensors").read_bytes(), curve(project)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["main", "other"])
def test_killing_one_ends_both(project: Project, victim: str) -> None:
    processes(project, 2)
    project.edit(lambda raw: raw["finetune"].update(epochs=1000))
    stage = begin(project)
    try:
        other = wait_for_training(project, stage)
        (stage if victim == "main" else other).send_signal(signal.SIGKILL)
        deadline = time.monotonic() + TOGETHER_SECONDS
        while left := ours(project):
            assert time.monotonic() < deadline, [item.cmdline() for item in left]
            time.sleep(0.1)
        output, _ = stage.communicate()
        assert stage.returncode != 0
        if victim == "other":
            assert "process 1 of this training run failed" in output
    finally:
        stage.kill()
        stage.wait()
        project.edit(lambda raw: raw["finetune"].update(epochs=2))


def begin(project: Project) -> subprocess.Popen[str]:
    environment = {**os.environ, "BATON_PYTHON": sys.executable, "PYTHONPATH": str(project.folder / "src")}
    command = ["sh", "stages/run", "finetune"]
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_training(project: Project, stage: subprocess.Popen[str]) -> psutil.Process:
    """Return the other rank's process, once both are training."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert stage.poll() is None, stage.stdout.read() if stage.stdout else ""
        found = [item for item in psutil.Process(stage.pid).children(recursive=True) if is_rank(item)]
        journals = Path(project.folder, ".baton/journal").glob("*/entries.jsonl")
        new = [path for path in journals if path.stat().st_mtime > psutil.Process(stage.pid).create_time()]
        if found and any("teacher/loss" in path.read_text() for path in new):
            return found[0]
        time.sleep(0.1)
    raise AssertionError("the training run does not start")


def is_rank(process: psutil.Process) -> bool:
    with contextlib.suppress(
        psutil.NoSuchProcess
    ):  # a helper process for queries of the machine lives only for a moment
        return "stages.finetune" in process.cmdline()
    return False
