"""Memory of `preprocess` and `tokenize` grows by a few bytes for each row of a table."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import large_table
from tests import tiny
from tests.raw_tables import write_raw

ROOT = Path(__file__).parents[2]
FEW, MANY = 20_000, 80_000
LETTERS = (1000, 3000)  # of a text; on average:
TEXT = 2000
WHOLE_ROWS = "row_files.Spool = Kept\nclean.stored_rows = SimpleNamespace(StoredRows=whole)"
CODE = """
import sys
from pathlib import Path
from baton import params
from types import SimpleNamespace
from baton.tables import clean, row_files
from tests import data_fixtures

class Kept(list):
    def __init__(self, folder, split):
        pass

    def ended(self):
        return self

def whole(files):
    return list(files[0])

{control}
make = data_fixtures.settings.__wrapped__()
settings = make({{"duplicate": "drop", "near_duplicate": "drop"}}, format={{"kind": "parquet"}})
clean.clean(Path("data/raw"), Path("data/clean"), settings, data_fixtures.CLASSES)
"""
TOKENIZE = """
from pathlib import Path
from baton.arrays import text_arrays
from baton.contracts import task_spec
from baton.texts import document_windows

tokenizer = document_windows.open_tokenizer(Path("base"), 64)
Path("arrays").mkdir(exist_ok=True)
clean = Path("data/clean")
task = task_spec.read_file(clean)
text_arrays.tokenize(clean / "train.parquet", tokenizer, Path("arrays"), 1024, print, task)
"""
PEAK = """
import re
print("PEAK", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders with raw tables of `FEW` and `MANY` rows, and a tiny base model."""
    folder = tmp_path_factory.mktemp("tables")
    words = [f"{one}{other}{last}" for one in "bdfgklm" for other in "aeiou" for last in "nrstlm"]
    pq.write_table(pa.table({"text": [" ".join(words)]}), folder / "words.parquet")
    found = {}
    for rows in (FEW, MANY):
        found[rows] = own = folder / str(rows)
        with pytest.MonkeyPatch.context() as patch:
            (own / "data").mkdir(parents=True)
            patch.chdir(own)
            patch.setattr(large_table, "LETTERS", LETTERS)
            write_raw(train=("train.parquet", b""))
            large_table.write(Path("data/raw/train.parquet"), folder / "words.parquet", rows, seed=0)
            tiny.write_base(Path("base"))
    return found


def peak(folder: Path, code: str) -> int:
    """Run code in a process of its own in a folder; return its peak memory in bytes."""
    command = [sys.executable, "-c", code + PEAK]
    own = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    result = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return 1024 * int(result.stdout.rpartition("PEAK")[2])


def growth(tables: dict[int, Path], code: str) -> float:
    """Return the bytes of memory that each further row takes."""
    return (peak(tables[MANY], code) - peak(tables[FEW], code)) / (MANY - FEW)


def test_memory_of_both_stages_does_not_grow_with_the_texts(tables: dict[int, Path]) -> None:
    assert growth(tables, CODE.format(control="")) < TEXT / 2
    assert growth(tables, TOKENIZE) < TEXT / 4


def test_control_rows_in_memory_do_grow(tables: dict[int, Path]) -> None:
    assert growth(tables, CODE.format(control=WHOLE_ROWS)) > TEXT
