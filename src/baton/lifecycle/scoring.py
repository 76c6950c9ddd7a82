"""Score registered models on the test table, each in a process of its own: nothing of one model can reach the other.

    python -m baton.lifecycle.scoring models:/NAME/VERSION data/clean/test.parquet OUT.npz LATENCY_SAMPLES STORE

The model is loaded as its users load it (`mlflow.pyfunc.load_model`) and reads raw texts or encoded images. OUT.npz holds its classes,
probabilities (rows, classes), bytes and the median time of single samples in ms. Models are loaded side by side, which takes longest, and
scored one after the other: a process says when it is ready and waits for a line.
"""

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import console, tracking
from baton.errors import ModelError
from baton.lifecycle import tables
from baton.lifecycle.gate import Scored

PREFIX = "probability_"
WARM_UP = 3  # samples


def score(models: Mapping[str, frozenset[str] | None], table: tables.Table, store: str, latency_samples: int) -> dict[str, Scored]:
    """Score each model in a new process.

    Args:
        models: address, `models:/NAME/VERSION` -> digests of the rows it was trained on.
        table: what they are scored on.
        store: the address of tracking store and registry.
        latency_samples: single samples that are timed.

    Raises:
        ModelError: one cannot be loaded or gives no such table of probabilities.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started = {}
        for place, uri in enumerate(models):
            command = [sys.executable, "-m", "baton.lifecycle.scoring", uri, str(table.path), str(folder / f"{place}.npz")]
            errors = stack.enter_context((folder / f"{place}.err").open("w+"))
            process = subprocess.Popen(
                [*command, str(latency_samples), store], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            started[uri] = stack.enter_context(process), errors
            stack.callback(process.kill)  # before it is waited for; none is left when all went well
        for process, _ in started.values():
            assert process.stdout
            process.stdout.readline()  # ready, or dead
        for uri, (process, errors) in started.items():
            process.communicate("\n")
            if process.returncode:
                errors.seek(0)
                lines = errors.read().strip().splitlines()
                got = lines[-1] if lines else f"exit code {process.returncode}"
                raise ModelError(f"{uri} cannot be scored", got=got, hint="see whether mlflow.pyfunc.load_model can load it")
        return {uri: _read(folder / f"{place}.npz", rows) for place, (uri, rows) in enumerate(models.items())}


def _read(path: Path, training_rows: frozenset[str] | None) -> Scored:
    with np.load(path, allow_pickle=False) as found:
        costs = int(found["size"]), float(found["latency"])
        return Scored([str(name) for name in found["classes"]], found["probabilities"], *costs, training_rows)


def main(uri: str, path: str, out: str, samples: str, store: str) -> None:
    """What the new process does."""
    tracking.prepare()
    import mlflow

    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    table = tables.read(Path(path))
    fetched = Path(out).with_suffix("")
    fetched.mkdir()
    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(fetched)))
    model = mlflow.pyfunc.load_model(str(folder))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if not sys.stdin.readline():
        raise SystemExit  # who asked is gone
    names, probabilities = _probabilities(model, table, uri)
    seconds = []
    for sample in islice(chain.from_iterable(table.inputs()), WARM_UP + int(samples)):
        start = time.perf_counter()
        model.predict([sample])
        seconds.append(time.perf_counter() - start)
    size = sum(file.stat().st_size for file in (folder / "artifacts").rglob("*") if file.is_file())
    latency = 1000 * statistics.median(seconds[WARM_UP:] or seconds)
    np.savez(out, classes=names, probabilities=probabilities, size=size, latency=latency)


def _probabilities(model: Any, table: tables.Table, uri: str) -> tuple[list[str], NDArray[np.float64]]:
    """Classes, and what the model makes of each row, (rows, classes)."""
    frames = [model.predict(some) for some in table.inputs()]
    columns = [name for name in frames[0].columns if name.startswith(PREFIX)]
    found: NDArray[np.float64] = np.concatenate([frame[columns].to_numpy(dtype=np.float64) for frame in frames])
    if not columns or not np.isfinite(found).all():
        raise ModelError(f"{uri} gives no probabilities", got=", ".join(map(str, frames[0].columns)), expected=f"columns {PREFIX}CLASS")
    return [name.removeprefix(PREFIX) for name in columns], found


if __name__ == "__main__":
    console.run(lambda: main(*sys.argv[1:]))
