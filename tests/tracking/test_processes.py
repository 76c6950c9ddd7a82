"""Stages as real processes: which share a pipeline run, how they end, and imports when tracking is off."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from baton import tracking
from tests.tracking.reading import REASONS, ROOT, names, tree

STAGE = Path(__file__).parent / "stage_process.py"


def start(folder: Path, *words: str, program: Path = STAGE, **environment: str) -> subprocess.Popen[str]:
    variables = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "DVC_ROOT": str(folder),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, str(program), *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=variables | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    return output


def test_stages_that_start_together_share_the_run_of_their_repro_id_and_sigterm_kills_it(
    project: Path,
) -> None:
    (project / "mlflow.db").unlink()  # the first process also creates the tables
    first, second = (
        start(project, *words, BATON_REPRO_ID="ci-1") for words in (["finetune"], ["distill", "wait"])
    )
    finished(first)
    assert second.stdout is not None
    assert any(line == "READY\n" for line in second.stdout)
    second.send_signal(signal.SIGTERM)
    finished(second, 143)
    tracking.sync()  # a stage that was told to stop does not wait for the store
    [(pipeline, children)] = tree().values()
    assert {run.info.run_name: run.info.status for run in children} == {
        "finetune": "FINISHED",
        "distill": "KILLED",
    }
    assert (pipeline.info.status, pipeline.data.tags["baton.repro"]) == ("KILLED", "ci-1")
    assert pipeline.info.run_name.startswith("ci-1 ")
    assert {"finetune/val_accuracy", "distill/val_accuracy"} <= pipeline.data.metrics.keys()
    assert all(run.data.metrics[f"{run.info.run_name}/loss"] == 0.5 for run in children)


def test_stages_find_each_other_by_their_dvc_ancestor_and_sync_ends_them_when_it_is_gone(
    project: Path, tmp_path: Path
) -> None:
    program = tmp_path / "dvc"
    program.write_text(
        "import subprocess, sys\n"
        "for words in ('finetune', 'distill wait'):\n"
        f"    subprocess.run(['sh', '-c', f'exec \"{sys.executable}\" \"{STAGE}\" {{words}}'], check=True)\n"
    )
    process = start(project, "repro", program=program)
    assert process.stdout is not None
    assert sum(line == "READY\n" for line in itertools.islice(process.stdout, 4)) == 2
    assert tracking.sync().ended == 0  # the whole pipeline is alive
    deadline = time.monotonic() + 60
    while (
        not tree() or len(next(iter(tree().values()))[1]) < 2
    ):  # the stages write to the store in the background
        assert time.monotonic() < deadline
        time.sleep(0.2)
    [(pipeline, children)] = tree().values()
    assert names(children) == ["distill", "finetune"]
    assert pipeline.data.tags["mlflow.source.name"] == "dvc repro"
    for each in (*psutil.Process(process.pid).children(recursive=True), process):
        each.kill()
    finished(process, -signal.SIGKILL)
    assert tracking.sync().ended == 2
    [(pipeline, children)] = tree().values()
    assert [pipeline.info.status, *(run.info.status for run in children)] == ["KILLED", "FINISHED", "KILLED"]
    with tracking.stage("finetune", REASONS):
        pass  # without the ancestor: a separate pipeline run
    assert len(tree()) == 2


def test_off_records_nothing_and_imports_nothing(project: Path) -> None:
    (project / "mlflow.db").unlink()
    text = (project / "params.yaml").read_text()
    off = re.sub(r"^tracking:.*?\n\n", "tracking: {kind: off}\n\n", text, flags=re.MULTILINE | re.DOTALL)
    (project / "params.yaml").write_text(off)
    before = sorted(path.name for path in project.iterdir())
    assert f"Run [] {before}" in finished(start(project, "finetune", "off"))
    assert tracking.sync() == tracking.SyncReport()
