"""Score registered models on the test table, each in a separate process so that no model can affect another.

    python -m baton.lifecycle.promotion.scoring MODEL FOLDER TABLE OUT LATENCY_SAMPLES

MODEL is `models:/NAME/VERSION`, FOLDER has its files (`lifecycle.verified`), TABLE is a Parquet table such as
data/clean/test.parquet. The model is loaded as its users load it (`mlflow.pyfunc.load_model`) and reads raw
texts or encoded images. Its code gets no credentials: the process has a scrubbed environment and knows no
store. The folder OUT holds
its answers (Parquet, one row per row of TABLE) and its size in bytes. Models are loaded in parallel, which
takes longest, and scored one after the other; then they take turns at single samples, so that a busy machine
slows all of them alike. A process does what each line on its standard input asks for: `score`, or the index
of a sample to time; its answer is a line that begins with `MARK`.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton import console, storage, tracking
from baton.contracts import text_pairs
from baton.errors import ModelError
from baton.evaluate import timing
from baton.lifecycle import test_table
from baton.lifecycle.promotion.gate import Scored
from baton.lifecycle.promotion.verdicts import SOME
from baton.processes import clean_environment
from baton.tasks import task_figures

ANSWERS, SIZE = "answers.parquet", "size.json"  # of one process
MARK = "baton: "  # distinguishes answers from what libraries print
# Limits of the timing; the first round is a warm-up.
LIMITS = timing.Limits(rounds=1, precision=0.05, seconds=30.0, confidence=0.95)


def score(
    models: Mapping[str, frozenset[str] | None],
    folders: Sequence[Path],
    table: test_table.Table,
    latency_samples: int,
) -> dict[str, Scored]:
    """Score each model in a new process.

    Args:
        models: address, `models:/NAME/VERSION` -> digests of the rows it was trained on.
        folders: the verified files of each.
        table: the test table.
        latency_samples: the number of single samples to time, spread over the table.

    Raises:
        ModelError: a model cannot be loaded, has another task, or has no answer for a row.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started: dict[str, _Scorer] = {}
        for place, (uri, files) in enumerate(zip(models, folders, strict=True)):
            command = [
                *(sys.executable, "-m", "baton.lifecycle.promotion.scoring"),
                *(uri, str(files), str(table.path), str(folder / str(place)), str(latency_samples)),
            ]
            errors = stack.enter_context((folder / f"{place}.err").open("w+"))
            process = subprocess.Popen(
                command,
                env=clean_environment.scrubbed(os.environ, folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
            )
            started[uri] = _Scorer(uri, stack.enter_context(process), errors)
            stack.callback(process.kill)  # before the wait for it
        for scorer in started.values():
            scorer.answer()  # ready
        for scorer in started.values():
            scorer.ask("score")
        timers = {uri: scorer.seconds for uri, scorer in started.items()}
        taken = timing.alternated(timers, len(timing.spread(len(table.ids), latency_samples)), LIMITS)
        return {
            uri: _read(folder / str(place), 1000 * taken[uri].ravel(), rows)
            for place, (uri, rows) in enumerate(models.items())
        }


@dataclass(frozen=True)
class _Scorer:
    """A process that has loaded a model."""

    uri: str
    process: subprocess.Popen[str]
    errors: IO[str]

    def ask(self, line: str) -> str:
        """Send a line; return the answer."""
        assert self.process.stdin
        try:
            self.process.stdin.write(f"{line}\n")
        except BrokenPipeError:  # the process is dead, and `answer` says why
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()  # now: otherwise closing at exit would try to write the rest again
        return self.answer()

    def answer(self) -> str:
        """Return the next line marked as an answer.

        Raises:
            ModelError: the process died.
        """
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(MARK):
                return line.removeprefix(MARK)
        self.process.wait()
        self.errors.seek(0)
        text = self.errors.read().strip()
        if own := re.search(r"^error: (.*)", text, re.MULTILINE | re.DOTALL):  # as `console.run` prints it
            raise ModelError(f"{self.uri} cannot be scored: {own[1]}")
        lines = text.splitlines()
        got = lines[-1] if lines else f"exit code {self.process.returncode}"
        raise ModelError(
            f"{self.uri} cannot be scored", got=got, hint="check whether mlflow.pyfunc.load_model can load it"
        )

    def seconds(self, item: int) -> float:
        """Return the seconds that the model takes for one sample."""
        return float(self.ask(str(item)))


def _read(path: Path, latencies: NDArray[np.float64], training_rows: frozenset[str] | None) -> Scored:
    size = int(storage.read_json(path / SIZE)["bytes"])
    return Scored(pd.read_parquet(path / ANSWERS), size, latencies, training_rows)


def main(uri: str, files: str, path: str, out: str, samples: str) -> None:
    """Run the scoring process."""
    tracking.prepare()
    import mlflow

    table, folder, results = test_table.read(Path(path)), Path(files), Path(out)
    results.mkdir(parents=True)
    model = mlflow.pyfunc.load_model(str(folder))
    _refuse_half_a_pair(model, table, uri)
    timed: list[Any] = []
    _say("ready")
    for line in sys.stdin:  # until the parent is done or gone
        if line.strip() == "score":
            _answers(model, table, uri).to_parquet(results / ANSWERS)
            size = sum(file.stat().st_size for file in (folder / "artifacts").rglob("*") if file.is_file())
            storage.write_json(results / SIZE, {"bytes": size})
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
    """Return the model's inputs for `count` rows, spread over the table."""
    wanted = set(timing.spread(len(table.ids), count).tolist())
    rows = (sample for some in table.inputs() for sample in some)
    return [sample for row, sample in enumerate(islice(rows, max(wanted) + 1)) if row in wanted]


def _refuse_half_a_pair(model: Any, table: test_table.Table, uri: str) -> None:
    """Refuse a model of single texts if rows are pairs: MLflow would give it the first text alone."""
    if table.kind != "text" or len(text_pairs.columns(table.path)) == 1:
        return
    schema = model.metadata.get_input_schema()
    if schema is not None and len(schema.inputs) == 1:
        raise ModelError(
            f"{uri} reads one text, and the rows of {table.path} are pairs of texts",
            got="1 column in the model's signature",
            expected="2",
            hint="register a model trained on this data, or set promotion.test to a table of single texts",
        )


def _answers(model: Any, table: test_table.Table, uri: str) -> pd.DataFrame:
    """Return what the model answers for each row of the table."""
    found: pd.DataFrame = pd.concat([model.predict(some) for some in table.inputs()], ignore_index=True)
    known, expected = list(found.columns), list(task_figures.of(table.task).columns)
    if expected[0] not in known:
        raise ModelError(
            f"{uri} does not have the task of {table.path}",
            got=f"columns {', '.join(map(str, known[:SOME]))}, …",
            expected=f"columns {', '.join(expected[:SOME])}, …",
            hint="register a model trained on this data, or set promotion.test to a table of its task",
        )
    if found.isna().any(axis=None):
        row, column = (int(place[0]) for place in found.isna().to_numpy().nonzero())
        raise ModelError(
            f"{uri} has no answer for {table.ids[row]} of {table.path}",
            got=f"an empty cell in the column {known[column]}",
            expected="a value for every row",
            hint="check what the model predicts for this row; if it diverged, lower learning_rate",
        )
    inputs = (one for some in table.inputs() for one in some)
    return task_figures.aligned(table.task, found, inputs, table.targets)


if __name__ == "__main__":
    console.run(lambda: main(*sys.argv[1:]))
