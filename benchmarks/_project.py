"""Projects in which benchmarks run the pipeline: copies of this code with their own params and inbox."""

import copy
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from baton.errors import ModelError

ROOT = Path(__file__).resolve().parent.parent
COPIED = (
    "src",
    "stages",
    "recipes",
    "dvc.yaml",
    "requirements.lock",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",  # DVC refuses outputs that git has
    "inbox/README.md",
)
PROGRAM = "from baton.cli.app import app; app()"  # the commands of `baton`
PHOTOGRAPH, QUALITY = (375, 500), 90  # height and width, and JPEG quality: typical of images on the web


def copied(project: Path) -> Path:
    """Copy the code into a separate project; one that exists goes on with it, and with its caches."""
    for name in COPIED:
        target = project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, target, ignore=left_out, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / name, target)
    for command in (["git", "init", "--quiet"], ["git", "add", "."]):
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    return project


def repro(project: Path, raw: dict[str, Any], stage: str) -> None:
    """Run `dvc repro STAGE` in a project with these params.

    Raises:
        ModelError: it failed.
    """
    YAML(typ="safe", pure=True).dump(raw, project / "params.yaml")
    _run(project, f"dvc repro {stage}", "-m", "dvc", "repro", stage)


def trace(project: Path, path: str) -> dict[str, Any]:
    """Return what `baton trace` says of a file or folder of a project.

    Raises:
        ModelError: it failed.
    """
    told = _run(project, f"baton trace {path}", "-c", PROGRAM, "trace", path, "--json")
    found: dict[str, Any] = json.loads(told)
    return found


def compare(project: Path, *words: str) -> None:
    """Commit what is new in a project, and run `baton compare` there; it prints what it does.

    Raises:
        ModelError: it failed.
    """
    git = ["git", "-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    for command in (["add", "."], ["commit", "--quiet", "--allow-empty", "--message", "code"]):
        subprocess.run([*git, *command], cwd=project, check=True)
    command = [sys.executable, "-c", PROGRAM, "compare", *words]
    result = subprocess.run(command, cwd=project, env=_environment(project), check=False)
    if result.returncode:
        raise ModelError("`baton compare` failed", hint="what it says is above; the same command goes on")


def _run(project: Path, named: str, *words: str) -> str:
    """Run Python with these words in a project, on its own code; return what it printed."""
    result = subprocess.run(
        [sys.executable, *words],
        cwd=project,
        env=_environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        lines = (result.stdout + result.stderr).splitlines()
        raise ModelError(f"`{named}` failed", got="\n".join(lines[-20:]))
    return result.stdout


def _environment(project: Path) -> dict[str, str]:
    return {
        **os.environ,
        "BATON_PYTHON": sys.executable,
        "DVC_SITE_CACHE_DIR": str(project / ".baton/dvc"),
        "PYTHONPATH": str(project / "src"),
    }


def photographs(project: Path, recipe: dict[str, Any], count: int, size: int) -> Path:
    """Make a project from `count` JPEG photographs that the model reads at `size` x `size` pixels.

    All else is as in the recipe. The photographs are crops, at random places, of scikit-learn's two sample
    photographs, one class each: their content does not affect the timing.
    """
    from PIL import Image
    from sklearn import datasets

    copied(project)
    draw = random.Random(0)  # noqa: S311  not for secrets
    height, width = PHOTOGRAPH
    for name in ("china", "flower"):
        whole = Image.fromarray(datasets.load_sample_image(f"{name}.jpg"))
        folder = project / "inbox/images" / name
        folder.mkdir(parents=True)
        for index in range(count // 2):
            left, top = draw.randint(0, whole.width - width), draw.randint(0, whole.height - height)
            whole.crop((left, top, left + width, top + height)).save(
                folder / f"{index:05d}.jpg", quality=QUALITY
            )
    made = copy.deepcopy(recipe)
    made["source"] = {
        "kind": "folder",
        "content": "images",
        "package": None,
        "only": ("*",),
        "label": "folder",
        "folders": {"train": "inbox/images"},
        "licence": "BSD-3-Clause (scikit-learn)",
    }
    made["preprocess"] |= {
        "label_names": {},
        "validation": {"kind": "share", "share": 0.02},
        "test": {"kind": "share", "share": 0.02},
    }
    made["tokenize"] |= {"size": size, "channels": 3}
    repro(project, made, "tokenize")
    return project
