"""Put what `baton new` needs of this repository's root into the wheel, in baton/_project."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PROJECT = (
    ".dvcignore",
    ".github/workflows/retrain*.yml",
    ".gitignore",
    "dvc.yaml",
    "params.yaml",
    "strategies.yaml",
    "requirements*.lock",
    "recipes/*.yaml",
    "stages/*.py",
    "stages/run",
)
OURS = ("requirements-dev.lock",)


class BuildPy(build_py):  # noqa: D101
    def run(self) -> None:  # noqa: D102
        super().run()
        if self.editable_mode:
            return  # a checkout has them where they are
        for path in (path for pattern in PROJECT for path in sorted(Path().glob(pattern))):
            if path.name not in OURS:
                target = Path(self.build_lib, "baton/_project", path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)


setup(cmdclass={"build_py": BuildPy})
