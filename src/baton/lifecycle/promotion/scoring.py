"""Score registered models on the test table, each in a process of its own: nothing of one model can reach the other.

    python -m baton.lifecycle.promotion.scoring models:/NAME/VERSION data/clean/test.parquet OUT.npz LATENCY_SAMPLES STORE

The model is loaded as its users load it (`mlflow.pyfunc.load_model`) and reads raw texts or encoded images. OUT.npz holds its classes,
probabilities (rows, classes) and bytes. Models are loaded side by side, which takes longest, and scored one after the other; then they take
turns at single samples, so that a machine which others use too slows all alike. A process does what a line on its input asks for: `score`,
or the place of a sample to time; its answer is a line that begins with `MARK`.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from baton import console, tracking
from baton.errors import ModelError
from baton.evaluate import timing
from baton.lifecycle import test_table
from baton.lifecycle.promotion.gate import Scored

PREFIX = "probability_"
MARK = "baton: "  # a library may print too
LIMITS = timing.Limits(
    rounds=1, precision=0.05, seconds=30.0, confidence=0.95
)  # of timing; the first round warms up


def score(
    models: Mapping[str, frozenset[str] | None], table: test_table.Table, store: str, latency_samples: int
) -> dict[str, Scored]:
    """Score each model in a new process.

    Args:
        models: address, `models:/NAME/VERSION` -> digests of the rows it was trained on.
        table: what they are scored on.
        store: the address of tracking store and registry.
        latency_samples: single samples that are timed, from all over the table.

    Raises:
        ModelError: one cannot be loaded or gives no such table of probabilities.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started: dict[str, _Scorer] = {}
        for place, uri in enumerate(models):
            command = [
                sys.executable,
                "-m",
                "baton.lifecycle.promotion.scoring",
                uri,
                str(table.path),
                str(folder / f"{place}.npz"),
            ]
            errors = stack.enter_context((folder / f"{place}.err").open("w+"))
            process = subprocess.Popen(
                [*command, str(latency_samples), store],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
            )
            started[uri] = _Scorer(uri, stack.enter_context(process), errors)
            stack.callback(process.kill)  # before it is waited for
        for scorer in started.values():
            scorer.answer()  # ready
        for scorer in started.values():
            scorer.ask("score")
        timers = {uri: scorer.seconds for uri, scorer in started.items()}
        taken = timing.alternated(timers, len(timing.spread(len(table.ids), latency_samples)), LIMITS)
        return {
            uri: _read(folder / f"{place}.npz", 1000 * taken[uri].ravel(), rows)
            for place, (uri, rows) in enumerate(models.items())
        }


@dataclass(frozen=True)
class _Scorer:
    """A process that has loaded a model."""

    uri: str
    process: subprocess.Popen[str]
    errors: IO[str]

    def ask(self, line: str) -> str:
        """Its answer to a line."""
        assert self.process.stdin
        try:
            self.process.stdin.write(f"{line}\n")
        except BrokenPipeError:  # it is dead, and `answer` says why
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()  # now, as what could not be written would be tried again when everything ends
        return self.answer()

    def answer(self) -> str:
        """The next line that it marks as an answer.

        Raises:
            ModelError: it died.
        """
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(MARK):
                return line.removeprefix(MARK)
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        got = lines[-1] if lines else f"exit code {self.process.returncode}"
        raise ModelError(
            f"{self.uri} cannot be scored", got=got, hint="see whether mlflow.pyfunc.load_model can load it"
        )

    def seconds(self, item: int) -> float:
        """How long the model takes for a sample."""
        return float(self.ask(str(item)))


def _read(path: Path, latencies: NDArray[np.float64], training_rows: frozenset[str] | None) -> Scored:
    with np.load(path, allow_pickle=False) as found:
        return Scored(
            [str(name) for name in found["classes"]],
            found["probabilities"],
            int(found["size"]),
            latencies,
            training_rows,
        )


def main(uri: str, path: str, out: str, samples: str, store: str) -> None:
    """What the new process does."""
    tracking.prepare()
    import mlflow

    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    table = test_table.read(Path(path))
    fetched = Path(out).with_suffix("")
    fetched.mkdir()
    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(fetched)))
    model = mlflow.pyfunc.load_model(str(folder))
    timed: list[Any] = []
    _say("ready")
    for line in sys.stdin:  # until who asks is done, or gone
        if line.strip() == "score":
            names, probabilities = _probabilities(model, table, uri)
            size = sum(file.stat().st_size for file in (folder / "artifacts").rglob("*") if file.is_file())
            np.savez(out, classes=names, probabilities=probabilities, size=size)
            timed = _samples(table, int(samples))
            _say("scored")
        else:
            start = time.perf_counter()
            model.predict([timed[int(line)]])
            _say(repr(time.perf_counter() - start))


def _say(answer: str) -> None:
    sys.stdout.write(f"{MARK}{answer}\n")
    sys.stdout.flush()


def _samples(table: test_table.Table, count: int) -> list[Any]:
    """What a model reads of so many rows from all over the table."""
    wanted = set(timing.spread(len(table.ids), count).tolist())
    rows = (sample for some in table.inputs() for sample in some)
    return [sample for row, sample in enumerate(islice(rows, max(wanted) + 1)) if row in wanted]


def _probabilities(model: Any, table: test_table.Table, uri: str) -> tuple[list[str], NDArray[np.float64]]:
    """Classes, and what the model makes of each row, (rows, classes)."""
    frames = [model.predict(some) for some in table.inputs()]
    columns = [name for name in frames[0].columns if name.startswith(PREFIX)]
    found: NDArray[np.float64] = np.concatenate(
        [frame[columns].to_numpy(dtype=np.float64) for frame in frames]
    )
    if not columns or not np.isfinite(found).all():
        raise ModelError(
            f"{uri} gives no probabilities",
            got=", ".join(map(str, frames[0].columns)),
            expected=f"columns {PREFIX}CLASS",
        )
    return [name.removeprefix(PREFIX) for name in columns], found


if __name__ == "__main__":
    console.run(lambda: main(*sys.argv[1:]))
