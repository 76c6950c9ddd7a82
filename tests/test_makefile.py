"""`make` works in a folder whose name has a space, and in any other."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
# Stands for every program: it notes how it was called, and makes an environment of copies of itself.
PROGRAM = """#!/bin/sh
printf '%s' "$(basename "$0")" >> "$CALLS"; printf ' <%s>' "$@" >> "$CALLS"; echo >> "$CALLS"
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && for name in python dvc baton mlflow; do cp "$0" "$3/bin/$name"; done
fi
"""


@pytest.fixture(params=["plain", "with a space", "it's $HOME (1)"])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / str(request.param)
    folder.mkdir()
    for path in (ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("requirements*.lock")):
        shutil.copy(path, folder)
    (tmp_path / "python").write_text(PROGRAM)
    (tmp_path / "python").chmod(0o755)
    return folder


def make(checkout: Path, *words: str) -> list[str]:
    """Run make with programs that only note how they are called; return the calls."""
    calls = checkout.parent / "calls"
    calls.write_text("")
    own = {"CALLS": str(calls), "PYTHON": str(checkout.parent / "python")}
    done = subprocess.run(
        ["make", *words], cwd=checkout, env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return calls.read_text().splitlines()


def test_the_environment_is_made_once_and_used(checkout: Path) -> None:
    made = make(checkout, "install")
    assert (checkout / ".venv/.runtime").is_file()
    assert sorted(path.name for path in checkout.parent.iterdir()) == sorted(
        ["calls", checkout.name, "python"]
    )
    wanted = f"dvc <config> <--local> <core.site_cache_dir> <{checkout}/.baton/dvc>"
    assert wanted in made
    assert make(checkout, "install") == []
    assert make(checkout, "summary") == ["baton <summary>"]
    assert make(checkout, "ui") == ["baton <ui> <--port> <5000>"]


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_its_prerequisites(checkout: Path, target: str) -> None:
    make(checkout, "--dry-run", target)


def test_only_the_slow_tests_install_spark_and_ray(checkout: Path) -> None:
    """Built is only what has no wheel."""
    calls = {target: " ".join(make(checkout, target)) for target in ("test", "test-slow")}
    assert "requirements-spark.lock" not in calls["test"] and "requirements-ray.lock" not in calls["test"]
    assert "<--no-binary=pyspark> <-r> <requirements-spark.lock>" in calls["test-slow"]
    assert "<--no-build-isolation> <-r> <requirements-ray.lock>" in calls["test-slow"]
    assert make(checkout, "install", "EXTRAS=ray spark") == []
