"""A model split over processes (FSDP2, gloo on the CPU): the curve of one process, and checkpoints for any number of them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.train import training

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.alone
STOPPED = 143
FULL = {"sharding": "full"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("sharded")
    training.prepare(made, windows=True)  # documents of several windows: processes have unlike numbers of parts in a step
    run(made, "one", 1, runtime={"sharding": "none"})
    yield made
    shutil.rmtree(made)


def run(folder: Path, out: str, processes: int, code: int = 0, **options: Any) -> str:
    """Train on so many processes; what it said."""
    wanted = {"processes": processes, **FULL, **options.pop("runtime", {})}
    command = [sys.executable, "-m", "tests.train.sharded", str(folder), json.dumps({"out": out, "runtime": wanted, **options})]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout


def points(folder: Path, out: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / f"{out}.json").read_text())
    return found


def assert_close(folder: Path, one: str, other: str, tolerance: float = 1e-4) -> None:
    """The curves agree, and so do the weights."""
    pairs = list(zip(points(folder, one), points(folder, other), strict=True))
    assert len(pairs) > 30
    for first, second in pairs:
        for key in ("loss", "gradient_norm"):
            assert second.get(key) == pytest.approx(first.get(key), abs=tolerance), (key, first, second)
        assert second.get("scores", {}).get("loss") == pytest.approx(first.get("scores", {}).get("loss"), abs=tolerance)
    weights = [load_file(folder / f"{name}.safetensors") for name in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 100 * tolerance


def same(folder: Path, one: str, other: str) -> bool:
    """To the bit."""
    return all((folder / f"{one}{end}").read_bytes() == (folder / f"{other}{end}").read_bytes() for end in (".json", ".safetensors"))


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_split_over_processes_it_is_the_training_of_one(folder: Path, processes: int) -> None:
    run(folder, f"split{processes}", processes)
    assert_close(folder, "one", f"split{processes}")
    assert not same(folder, "one", f"split{processes}"), "equal bits would mean that there was one process"
