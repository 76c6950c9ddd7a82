"""The import rules of pyproject.toml hold, every module is in a layer, and a broken rule is noticed."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command as c; c(['--no-cache'])"
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}"}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def copied(folder: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "stages", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_import_rules_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("src/baton/storage.py", "from baton.arrays import text_arrays as t", "Layers"),
        ("src/baton/arrays/text_arrays.py", "from baton.models import model_folder as b", "Layers"),
        ("src/baton/predict.py", "def f():\n    from baton import tracking", "Layers"),
        ("src/baton/train/loop.py", "from baton.arrays import text_arrays as t", "The training loop"),
        ("src/baton/tasks/metrics.py", "def f():\n    import torch", "no torch"),
        ("src/baton/tasks/metrics.py", "from baton.runtime import resolve", "no torch"),
        ("stages/finetune.py", "import mlflow", "mlflow only"),
        ("src/baton/tasks/metrics.py", "import matplotlib.pyplot", "matplotlib only"),
    ],
)
def test_a_broken_rule_is_noticed(tmp_path: Path, file: str, line: str, contract: str) -> None:
    folder = copied(tmp_path)
    with (folder / file).open("a", encoding="utf-8") as opened:
        opened.write(f"\n{line}\n")
    result = lint(folder)
    assert result.returncode == 1, result.stdout + result.stderr
    # Modules that import the file may break a rule with it.
    broken = [text for text in result.stdout.splitlines() if " BROKEN" in text]
    assert any(contract in text for text in broken)


def test_every_module_is_in_a_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = " ".join(contracts[0]["layers"]).replace("(", " ").replace(")", " ").split()
    modules = {
        f"baton.{path.stem}"
        for path in (ROOT / "src/baton").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert modules - {"baton.__init__"} <= set(layers)
