"""Projects in which benchmarks run the pipeline: copies of this code with their own params and inbox."""

import copy
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
    "inbox/README.md",
)
PHOTOGRAPH, QUALITY = (375, 500), 90  # height and width, and JPEG quality: typical of images on the web


def copied(project: Path) -> Path:
    """Copy the code into a separate project."""
    for name in COPIED:
        target = project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
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
    environment = {
        **os.environ,
        "BATON_PYTHON": sys.executable,
        "DVC_SITE_CACHE_DIR": str(project / ".baton/dvc"),
    }
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", stage],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise ModelError(
            f"`dvc repro {stage}` failed", got="\n".join((result.stdout + result.stderr).splitlines()[-20:])
        )


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
