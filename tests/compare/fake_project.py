"""A project whose stages make up their outputs: everything around them is real."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
BATON = (sys.executable, "-c", "from baton.cli.app import app; app()", "compare")
GRAPH = """
stages:
  preprocess:
    cmd: {python} src/fake_stage.py preprocess
    params: [preprocess]
    deps: [src/fake_stage.py]
    outs: [data/clean]
  finetune:
    cmd: {python} src/fake_stage.py finetune
    params: [finetune]
    deps: [src/fake_stage.py, data/clean]
    outs: [models/teacher, data/predictions/teacher, data/predictions/seeds/teacher]
    metrics: [{{metrics/finetune.json: {{cache: false}}}}]
"""
STRATEGIES = """
stage: finetune
labels: preprocess.limit.train
strategies:
  full: {finetune: {learning_rate: 1e-4}}
  low: {finetune: {learning_rate: 1e-5, head: {kind: linear, pooling: cls, dropout: 0.0}}}
  unlucky: {finetune: {epochs: 13}}
"""


def make(folder: Path) -> Path:
    """Make and commit a project."""
    (folder / "src").mkdir(parents=True)
    shutil.copy(ROOT / "tests/compare/fake_stage.py", folder / "src")
    for name in ("params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    (folder / "dvc.yaml").write_text(GRAPH.format(python=sys.executable))
    (folder / "strategies.yaml").write_text(STRATEGIES)
    for words in (
        ["git", "init", "--quiet"],
        [sys.executable, "-m", "dvc", "init", "--quiet"],
        ["git", "add", "."],
    ):
        subprocess.run(words, cwd=folder, check=True)
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *author, "commit", "--quiet", "--message", "first"], cwd=folder, check=True)
    return folder


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `baton compare` in a project."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "DVC_SITE_CACHE_DIR": str(folder / ".baton/dvc"),
        "COLUMNS": "100",
    }
    return subprocess.Popen(
        [*BATON, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run `baton compare` in a project; return what it prints."""
    with start(folder, *arguments) as process:
        output, _ = process.communicate(timeout=240)
    assert process.returncode == code, output
    return output


def working(folder: Path) -> list[psutil.Process]:
    """Processes that work in a project or its private copy."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
