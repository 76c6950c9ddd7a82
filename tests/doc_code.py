"""The Python scripts in pages of docs/, as users run them: extracted, with paths of a test in them."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = "/shared/"  # stands in the pages for a folder that all machines reach
SECONDS = 900


def script(page: str) -> str:
    """Return the only script in a page of docs/."""
    (found,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL
    )
    return str(found)


def environment(own: dict[str, str]) -> dict[str, str]:
    """Return the environment of a user, with these variables.

    The model brings its code: nothing of this checkout is needed. Spark and Ray choose the threads.
    """
    return {name: os.environ[name] for name in {*os.environ} - {"PYTHONPATH", "OMP_NUM_THREADS"}} | own


def run(code: str, folder: Path, own: dict[str, str]) -> str:
    """Run a script in a process whose `/shared/` is `folder`; return what it wrote, or fail with that."""
    path = folder / "script.py"
    path.write_text(code.replace(SHARED, f"{folder}/"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", path.name],
        cwd=folder,
        env=environment(own),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout
