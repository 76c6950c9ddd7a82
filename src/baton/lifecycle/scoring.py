"""Score one registered model on the test table, in a process of its own: nothing of one model can reach the other.

    python -m baton.lifecycle.scoring models:/NAME/VERSION data/clean/test.parquet OUT.npz LATENCY_SAMPLES

The model is loaded as its users load it (`mlflow.pyfunc.load_model`) and reads raw texts. OUT.npz holds its classes, probabilities (rows,
classes), bytes and the median time of single texts in ms.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from baton import console, tracking
from baton.errors import ModelError
from baton.lifecycle import tables
from baton.lifecycle.gate import Scored

PREFIX = "probability_"
WARM_UP = 3  # texts


def score(uri: str, table: tables.Table, store: str, latency_samples: int, training_rows: frozenset[str] | None) -> Scored:
    """Score a model in a new process.

    Args:
        uri: of the model, `models:/NAME/VERSION`.
        table: what it is scored on.
        store: the address of tracking store and registry.
        latency_samples: single texts that are timed.
        training_rows: digests of the rows it was trained on.

    Raises:
        ModelError: it cannot be loaded or gives no such table of probabilities.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scored.npz"
        command = [sys.executable, "-m", "baton.lifecycle.scoring", uri, str(table.path), str(out), str(latency_samples), store]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            hint = f"run `{' '.join(command[1:4])} …` to see all of it"
            raise ModelError(f"{uri} cannot be scored", got=lines[-1] if lines else f"exit code {done.returncode}", hint=hint)
        with np.load(out, allow_pickle=False) as found:
            costs = int(found["size"]), float(found["latency"])
            return Scored([str(name) for name in found["classes"]], found["probabilities"], *costs, training_rows)


def main(uri: str, path: str, out: str, samples: str, store: str) -> None:
    """What the new process does."""
    tracking.prepare()
    import mlflow

    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    table = tables.read(Path(path))
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    model = mlflow.pyfunc.load_model(str(folder))
    found = model.predict(table.texts)
    columns = [name for name in found.columns if name.startswith(PREFIX)]
    probabilities: NDArray[np.float64] = found[columns].to_numpy(dtype=np.float64)
    if not columns or not np.isfinite(probabilities).all():
        raise ModelError(f"{uri} gives no probabilities", got=", ".join(map(str, found.columns)), expected=f"columns {PREFIX}CLASS")
    seconds = []
    for text in table.texts[: WARM_UP + int(samples)]:
        start = time.perf_counter()
        model.predict([text])
        seconds.append(time.perf_counter() - start)
    size = sum(file.stat().st_size for file in (folder / "artifacts").rglob("*") if file.is_file())
    latency = 1000 * statistics.median(seconds[WARM_UP:] or seconds)
    np.savez(out, classes=[name.removeprefix(PREFIX) for name in columns], probabilities=probabilities, size=size, latency=latency)


if __name__ == "__main__":
    console.run(lambda: main(*sys.argv[1:]))
