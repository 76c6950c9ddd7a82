"""`baton compare REV REV`: rows are paired by id and content, and nothing in the project changes."""

import csv
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from baton import storage
from baton.cli.app import app
from baton.compare.revisions import by_slice, changes, job
from baton.compare.revisions.pairing import AFTER, BEFORE, Pairs
from baton.contracts import predictions, task_spec
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Classes
from baton.errors import BatonError, DataError, ParamsError
from baton.evaluate import row_groups
from baton.evaluate.report import differences
from baton.tasks import figure_scale
from baton.workspace import dvc_graph
from tests.evaluate.report import made_up
from tests.workspace.conftest import git

NAMES = ("corn", "ship", "wheat")
OUTS = {"preprocess": ["data/clean"], "distill": ["data/predictions/student", "models/student"]}
ROWS = 200
SITE = ["north" if row % 4 else "south" for row in range(ROWS)]
LABELS = [row % 3 for row in range(ROWS)]
Write = Callable[..., str]


def write(
    said: Sequence[int],
    labels: Sequence[int] = LABELS,
    ids: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    names: tuple[str, ...] = NAMES,
) -> None:
    """Write what stages would write, of a student that says these classes."""
    rows = len(said)
    ids = ids or [f"test:{row}" for row in range(rows)]
    texts = texts or [f"text of row {row}" for row in range(rows)]
    clean = Path("data/clean")
    clean.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "id": pa.array(ids),
            "text": pa.array(list(texts)),
            "label": pa.array(list(labels[:rows]), pa.int32()),
            "site": pa.array(SITE[:rows]),
        }
    )
    for split in ("test", "val"):
        pq.write_table(table, clean / f"{split}.parquet")
    storage.write_json(clean / task_spec.FILE, task_spec.described(Classes(names)))
    storage.write_json(clean / "report.json", {"near_duplicates": {"test_rows": []}})
    logits = np.zeros((rows, len(names)), np.float32)
    logits[np.arange(rows), list(said)] = 3
    for split in ("test", "val"):
        predictions.write_predictions(Path(f"data/predictions/student/{split}.parquet"), ids, logits)
    storage.write_json(Path("models/student/baton.json"), {"fitted": {"temperature": 1.0}})


def digest(path: Path, cache: Path) -> str:
    """Put a folder into a cache as DVC does; return its digest."""
    listed = []
    for file in sorted(path.rglob("*")):
        if file.is_file():
            md5 = put(file.read_bytes(), cache, "")
            listed.append({"md5": md5, "relpath": file.relative_to(path).as_posix()})
    return put(json.dumps(listed).encode(), cache, ".dir")


def put(content: bytes, cache: Path, ending: str) -> str:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + ending
    place = cache / "files/md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return md5


@pytest.fixture
def commit(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return `commit(said, **more)`, which writes and commits a revision and returns its commit."""
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "cache"
    monkeypatch.setattr(dvc_graph, "_cache", lambda project: cache)
    shutil.copy(root / "params.yaml", "params.yaml")
    Path("dvc.yaml").write_text("stages: {}\n")
    Path(".gitignore").write_text("/data\n/models\n/reports\n/cache\n")
    git("init", "--quiet")

    def make(said: Sequence[int], **more: Any) -> str:
        for stale in ("data", "models"):
            shutil.rmtree(stale, ignore_errors=True)
        write(said, **more)
        stages = {
            name: {"cmd": "x", "outs": [{"path": out, "md5": digest(Path(out), cache)} for out in outs]}
            for name, outs in OUTS.items()
        }
        Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
        git("add", ".")
        git("commit", "--quiet", "--allow-empty", "--message", "x")
        return git("rev-parse", "HEAD").strip()

    return make


def wrong_on(rows: Sequence[int]) -> list[int]:
    return [(label + 1) % 3 if row in set(rows) else label for row, label in enumerate(LABELS)]


def rows_of(folder: Path, name: str = "rows.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def compared(before: str, after: str | None, model: str = "student") -> Path:
    return job.compare(job.Options(before, after, model, "test"))


def state() -> set[tuple[str, str]]:
    own = [path for path in Path().rglob("*") if path.is_file() and ".git/" not in path.as_posix()]
    return {
        (path.as_posix(), storage.sha256(path)) for path in own if not {"reports", ".baton"} & set(path.parts)
    }


def test_rows_that_changed_and_whether_it_is_significant(
    commit: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    first = commit(wrong_on(range(60)))
    second = commit(wrong_on([*range(30, 60), 70]))
    before = state()
    folder = compared(first, "HEAD")
    said = " ".join(capsys.readouterr().out.split())
    assert state() == before, "the working tree is as it was"
    assert folder == Path(f"reports/compare/{first[:8]}..{second[:8]}")
    assert "Rows that changed: 1 right to wrong, 30 wrong to right" in said
    assert "70.00%" in said and "84.50%" in said and "+14.5 points" in said and "p < 0.001" in said
    assert "HEAD is better in accuracy" in said
    rows = rows_of(folder)
    assert [row["id"] for row in rows] == ["test:70", *(f"test:{row}" for row in range(30))]
    assert rows[0] == {
        "id": "test:70",
        "change": "right to wrong",
        "score_before": "1",
        "score_after": "0",
        "actual": NAMES[LABELS[70]],
        "before": NAMES[LABELS[70]],
        "after": NAMES[(LABELS[70] + 1) % 3],
        "text": "text of row 70",
    }
    assert "select on test" in said


def test_slices_name_where_the_difference_is(commit: Write, capsys: pytest.CaptureFixture[str]) -> None:
    south = [row for row in range(ROWS) if SITE[row] == "south"]
    first, second = commit(wrong_on(south[:30])), commit(wrong_on([]))
    found = {row["value"]: row for row in rows_of(compared(first, second), "slices.csv")}
    said = " ".join(capsys.readouterr().out.split())
    assert float(found["south"]["difference"]) == pytest.approx(0.6) and found["south"]["rows"] == "50"
    assert float(found["south"]["holm_p"]) < 0.001 and float(found["north"]["holm_p"]) == 1
    assert "column site" in said and "south" in said and "north" not in said


def test_the_same_answers_show_no_difference(commit: Write, capsys: pytest.CaptureFixture[str]) -> None:
    first = commit(wrong_on([1, 2]))
    folder = compared(first, None)
    said = " ".join(capsys.readouterr().out.split())
    assert rows_of(folder) == [] and folder.name == f"{first[:8]}..workspace"
    assert "Rows that changed: none" in said and "do not differ significantly" in said


def test_the_working_tree_is_compared_if_one_revision_is_named(
    commit: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    first = commit(wrong_on([]))
    write(wrong_on([5]))
    assert [row["id"] for row in rows_of(compared(first, None))] == ["test:5"]


def test_rows_are_paired_by_id_and_content(commit: Write, capsys: pytest.CaptureFixture[str]) -> None:
    first = commit(wrong_on([0, 1, 2]))
    order = [2, 0, 1, 3]
    texts = [f"text of row {row}" for row in order[:3]] + ["another text"]
    second = commit(
        [LABELS[row] for row in order],
        labels=[LABELS[2], LABELS[0], (LABELS[1] + 1) % 3, LABELS[3]],
        ids=[f"test:{row}" for row in order],
        texts=texts,
    )
    folder = compared(first, second)
    told = capsys.readouterr()
    said = " ".join((told.out + told.err).split())
    assert f"3 rows of test that both have ({first} has 200" in said
    assert "left out, as their content differs: 1 id" in said and "labelled again: 1 row;" in said
    found = {row["id"]: row["change"] for row in rows_of(folder)}
    assert found == {"test:2": "wrong to right", "test:0": "wrong to right", "test:1": "right to wrong"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda: ("nothing", None), ParamsError, "there is no revision nothing"),
        (lambda: ("--help", None), ParamsError, "there is no revision --help"),
        (lambda: ("HEAD~1", "HEAD"), DataError, "have no test row in common"),
        (lambda: ("HEAD~2", "HEAD"), DataError, "predict something else"),
        (lambda: ("HEAD~1", None), DataError, "the working tree has no data/clean/test.parquet"),
    ],
)
def test_what_cannot_be_compared(
    commit: Write, change: Callable[[], tuple[str, str | None]], error: type[BatonError], message: str
) -> None:
    commit(wrong_on([]), names=("a", "b", "c"))
    commit(wrong_on([]))
    commit(wrong_on([]), ids=[f"other:{row}" for row in range(ROWS)])
    before, after = change()
    if after is None:
        shutil.rmtree("data")
    with pytest.raises(error, match=message):
        compared(before, after)
    assert not Path("reports").exists()


def test_a_revision_whose_files_are_not_here_says_what_brings_them(commit: Write) -> None:
    first = commit(wrong_on([]))
    second = commit(wrong_on([1]))
    entry = json.loads(git("show", f"{first}:dvc.lock"))["stages"]["distill"]["outs"][0]["md5"]
    (dvc_graph.cache() / "files/md5" / entry[:2] / entry[2:]).unlink()
    with pytest.raises(DataError, match=r"(?s)is not in DVC's cache.*dvc fetch --all-commits.*dvc pull"):
        compared(first, second)
    with pytest.raises(DataError, match=r"has no data/predictions/teacher/test\.parquet"):
        compared(second, second, "teacher")
    git("rm", "--quiet", "dvc.lock")
    git("commit", "--quiet", "--message", "x")
    with pytest.raises(DataError, match=r"HEAD has no dvc\.lock"):
        compared("HEAD", second)


def test_the_command_and_its_options(commit: Write) -> None:
    first, _ = commit(wrong_on([])), commit(wrong_on([1]))

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["compare", *words])
        return done.exit_code, " ".join(done.output.split())

    code, said = run(first, "HEAD", "--model", "student")
    assert code == 0 and "The student on 200 rows of val" in said and "select on test" not in said
    for words, message in (
        ((first, "--labels", "8"), "--labels is for a comparison of strategies"),
        (("--split", "val"), "--split is for a comparison of revisions"),
        (("a", "b", "c"), "too many revisions"),
    ):
        code, said = run(*words)
        assert code == 1 and message in said


def test_paired_differences_of_scores_that_are_no_shares() -> None:
    old, new = np.array([0.1, 0.5, 0.3, 0.2]), np.array([0.2, 0.7, 0.35, 0.3])
    low, high, p = by_slice.paired(old, new, 0.95)
    assert 0 < low < (new - old).mean() < high and p < 0.05
    low, high, p = by_slice.paired(old, old, 0.95)
    assert np.isnan(low) and np.isnan(high) and p == 1


def test_no_process_but_git_runs(commit: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = commit(wrong_on([])), commit(wrong_on([1]))
    started: list[str] = []
    real = subprocess.run

    def watched(words: Any, *rest: Any, **more: Any) -> Any:
        started.append(words[0])
        return real(words, *rest, **more)

    monkeypatch.setattr(subprocess, "run", watched)
    compared(first, second)
    assert set(started) == {"git"}


@pytest.mark.parametrize("kind", made_up.KINDS)
def test_every_kind_of_task_says_which_rows_changed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(
        made_up, "write", lambda folder, task, rows, outputs, **_: made.append((task, rows, outputs))
    )
    made_up.KINDS[kind](tmp_path)
    task, rows, outputs = made[0]
    test = rows["test"]
    answers = {BEFORE: outputs["test"]["control"], AFTER: outputs["test"]["teacher"]}
    pairs = Pairs(task, test, answers, row_groups.groups(test, {"test:1", "test:2"}, None), (1, 1), 0, 0)
    changed, main = changes.read(pairs), figure_scale.of(task.figures)
    assert 0 < len(changed.rows) == (changed.kinds >= 0).sum()
    better = changed.count("wrong to right") + changed.count("better")
    assert better > changed.count("right to wrong") + changed.count("worse"), "the teacher is better"
    for row in changed.rows:
        assert len(row) == len(changes.COLUMNS) + 1
        assert row[5] != row[6], "what it said is another answer"
    boot = task.bootstrap(test.targets, answers, 5, made_up.SETTINGS)
    joint = task.compared(boot, [(AFTER, BEFORE)])["after_vs_before"]
    found = differences.of("after_vs_before", joint, main, 0.95, task.p)
    assert found[0].scale.name == main.name and found[0].better
    for one in by_slice.read(pairs, main, 0.95):
        assert one.after - one.before == pytest.approx(one.difference)
        assert not one.rows >= 20 or one.interval[0] <= one.difference + 0.02
        assert 0 <= one.p <= one.holm_p <= 1


def test_rows_of_units_are_taken_whole(tmp_path: Path) -> None:
    """`pairing` takes rows of prediction tables of every form."""
    logits = Ragged(np.arange(12, dtype=np.float32).reshape(6, 2), np.array([0, 1, 3, 6]))
    predictions.write_predictions(tmp_path / "a", ["x", "y", "z"], logits)
    pq.write_table(pq.read_table(tmp_path / "a").take([2, 0]).combine_chunks(), tmp_path / "b")
    ids, found = predictions.read_predictions(tmp_path / "b")
    assert ids == ["z", "x"] and isinstance(found, Ragged)
    assert found.counts.tolist() == [3, 1] and found.values[:, 0].tolist() == [6, 8, 10, 0]
