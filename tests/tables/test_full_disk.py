"""A disk that is full while rows are kept beside the tables is named, whatever is read at the time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from tests.conftest import ROOT

ROWS, LETTERS = 6000, 700
SCRIPT = """
import resource, signal, sys
from pathlib import Path
from baton import params
from baton.errors import OutputError
from baton.tables import clean, near_candidates

active = params.read()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    clean.clean(Path("data/raw"), Path("data/clean"), active.preprocess, active.task)
except OutputError as error:
    print(error)
"""

SIGNATURES = """
import resource, signal, sys
from pathlib import Path
from baton.errors import OutputError
from baton.tables.near_candidates import Signatures

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with Signatures(Path()) as signatures:
        signatures.append([[f"word {row}"] for row in range(int(sys.argv[1]))])
        list(signatures.candidates(0.9))
except OutputError as error:
    print(error)
"""


def run(script: str, argument: int, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, str(argument)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT}/src:{ROOT}"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_rows(path: Path) -> None:
    texts = [f"text {row} " + "words of a text " * (LETTERS // 16) for row in range(ROWS)]
    labels = ["ab"[row % 2] for row in range(ROWS)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts, "label": labels}), path, compression="zstd")
    else:
        path.write_text(
            "text,label\n" + "".join(f"{text},{label}\n" for text, label in zip(texts, labels, strict=True))
        )


@pytest.mark.parametrize(
    ("name", "bytes_"),
    [("train.parquet", 10**6), ("train.csv", 10**6), ("train.csv", 3_500_000)],
    ids=["rows of Parquet", "rows of CSV", "the end of the rows"],
)
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path, name: str, bytes_: int) -> None:
    raw = params.read_raw(ROOT / "recipes/csv.yaml")
    if name.endswith(".parquet"):
        raw["preprocess"]["format"] = {"kind": "parquet"}
    (tmp_path / "params.yaml").write_text(json.dumps(raw))
    (tmp_path / "data/raw").mkdir(parents=True)
    write_rows(tmp_path / "data/raw" / name)
    (tmp_path / "data/raw/manifest.json").write_text(json.dumps({"files": {"train": {"path": name}}}))
    said = run(SCRIPT, bytes_, tmp_path)
    assert "cannot be written" in said and "free some space" in said
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]


@pytest.mark.parametrize("rows", [4000, 630], ids=["appended", "flushed"])
def test_so_it_is_while_signatures_are_written(tmp_path: Path, rows: int) -> None:
    assert "cannot be written" in run(SIGNATURES, rows, tmp_path)
    assert not [*tmp_path.iterdir()]
