"""The curve of fine-tuned models: DVC experiments around made-up stages, each of which runs once."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import storage
from tests.compare import fake_project

pytestmark = [pytest.mark.slow, pytest.mark.alone]
PROGRAM = """
from pathlib import Path
from baton import params
from baton.labelling import report
from baton.cli import growth_commands
found = growth_commands._finetuned(params.read(), [50], "1,2")
report.write(Path("curve"), [found], 0.95)
"""


def run(folder: Path) -> str:
    own = {
        "PYTHONPATH": str(fake_project.ROOT / "src"),
        "DVC_SITE_CACHE_DIR": str(folder / ".baton/dvc"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_point_is_an_experiment_that_runs_once(tmp_path: Path) -> None:
    project = fake_project.make(tmp_path / "project")
    arrays = project / "data/arrays"
    arrays.mkdir(parents=True)
    for split, rows in (("train", 80), ("val", 20)):
        ids = pa.table({"id": [f"{split}:{row}" for row in range(rows)]})
        pq.write_table(ids, arrays / f"{split}.ids.parquet")
    assert "[10/10] recipe, all labels, seed 2" in run(project)
    found = storage.read_json(project / "curve/curve.json")["curves"]["finetune"]
    assert (found["labels"], found["rows"], found["draws"], found["split"]) == (80, 60, 2, "test")
    before = (project / "curve/curve.csv").read_bytes()
    assert [line.split(",")[2] for line in before.decode().splitlines()[1:]] == ["5", "10", "20", "40", "80"]
    assert "10 experiments, 10 are done" in run(project)
    assert (project / "curve/curve.csv").read_bytes() == before
