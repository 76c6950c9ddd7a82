"""The dialogue between the gate and the processes that hold a model: samples in turns, and dead processes."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import storage
from baton.contracts import task_spec
from baton.errors import ModelError
from baton.evaluate import timing
from baton.lifecycle import test_table
from baton.lifecycle.promotion import scoring
from tests import tiny

ECHO = """
import sys
print("a library says something", flush=True)
print("baton: ready", flush=True)
for line in sys.stdin:
    if line.strip() == "die":
        sys.exit("no such model")
    if line.strip() == "refuse":
        sys.exit("a library warns\\nerror: not this one\\n  got:      a\\n  next:     do b")
    print("baton: " + (line.strip() if line.strip() != "score" else "scored"), flush=True)
"""


@pytest.fixture
def scorer(tmp_path: Path) -> Iterator[scoring._Scorer]:
    """Start a process that answers a sample's index as its seconds."""
    command = [sys.executable, "-c", ECHO]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with (
        (tmp_path / "err").open("w+") as errors,
        subprocess.Popen(command, stderr=errors, **pipes) as process,
    ):  # type: ignore[call-overload]
        yield scoring._Scorer("models:/n/1", process, errors)
        process.kill()


def test_answers_are_told_from_what_else_is_printed(scorer: scoring._Scorer) -> None:
    assert scorer.answer().strip() == "ready"
    assert scorer.ask("score").strip() == "scored"
    assert [scorer.seconds(item) for item in (3, 1, 2)] == [3.0, 1.0, 2.0]
    taken = timing.alternated(
        {"a": scorer.seconds, "b": lambda item: 2.0 * item}, 7, timing.Limits(1, 0.05, 0.0, 0.95)
    )
    assert taken["a"].tolist() == [[0, 1, 2, 3, 4, 5, 6]]


def test_one_that_dies_is_named_with_its_last_words(scorer: scoring._Scorer) -> None:
    scorer.answer()
    with pytest.raises(ModelError, match=r"models:/n/1 cannot be scored[\s\S]*no such model"):
        scorer.ask("die")
    with pytest.raises(ModelError, match="cannot be scored"):
        scorer.ask("1")  # one that died unnoticed; nothing is left to write when the process is closed


def test_an_error_of_ours_is_passed_on_whole(scorer: scoring._Scorer) -> None:
    scorer.answer()
    with pytest.raises(ModelError) as caught:
        scorer.ask("refuse")
    assert str(caught.value) == "models:/n/1 cannot be scored: not this one\n  got:      a\n  next:     do b"


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    import pandas as pd

    class Model:
        def predict(self, some: list[str]) -> pd.DataFrame:
            return pd.DataFrame({"amount": np.ones(len(some)), "probability_grain": 1.0})

    table = test_table.read(tiny.write_clean(tmp_path) / "test.parquet")
    message = r"models:/n/1 does not have the task of .*test\.parquet[\s\S]*amount[\s\S]*label, probability_"
    with pytest.raises(ModelError, match=message):
        scoring._answers(Model(), table, "models:/n/1")


def test_a_row_without_an_answer_is_named(tmp_path: Path) -> None:
    import pandas as pd

    class Model:
        def predict(self, some: list[str]) -> pd.DataFrame:
            sure = np.ones(len(some))
            sure[1] = np.nan
            return pd.DataFrame({"label": "a", "probability_grain": sure})

    table = test_table.read(tiny.write_clean(tmp_path) / "test.parquet")
    with pytest.raises(ModelError, match=rf"no answer for {table.ids[1]} of [\s\S]*probability_grain"):
        scoring._answers(Model(), table, "models:/n/1")


def test_the_process_times_the_samples_that_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time three of ten rows, first to last, in this process, with a model that records what it reads."""
    import mlflow.pyfunc
    import pandas as pd

    texts = [f"text {row}" for row in range(10)]
    pq.write_table(
        pa.table({"id": texts, "text": texts, "label": pa.array([0] * 10, pa.int32())}),
        tmp_path / "test.parquet",
    )
    storage.write_json(tmp_path / "task.json", task_spec.described(tiny.task(*["a"])))
    read: list[list[str]] = []

    class Model:
        def predict(self, some: list[str]) -> pd.DataFrame:
            read.append(some)
            return pd.DataFrame({"label": "a", "probability_a": np.ones(len(some))})

    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "weights").write_bytes(b"12345")
    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda uri: Model())
    monkeypatch.setattr(scoring.tracking, "prepare", lambda: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO("score\n2\n0\n1\n"))
    monkeypatch.setattr(sys, "stdout", said := io.StringIO())
    scoring.main("models:/n/1", str(tmp_path), str(tmp_path / "test.parquet"), str(tmp_path / "out"), "3")
    assert read == [texts, ["text 9"], ["text 0"], [texts[int(timing.spread(10, 3)[1])]]]
    lines = said.getvalue().splitlines()
    assert lines[:2] == ["baton: ready", "baton: scored"]
    assert all(float(line.removeprefix(scoring.MARK)) >= 0 for line in lines[2:]) and len(lines) == 5
    found = scoring._read(tmp_path / "out", np.ones(3), None)
    assert found.answers.to_dict("list") == {"label": ["a"] * 10, "probability_a": [1.0] * 10}
    assert found.size == 5
    assert test_table.read(tmp_path / "test.parquet").ids == texts
