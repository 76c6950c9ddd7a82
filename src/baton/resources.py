"""Files that projects are made of: recipes, the stages, dvc.yaml and the locks.

In a checkout of this repository they are the checkout's own. A wheel has them in `baton/_project`; the
projects that `baton new` makes have no code of Baton and run the stages from there.
"""

import sys
from pathlib import Path

PACKAGED = Path(__file__).parent / "_project"
LAUNCHER = Path("stages/run")


def root() -> Path:
    """Return the folder that has them."""
    return PACKAGED if PACKAGED.is_dir() else Path(__file__).parents[2]


def stage(name: str, *words: str, folder: Path = Path()) -> list[str]:
    """Return the command of a stage in a project's folder: of its own code, or of the installed one."""
    if (folder / LAUNCHER).is_file():
        return ["sh", str(LAUNCHER), name, *words]
    where = [f"BATON_HOME={root()}", f"BATON_PYTHON={sys.executable}"]
    return ["env", *where, "sh", str(root() / LAUNCHER), name, *words]


def package() -> Path:
    """Return the folder of the package `baton`."""
    return Path(__file__).parent
