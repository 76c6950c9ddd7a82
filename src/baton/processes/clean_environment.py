"""The environment of a process that runs the code of a model: without credentials.

It keeps what a computation needs and leaves out all the rest, so a name that nobody thought of is left out.
"""

from collections.abc import Mapping
from pathlib import Path

import baton

KEPT = {"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONHASHSEED", "PYTHONUTF8"}
PREFIXES = ("LC_", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "CUDA_", "NVIDIA_", "CUBLAS_", "TORCH_NUM")
SOURCE = Path(baton.__path__[0]).parent  # of the code that runs, wherever it is installed


def scrubbed(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the variables that a computation needs, with `home` in place of the user's own folder."""
    kept = {name: value for name, value in environment.items() if name in KEPT or name.startswith(PREFIXES)}
    return kept | {
        "HOME": str(home),
        "PYTHONPATH": str(SOURCE),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
