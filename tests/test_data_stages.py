"""Run the stages `download` and `preprocess`: bad inputs end in a clear error and leave no partial output."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from baton import console, params
from baton.batches import array_splits
from baton.contracts import predictions
from tests import tiny

BASE = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": save({"weight": np.zeros(4, np.float32)}),
    "tokenizer.json": b'{"model": {}}',
}
ROWS = "".join(f"{label} text {number},{label}\n" for label in ("pos", "neg") for number in range(20))
TEST = "x,pos\ny,neg\n"
HEADER = "text,label\n"
CSV = {
    "kind": "delimited",
    "encoding": "auto",
    "escape": None,
    "delimiter": ",",
    "quote": '"',
    "skip_lines": 0,
    "columns": None,
}


@pytest.fixture
def project(workplace: Path, root: Path) -> Callable[..., Path]:
    """Return `project(train=…, test=…, base=…, **params sections)`.

    It creates a working directory with an inbox and params.yaml.
    """

    def build(
        train: str = HEADER + ROWS, test: str = HEADER + TEST, base: dict[str, bytes] = BASE, **sections: Any
    ) -> Path:
        (workplace / "inbox/model").mkdir(parents=True)
        (workplace / "inbox/train.csv").write_text(train)
        (workplace / "inbox/test.csv").write_text(test)
        for name, content in base.items():
            (workplace / "inbox/model" / name).write_bytes(content)
        raw = params.read_raw(root / "params.yaml")
        raw["source"] = {
            "kind": "local",
            "files": {"train": "inbox/train.csv", "test": "inbox/test.csv"},
            "licence": "mine",
        }
        raw["base"] = {"kind": "local", "folder": "inbox/model", "licence": "mine"}
        raw["preprocess"]["format"] = CSV
        raw |= sections
        (workplace / "params.yaml").write_text(json.dumps(raw))
        return workplace

    return build


def run(capsys: pytest.CaptureFixture[str], *stages: str) -> str:
    """Run stages like their scripts; return the stderr of the failing one ('' if none failed)."""
    from stages import download, preprocess, tokenize

    mains = {"download": download.main, "preprocess": preprocess.main, "tokenize": tokenize.main}
    for name in stages:
        try:
            console.run(mains[name])
        except SystemExit as stopped:
            return capsys.readouterr().err if stopped.code == 1 else f"exit {stopped.code}"
    return ""


def check_refusal(message: str, part: str, left: set[str]) -> None:
    assert message.startswith("error: ")
    assert all(word in message for word in (part, "got:", "expected:", "next:"))
    assert "Traceback" not in message
    assert {path.name for path in Path("data").iterdir()} == left


def test_the_launcher_runs_both(project: Callable[..., Path], root: Path) -> None:
    folder = project()
    for name in ("src", "stages"):
        (folder / name).symlink_to(root / name)
    environment = {**os.environ, "DVC_ROOT": str(folder), "BATON_PYTHON": sys.executable}
    for stage in ("download", "preprocess"):
        done = subprocess.run(
            ["sh", "stages/run", stage],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (folder / "data/base").iterdir()} == {*BASE, "manifest.json"}
    outputs = {"train.parquet", "val.parquet", "test.parquet", "task.json", "report.json", "units.parquet"}
    assert {path.name for path in (folder / "data/clean").iterdir()} == outputs
    assert json.loads((folder / "data/clean/report.json").read_text())["rows"]["clean"] == {
        "train": 36,
        "val": 4,
        "test": 2,
    }

    (folder / "inbox/train.csv").unlink()
    failed = subprocess.run(
        ["sh", "stages/run", "download"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: inbox/train.csv does not exist")
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({"train": "Text,label\na,pos\nb,neg\n"}, "no column 'text'"),
        ({"train": ""}, "train.csv is empty"),
        ({"test": HEADER}, "test.csv has no rows"),
        ({"train": HEADER + "a,pos\nb,pos\nc,pos\n", "test": HEADER + "d,pos\n"}, "single class"),
        ({"test": HEADER + TEST + "z,new\n"}, "label 'new' is not in train"),
    ],
)
def test_bad_tables(
    project: Callable[..., Path], capsys: pytest.CaptureFixture[str], files: dict[str, str], part: str
) -> None:
    project(**files)
    check_refusal(run(capsys, "download", "preprocess"), part, {"raw", "base"})


def test_folders_of_texts(project: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """One text per file, its folder the class; `kept` is the file's name."""
    raw = params.read_raw(Path(__file__).parent.parent / "params.yaml")["preprocess"]
    changed = {"format": {"kind": "documents", "encoding": "auto"}, "label_column": "folder"}
    source = {"kind": "local", "files": {"train": "inbox/mails"}, "licence": "mine"}
    folder = project(source=source, preprocess=raw | changed | {"keep_columns": ["file"]})
    for number in range(40):
        path = folder / f"inbox/mails/{'spam' if number % 2 else 'ham'}/{number}.eml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mail {number}\n\nwith several lines\n")
    assert run(capsys, "download", "preprocess") == ""
    report = json.loads(Path("data/clean/report.json").read_text())
    assert {name: sum(counts.values()) for name, counts in report["classes"].items()} == {
        "ham": 20,
        "spam": 20,
    }
    rows = [row for split in ("train", "val", "test") for row in read_rows(split)]
    assert sorted(int(row["file"]) for row in rows) == list(range(40))
    assert {row["text"] for row in rows} == {f"mail {n}\n\nwith several lines\n" for n in range(40)}


def test_corrections_of_the_inbox_reach_the_clean_tables(
    project: Callable[..., Path], capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    preprocess = params.read_raw(root / "params.yaml")["preprocess"] | {"format": CSV}
    folder = project(corrections="inbox/fixed.csv", preprocess=preprocess)
    (folder / "inbox/fixed.csv").write_text("id,label\ntrain:1,neg\ntrain:2,\ntest:1,neg\n")
    assert run(capsys, "download", "preprocess") == ""
    rows = {row["id"]: row["label"] for split in ("train", "val", "test") for row in read_rows(split)}
    assert [rows[id_] for id_ in ("train:1", "train:2", "test:1", "test:2")] == [0, 1, 0, 0]
    (folder / "inbox/fixed.csv").write_text("id,label\ntrain:1,bad\n")
    assert run(capsys, "download") == ""
    message = run(capsys, "preprocess")
    assert "labels that are none of the classes ('neg', 'pos'): train:1: 'bad'" in " ".join(message.split())


def read_rows(split: str) -> list[dict[str, Any]]:
    return list(pq.read_table(f"data/clean/{split}.parquet").to_pylist())


MORE = ("new text 1", "new text 2", "X", "pos text 3")  # the third is in test, the last in train


def learnable(tmp_path: Path, root: Path, shots: int | None) -> dict[str, Any]:
    """Return an edit of params: shots, a file without labels, and a teacher and a student with tokenizers."""
    tiny.write_base(tmp_path / "teacher")
    tiny.write_base(tmp_path / "work/inbox/student", vocabulary=90)
    raw = params.read_raw(root / "params.yaml")
    (tmp_path / "work/inbox/more.csv").write_text("text\n" + "".join(f"{text}\n" for text in MORE))
    files = {"train": "inbox/train.csv", "test": "inbox/test.csv"}
    local = {"kind": "local", "licence": "mine"}
    return {
        "source": local | {"files": files, "unlabelled": "inbox/more.csv"},
        "base": {path.name: path.read_bytes() for path in (tmp_path / "teacher").iterdir()},
        "student_base": local | {"folder": "inbox/student"},
        "preprocess": raw["preprocess"] | {"format": CSV, "shots": shots},
        "tokenize": raw["tokenize"] | {"max_length": 16},
        "distill": raw["distill"] | {"student": {"kind": "base", "layers": None}},
    }


@pytest.mark.parametrize("shots", [None, 4])
def test_rows_without_labels_become_the_split_transfer(
    project: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    root: Path,
    shots: int | None,
) -> None:
    folder = project(**learnable(tmp_path, root, shots))
    assert run(capsys, "download", "preprocess", "tokenize") == ""
    splits = {split: [row["id"] for row in read_rows(split)] for split in ("train", "val", "unlabelled")}
    assert len(splits["train"]) + len(splits["val"]) == (40 if shots is None else 8)
    assert splits["unlabelled"][-2:] == ["unlabelled:1", "unlabelled:2"]
    assert len(splits["unlabelled"]) == 2 + (0 if shots is None else 32)
    for arrays in (folder / "data/arrays", folder / "data/arrays/student"):
        opened = array_splits.open_splits(arrays)
        assert array_splits.read_ids(arrays, "transfer") == splits["train"] + splits["unlabelled"]
        marked = array_splits.labelled(arrays, "transfer")
        assert marked.tolist() == [True] * len(splits["train"]) + [False] * len(splits["unlabelled"])
        assert not opened["transfer"].targets.all[~marked].any()
        report = json.loads((arrays / "report.json").read_text())
        assert list(report) == ["test", "train", "transfer", "val"]
    first = {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
    assert run(capsys, "download", "preprocess", "tokenize") == ""
    assert {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()} == first
    # What is evaluated and compared does not know the split.
    assert {path.stem for path in Path("data/clean").glob("*.parquet")} == {*splits, "test", "units"}
    assert [*array_splits.SPLITS] == ["train", "val", "test"]


def test_soft_labels_of_a_file_are_matched_and_shown(
    project: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, root: Path
) -> None:
    edit = learnable(tmp_path, root, None)
    edit["source"]["soft_labels"] = "inbox/soft.jsonl"
    project(**edit)
    said = [("new text 2", 1, 3), ("x", 1, 0), ("elsewhere", 1, 0)]
    said += [(f"{label} text {n}", 0.75, 0.25) for label in ("pos", "neg") for n in range(20)]
    lines = [json.dumps({"text": text, "pos": pos, "neg": neg}) for text, pos, neg in said]
    Path("inbox/soft.jsonl").write_text("\n".join(lines))
    assert run(capsys, "download", "preprocess") == ""
    shown = " ".join(capsys.readouterr().out.split())
    ids, logits = predictions.read_predictions(Path("data/clean/soft_labels.parquet"))
    assert isinstance(logits, np.ndarray)
    train = [row["id"] for row in read_rows("train")]
    assert ids == [*train, "unlabelled:2"]
    assert np.exp(logits) == pytest.approx(np.array([[0.25, 0.75]] * len(train) + [[0.75, 0.25]]))
    assert f"source.soft_labels: 43 rows, 1 in test, {40 - len(train)} in val, 1 unmatched" in shown
    assert "1 of 43 rows match no row that a student learns from, the first is soft_labels:3 ('else" in shown
    assert "unlabelled │ 2 │ 1 │ –" in shown and "│ 100.0% │" in shown and "│ 0.0% │" in shown


def test_without_such_rows_there_is_no_further_split(
    project: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, root: Path
) -> None:
    edit = learnable(tmp_path, root, None)
    edit["source"]["unlabelled"] = None
    project(**edit)
    assert run(capsys, "download", "preprocess", "tokenize") == ""
    assert not [path for path in Path("data").rglob("*") if "transfer" in path.name or "unlab" in path.name]


def test_a_base_without_a_tokenizer(project: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    project(base={name: content for name, content in BASE.items() if name != "tokenizer.json"})
    check_refusal(run(capsys, "download"), "lacks tokenizer.json", set())


@pytest.mark.parametrize("stage", ["download", "preprocess"])
def test_an_output_that_cannot_be_written(
    project: Callable[..., Path], capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    project()
    if stage == "preprocess":
        assert run(capsys, "download") == ""
        Path("data/clean").write_text("a file where a folder should be")
    else:
        Path("data").write_text("a file where a folder should be")
    message = run(capsys, stage)
    assert "cannot be written" in message
    assert all(word in message for word in ("error: ", "got:", "expected: a writable folder", "next:"))
    assert not list(Path.cwd().rglob(".*.*"))


def wheel_source(sha256: str, member: str = "toy/train.csv") -> dict[str, Any]:
    return {
        "kind": "wheel",
        "package": "toy",
        "version": "1.0",
        "sha256": sha256,
        "files": {"train": member},
        "licence": "mine",
    }


@pytest.mark.parametrize("defect", ["digest", "truncated", "outside", "member"])
def test_bad_wheels(
    project: Callable[..., Path],
    build_wheel: Callable[..., str],
    wheelhouse: Path,
    capsys: pytest.CaptureFixture[str],
    defect: str,
) -> None:
    digest = build_wheel({"toy/train.csv": b"a"} | ({"../evil.csv": b"b"} if defect == "outside" else {}))
    wheel = next(wheelhouse.iterdir())
    if defect == "truncated":
        wheel.write_bytes(wheel.read_bytes()[:-50])
    source = wheel_source(
        "0" * 64 if defect == "digest" else digest,
        "toy/absent.csv" if defect == "member" else "toy/train.csv",
    )
    folder = project(source=source)
    parts = {
        "digest": "a different sha256",
        "truncated": "toy==1.0",
        "outside": "../evil.csv",
        "member": "no member toy/absent.csv",
    }
    check_refusal(run(capsys, "download"), parts[defect], {"base"})
    assert not list(folder.parent.rglob("evil.csv"))
