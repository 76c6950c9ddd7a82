"""`baton predict`: formats, bad rows, order; a killed job goes on with the same bytes; shards; refusals."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params, storage
from baton.errors import BatonError, DataError, ModelError, OutputError, ParamsError
from baton.lifecycle.bulk import answering, job, joining, launch, parts
from baton.lifecycle.bulk.answering import Answerer
from benchmarks import predict_million
from tests.lifecycle.bulk import jobs
from tests.serve import files

pytestmark = pytest.mark.usefixtures("quiet_mlflow", "loaded")
Models = dict[str, Path]
ANSWER = ["label", "probability_grain", "probability_ship", "probability_trade"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("out", [".csv", ".jsonl", ".parquet"])
def test_one_row_out_for_each_row_in_and_in_order(
    models: Models, answerers: dict[str, Answerer], tmp_path: Path, suffix: str, out: str
) -> None:
    table, target = jobs.write_table(tmp_path / f"in{suffix}"), tmp_path / f"out{out}"
    job.predict(jobs.options(models["text"], table, target))
    found = jobs.read(target)
    assert [*found.columns] == ["row", "id", *ANSWER, "error"]
    assert found["row"].tolist() == [*range(1, 31)] and found["id"].tolist() == [f"d{n}" for n in range(30)]
    assert found["error"].tolist() == [""] * 30
    expected = answerers["text"].model.predict(jobs.texts(30))
    assert found["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(found[ANSWER[1:]].to_numpy(), expected[ANSWER[1:]].to_numpy(), atol=1e-6)
    assert len({*found["label"]}) > 1 and not (tmp_path / f"out{out}.parts").exists()
    about = storage.read_json(tmp_path / f"out{out}.json")
    assert (about["rows"], about["bad_rows"], about["sha256"]) == (30, 0, storage.sha256(target))


def test_bad_rows_are_marked_and_the_others_answered(
    models: Models, answerers: dict[str, Answerer], tmp_path: Path
) -> None:
    table = tmp_path / "in.csv"
    lines = ["id,text", "a,wheat exports rose", "b,", "c", "d,port, strike", 'e,"two', 'lines"', "", "f,\t "]
    table.write_text("\n".join([*lines, 'g,"never closed', "h,trade talks", ""]))
    job.predict(jobs.options(models["text"], table, tmp_path / "out.csv"))
    found = jobs.read(tmp_path / "out.csv")
    errors = dict(zip(found["row"], found["error"], strict=True))
    assert errors[1] == errors[5] == errors[8] == ""
    for row, reason in {
        2: "text is empty; got: ''",
        3: "line 4: 1 fields instead of 2",
        4: "line 5: 3 fields instead of 2",
        6: "text is empty",
        7: "line 10: a quote is opened and never closed",
    }.items():
        assert errors[row].startswith(reason), errors[row]
    assert found["label"].tolist() == [
        *answerers["text"].model.predict(["wheat exports rose"])["label"],
        *("", "", ""),
        *answerers["text"].model.predict(["two\nlines"])["label"],
        *("", ""),
        *answerers["text"].model.predict(["trade talks"])["label"],
    ]
    assert storage.read_json(tmp_path / "out.csv.json")["bad_rows"] == 5


def test_bad_lines_of_json(models: Models, tmp_path: Path) -> None:
    table = tmp_path / "in.jsonl"
    table.write_text(
        '{"text": "wheat"}\n{"text": null}\n{"text": 5}\n{broken\n[1]\n{"id": "x"}\n\n{"text": "port"}\n'
        '{"text": "\\ud800"}\n'
    )
    job.predict(jobs.options(models["text"], table, tmp_path / "out.jsonl"))
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [bool(row["error"]) for row in found] == [False, True, True, True, True, True, False, True]
    for row, reason in {
        1: "text is not text; got: None",
        2: "text is not text; got: 5",
        3: "line 4: no JSON",
        4: "line 5: list instead of an object",
        5: "line 6: no key 'text'",
        7: "text is not valid Unicode",
    }.items():
        assert found[row]["error"].startswith(reason), found[row]["error"]
    assert found[1]["label"] is None and found[0]["label"] and found[5]["id"] == "x"


def test_nulls_of_parquet_and_integer_ids(models: Models, tmp_path: Path) -> None:
    columns = {"words": ["wheat", None, "port"], "number": pa.array([7, 8, None], pa.int32())}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    own = {"columns": {"text": "words"}, "id": "number"}
    for out in ("out.parquet", "out.csv"):
        job.predict(jobs.options(models["text"], tmp_path / "in.parquet", tmp_path / out, **own))
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema.field("number").type == pa.int64() and found["number"].to_pylist() == [7, 8, None]
    assert found["label"].to_pylist()[1] is None and found["error"].to_pylist()[0] == ""
    assert [line.split(",")[1] for line in (tmp_path / "out.csv").read_text().splitlines()][1:] == [
        "7",
        "8",
        "",
    ]


def test_ids_beyond_64_bits_with_a_sign_are_text(models: Models, tmp_path: Path) -> None:
    columns = {"text": ["wheat", "port", "trade"], "id": pa.array([7, 2**64 - 1, None], pa.uint64())}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    job.predict(jobs.options(models["text"], tmp_path / "in.parquet", tmp_path / "out.parquet"))
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["7", str(2**64 - 1), None]


def test_a_folder_of_images(models: Models, answerers: dict[str, Answerer], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    pictures = {f"{n % 2}/{n}.png": files.encoded(files.COLOURS // (n + 1)) for n in range(6)}
    for name, content in (pictures | {"0/broken.png": b"no image", "1/empty.jpg": b""}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / ".hidden").write_bytes(b"")
    job.predict(jobs.options(models["image"], folder, tmp_path / "out.jsonl"))
    found = jobs.read(tmp_path / "out.jsonl").set_index("path")
    assert [*found.index] == sorted([*pictures, "0/broken.png", "1/empty.jpg"])
    bad = found[found["error"] != ""]
    assert [*bad.index] == ["0/broken.png", "1/empty.jpg"]
    assert bad["error"].str.startswith("the row: ").all() and bad["label"].isna().all()
    good = found[found["error"] == ""]
    expected = answerers["image"].model.predict([pictures[name] for name in good.index])
    assert good["label"].tolist() == expected["label"].tolist()


def test_images_in_a_table_are_bytes_or_paths(models: Models, tmp_path: Path) -> None:
    picture = files.encoded(files.COLOURS)
    (tmp_path / "one.png").write_bytes(picture)
    cells = [
        {"bytes": picture, "path": None},
        {"bytes": None, "path": "one.png"},
        {"bytes": None, "path": "no"},
    ]
    pq.write_table(pa.table({"image": cells}), tmp_path / "in.parquet")
    (tmp_path / "in.csv").write_text("image\none.png\nmissing.png\n")
    for source in ("in.parquet", "in.csv"):
        job.predict(jobs.options(models["image"], tmp_path / source, tmp_path / f"{source}.csv"))
    found = {source: jobs.read(tmp_path / f"{source}.csv") for source in ("in.parquet", "in.csv")}
    assert len({*found["in.parquet"]["label"][:2], found["in.csv"]["label"][0]}) == 1
    for frame in found.values():
        assert frame["error"].iloc[-1].startswith("the row is not an existing file")


def test_a_row_that_only_the_model_refuses_is_found(answerers: dict[str, Answerer]) -> None:
    from baton.lifecycle.bulk.rows import Row

    class Picky:
        named = True

        def predict(self, values: list[str]) -> pd.DataFrame:
            for place, value in enumerate(values):
                if "bad" in value:
                    raise ValueError(
                        f"row {place} is odd\n  got:      {value}" if self.named else "one is odd"
                    )
            return pd.DataFrame({"label": values})

    own = Answerer.__new__(Answerer)
    own.refusals, own.reads, own.columns = (ValueError,), ("text",), {"label": "string"}  # type: ignore[assignment]
    own.kind, own.params, own.config, own.model = "text", {}, {}, Picky()
    rows = [Row({"text": text}) for text in ["a", "bad b", "c", "d", "bad e", "f", "bad g"]]
    for Picky.named in (True, False):
        frame, errors = own.of(rows, Path())
        assert [*map(bool, errors)] == [False, True, False, False, True, False, True]
        assert frame["label"].dropna().tolist() == ["a", "c", "d", "f"]
    assert errors[1] == "one is odd"


def test_a_broken_image_costs_one_batch() -> None:
    from baton.lifecycle.bulk.rows import Row

    asked: list[int] = []

    class Images:
        def predict(self, values: list[bytes], params: Any = None) -> pd.DataFrame:
            asked.append(len(values))
            if b"broken" in values:
                raise ValueError(f"row {values.index(b'broken')} is no image")
            return pd.DataFrame({"label": ["x"] * len(values)})

    own = Answerer.__new__(Answerer)
    own.refusals, own.reads, own.columns = (ValueError,), ("image",), {"label": "string"}  # type: ignore[assignment]
    own.kind, own.params, own.config, own.model = "images", {}, {}, Images()
    rows = [Row({"image": b"broken" if place == 5 else b"good"}) for place in range(96)]
    assert [*map(bool, own.of(rows, Path())[1])] == [place == 5 for place in range(96)]
    assert asked == [32, 1, 1, 31, 32, 32]
    asked.clear()
    own.params = {"batch_size": 48}
    own.of(rows, Path())
    assert asked == [48, 1, 1, 47, 48]


# ---- killed jobs -------------------------------------------------------------------------------------------


def dies(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Arrange that this process is killed at a point."""
    write, seen = parts.Parts.write, [0]

    def counted(self: parts.Parts, *arguments: Any) -> None:
        seen[0] += 1
        if point == "before a part" and seen[0] == 4:
            jobs.die()
        write(self, *arguments)
        if point == "after a part" and seen[0] == 3:
            jobs.die()

    monkeypatch.setattr(parts.Parts, "write", counted)
    if point == "in a part":
        original = pq.write_table

        def half(table: pa.Table, path: Path) -> None:
            original(table, path)
            if seen[0] == 2:
                path.write_bytes(path.read_bytes()[:100])
                jobs.die()

        monkeypatch.setattr("baton.lifecycle.bulk.parts.pq.write_table", half)
    elif point == "while joining":
        monkeypatch.setattr(joining, "write", lambda *a: (a[3].write_bytes(b"half"), jobs.die()))
    elif point == "after joining":
        monkeypatch.setattr(parts.Parts, "finish", jobs.die)
    elif point == "while the parts are removed":
        monkeypatch.setattr("baton.lifecycle.bulk.parts.shutil.rmtree", jobs.die)


POINTS = (
    "before a part",
    "in a part",
    "after a part",
    "while joining",
    "after joining",
    "while the parts are removed",
)


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
def test_a_killed_job_goes_on_to_the_same_bytes(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    table = jobs.write_table(tmp_path / "in.csv")
    whole = jobs.options(models["text"], table, tmp_path / f"whole-{out}")
    job.predict(whole)
    own = jobs.options(models["text"], table, tmp_path / out)
    for point in POINTS:
        assert jobs.killed(own, lambda point=point: dies(monkeypatch, point)) == signal.SIGKILL, point
    job.predict(own)
    assert (tmp_path / out).read_bytes() == Path(whole.out).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("in.csv", out, f"{out}.json", f"whole-{out}", f"whole-{out}.json")
    }


def test_finished_parts_are_not_computed_again(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the negative control of the test above: a part with another answer shows in the bytes."""
    table = jobs.write_table(tmp_path / "in.csv")
    whole, own = (jobs.options(models["text"], table, tmp_path / name) for name in ("whole.csv", "out.csv"))
    job.predict(whole)
    assert jobs.killed(own, lambda: dies(monkeypatch, "after a part")) == signal.SIGKILL
    path = tmp_path / "out.csv.parts/part-00000001.parquet"
    before = pq.read_table(path)
    wrong = pa.array(["wrong"] * len(before), pa.string())
    pq.write_table(before.set_column(before.schema.get_field_index("label"), "label", wrong), path)
    job.predict(own)
    found, expected = jobs.read(tmp_path / "out.csv"), jobs.read(tmp_path / "whole.csv")
    assert (found["label"] != expected["label"]).tolist() == [4 <= row < 8 for row in range(30)]


def test_a_damaged_part_is_refused(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = jobs.options(models["text"], jobs.write_table(tmp_path / "in.csv"), tmp_path / "out.csv")
    assert jobs.killed(own, lambda: dies(monkeypatch, "after a part")) == signal.SIGKILL
    path = tmp_path / "out.csv.parts/part-00000001.parquet"
    shutil.copy(path.with_name("part-00000000.parquet"), path)
    with pytest.raises(OutputError, match="is damaged"):
        job.predict(own)
    assert not (tmp_path / "out.csv").exists()
    path.unlink()
    job.predict(own)


def test_a_finished_job_is_not_run_again(models: Models, tmp_path: Path, capsys: Any) -> None:
    own = jobs.options(models["text"], jobs.write_table(tmp_path / "in.csv"), tmp_path / "out.csv")
    job.predict(own)
    before = (tmp_path / "out.csv").stat()
    job.predict(own)
    assert "nothing to do" in capsys.readouterr().out and (tmp_path / "out.csv").stat() == before
    with pytest.raises(OutputError, match=r"out.csv exists[\s\S]*another model"):
        job.predict(jobs.options(models["other"], tmp_path / "in.csv", tmp_path / "out.csv"))
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"mine.csv exists[\s\S]*without mine.csv.json"):
        job.predict(jobs.options(models["text"], tmp_path / "in.csv", tmp_path / "mine.csv"))
    assert (tmp_path / "mine.csv").read_text() == "mine" and not (tmp_path / "mine.csv.parts").exists()


def test_parts_of_another_job_are_refused(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = jobs.write_table(tmp_path / "in.csv")
    own = jobs.options(models["text"], table, tmp_path / "out.csv")
    assert jobs.killed(own, lambda: dies(monkeypatch, "after a part")) == signal.SIGKILL
    before = storage.sha256_tree(tmp_path / "out.csv.parts")
    for changed, said in (
        (jobs.options(models["other"], table, tmp_path / "out.csv"), "another model"),
        (
            jobs.options(models["text"], jobs.write_table(tmp_path / "x.csv", 31), tmp_path / "out.csv"),
            "another input",
        ),
        (jobs.options(models["text"], table, tmp_path / "out.csv", chunk=5), "chunk 4, now 5"),
        (jobs.options(models["text"], table, tmp_path / "out.csv", columns={"text": "id"}), "other columns"),
    ):
        with pytest.raises(OutputError, match=rf"parts of another job[\s\S]*{said}"):
            job.predict(changed)
    assert storage.sha256_tree(tmp_path / "out.csv.parts") == before
    job.predict(own)


def test_parts_of_an_unknown_job_are_not_taken(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = jobs.write_table(tmp_path / "in.csv")
    whole, own = (jobs.options(models["text"], table, tmp_path / name) for name in ("whole.csv", "out.csv"))
    job.predict(whole)
    other = jobs.options(models["other"], table, tmp_path / "out.csv")
    assert jobs.killed(other, lambda: dies(monkeypatch, "after a part")) == signal.SIGKILL
    (tmp_path / "out.csv.parts/manifest.json").unlink()
    job.predict(own)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_part_of_another_job_is_computed_again(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that nobody should have started twice wrote it; also a part of no known job, or half of one."""
    table = jobs.write_table(tmp_path / "in.csv")
    job.predict(jobs.options(models["text"], table, tmp_path / "whole.csv"))
    for name, model in (("out.csv", "text"), ("other.csv", "other")):
        own = jobs.options(models[model], table, tmp_path / name)
        assert jobs.killed(own, lambda: dies(monkeypatch, "after a part")) == signal.SIGKILL
    here, there = tmp_path / "out.csv.parts", tmp_path / "other.csv.parts"
    shutil.copy(there / "part-00000000.parquet", here)
    path = here / "part-00000001.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    (here / "part-00000002.parquet").write_bytes(b"PAR1")
    job.predict(jobs.options(models["text"], table, tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_parts_that_are_half_removed_are_not_taken(models: Models, tmp_path: Path) -> None:
    table = jobs.write_table(tmp_path / "in.csv")
    job.predict(jobs.options(models["other"], table, tmp_path / "whole.csv"))
    removed = shutil.rmtree

    def dies_early() -> None:
        def half(folder: Path, *_: Any, **__: Any) -> None:
            (Path(folder) / "manifest.json").unlink()
            jobs.die()

        parts.shutil.rmtree = half  # type: ignore[attr-defined]

    own = jobs.options(models["text"], table, tmp_path / "out.csv")
    assert jobs.killed(own, dies_early) == signal.SIGKILL and shutil.rmtree is removed
    assert not (tmp_path / "out.csv.parts").exists(), "its name goes first"
    (tmp_path / "out.csv").unlink()
    job.predict(jobs.options(models["other"], table, tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    names = ("in.csv", "out.csv", "out.csv.json", "whole.csv", "whole.csv.json")
    assert {path.name for path in tmp_path.iterdir()} == {*names}


# ---- shards ------------------------------------------------------------------------------------------------


def test_shards_give_the_bytes_of_one_job(models: Models, tmp_path: Path, capsys: Any) -> None:
    table = jobs.write_table(tmp_path / "in.jsonl")
    job.predict(jobs.options(models["text"], table, tmp_path / "whole.parquet"))
    for shard in ("3/3", "1/3", "1/3", "2/3"):
        assert not (tmp_path / "out.parquet").exists()
        job.predict(jobs.options(models["text"], table, tmp_path / "out.parquet", shard=shard))
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert "shard 3/3 is finished; 6 of 8 parts are other shards'" in capsys.readouterr().out
    job.predict(jobs.options(models["text"], table, tmp_path / "out.parquet", shard="2/3"))  # started again


def test_a_second_job_of_a_shard_is_refused(models: Models, tmp_path: Path) -> None:
    own = jobs.options(
        models["text"], jobs.write_table(tmp_path / "in.csv"), tmp_path / "out.csv", shard="1/2"
    )
    with parts.Parts(tmp_path / "out.csv").shard("1/2"):
        with pytest.raises(OutputError, match=r"another job predicts shard 1/2[\s\S]*process \d+"):
            job.predict(own)
        job.predict(jobs.options(models["text"], tmp_path / "in.csv", tmp_path / "out.csv", shard="2/2"))
    job.predict(own)
    assert len(jobs.read(tmp_path / "out.csv")) == 30


@pytest.mark.parametrize("moment", ["before a part", "before the join"])
def test_a_shard_stops_when_another_job_has_finished(
    models: Models,
    answerers: dict[str, Answerer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    moment: str,
) -> None:
    table = jobs.write_table(tmp_path / "in.csv")
    whole, every = (jobs.options(models["text"], table, tmp_path / name) for name in ("whole.csv", "out.csv"))
    job.predict(whole)
    target, name = (answerers["text"], "of") if moment == "before a part" else (job, "_join")
    original = getattr(target, name)

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(target, name, original)
        job.predict(every)
        capsys.readouterr()
        return original(*arguments)

    monkeypatch.setattr(target, name, overtaken)
    job.predict(jobs.options(models["text"], table, tmp_path / "out.csv", shard="1/2"))
    assert "another job has finished" in capsys.readouterr().out
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not [*tmp_path.glob("*parts*")]


def test_a_job_whose_parts_are_removed_says_so(
    models: Models, answerers: dict[str, Answerer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = answerers["text"].of

    def of(*arguments: Any) -> Any:
        shutil.rmtree(tmp_path / "out.csv.parts")
        return original(*arguments)

    monkeypatch.setattr(answerers["text"], "of", of)
    table = jobs.write_table(tmp_path / "in.csv")
    with pytest.raises(OutputError, match=r"out.csv.parts was removed"):
        job.predict(jobs.options(models["text"], table, tmp_path / "out.csv"))


# ---- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"columns": {"text": "words"}}, DataError, "no column 'words'"),
        ({"columns": {"image": "text"}}, ParamsError, "--image"),
        ({"id": "number"}, DataError, "no column 'number'"),
        ({"source": "missing.csv"}, DataError, "no such file"),
        ({"source": "."}, DataError, "is a folder"),
        ({"id": "label"}, ParamsError, "one name"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    models: Models, tmp_path: Path, changed: dict[str, Any], error: type[BatonError], said: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/in.csv").write_text("text,label\nwheat,grain\n")
    source = tmp_path / "in" / changed.pop("source", "in.csv")
    with pytest.raises(error, match=said):
        job.predict(jobs.options(models["text"], source, tmp_path / "out.csv", **changed))
    assert {path.name for path in tmp_path.rglob("*")} == {"in", "in.csv"}


@pytest.mark.parametrize(
    "changed", [{"shard": "0/3"}, {"shard": "4/3"}, {"shard": "x"}, {"precision": "int4"}]
)
def test_invalid_options_are_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ParamsError):
        jobs.options(tmp_path, tmp_path / "in", tmp_path / "out.csv", **changed)
    with pytest.raises(ParamsError, match="no known suffix"):
        jobs.options(tmp_path, tmp_path / "in", tmp_path / "out.xlsx")


def test_an_output_in_the_input_is_refused(tmp_path: Path) -> None:
    """Its parts would be rows."""
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for out in ("in/out.csv", "in/deep/out.csv", "link/out.csv", "in/deep/../.out.csv"):
        with pytest.raises(ParamsError, match="--out lies in the input"):
            jobs.options(tmp_path, tmp_path / "in", tmp_path / out)
    for out in ("in.csv", "input/out.csv", "in/../out.csv"):
        jobs.options(tmp_path, tmp_path / "in", tmp_path / out)


def test_an_input_that_changes_meanwhile_is_refused(
    models: Models, answerers: dict[str, Answerer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = jobs.write_table(tmp_path / "in.csv")
    original = answerers["text"].of

    def of(*arguments: Any) -> Any:
        table.write_text(table.read_text().replace("wheat", "wheal"))
        return original(*arguments)

    monkeypatch.setattr(answerers["text"], "of", of)
    with pytest.raises(DataError, match="changed while it was read"):
        job.predict(jobs.options(models["text"], table, tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()


def test_a_precision_that_a_model_cannot_have_is_refused(models: Models, tmp_path: Path) -> None:
    """A model without that setting computes in fp32 if it is torch's, and as it was exported if not."""
    folder = tmp_path / "model"
    shutil.copytree(models["text"], folder)
    record = folder / "MLmodel"
    record.write_text(re.sub(r"\n *precision: fp32\n", "\n", record.read_text()))
    for precision in ("auto", "fp32"):
        assert Answerer(folder, precision, None).precision == "as the model has it"
    with pytest.raises(ModelError, match=r"precision[\s\S]*bf16[\s\S]*auto, fp32"):
        Answerer(folder, "bf16", None)
    (path,) = folder.glob("artifacts/*/baton.json")
    storage.write_json(path, storage.read_json(path) | {"graph": {}})
    for precision in ("fp32", "bf16"):
        with pytest.raises(ModelError, match=rf"precision[\s\S]*{precision}[\s\S]*auto\n"):
            Answerer(folder, precision, None)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no logged model"):
        launch.given(tmp_path)


def test_triton_is_left_out_where_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    (tmp_path / "nvidia0").touch()
    job.without_triton(tmp_path)
    assert "triton" not in sys.modules
    (tmp_path / "nvidia0").unlink()
    job.without_triton(tmp_path)
    assert sys.modules["triton"] is None
    monkeypatch.delitem(sys.modules, "triton")


def test_the_trained_model_has_the_same_bytes_each_time(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "requirements.lock"):
        shutil.copy(jobs.ROOT / name, tmp_path)
    (artifact,) = models["text"].glob("artifacts/*/baton.json")
    shutil.copytree(artifact.parent, tmp_path / "models/student")
    active = params.read()
    folder = launch.trained(active)
    shutil.move(folder, tmp_path / "before")
    assert launch.trained(active) == folder
    assert storage.sha256_tree(folder) == storage.sha256_tree(tmp_path / "before") == folder.name
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert answering._reads(folder, {}, 1) == ("text", ("text",))
    job.predict(jobs.options(models["text"], jobs.write_table(tmp_path / "in.csv"), tmp_path / "a.csv"))
    own = Answerer(folder, "fp32", None)
    job.run(jobs.options(folder, tmp_path / "in.csv", tmp_path / "b.csv"), own)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_the_number_of_threads_may_be_said(tmp_path: Path) -> None:
    assert launch.environment({"OMP_NUM_THREADS": "3"}, tmp_path, None)["OMP_NUM_THREADS"] == "3"
    made = launch.environment({"AWS_SECRET_ACCESS_KEY": "x", "OMP_NUM_THREADS": "3"}, tmp_path, 5)
    assert made["OMP_NUM_THREADS"] == "5" and "AWS_SECRET_ACCESS_KEY" not in made


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_and_memory_stays_flat(models: Models, tmp_path: Path) -> None:
    """Processes of their own, SIGKILL at times that nobody chose, and ten times the rows."""
    small, large = (
        jobs.write_table(tmp_path / "small.csv", 3_000),
        jobs.write_table(tmp_path / "large.csv", 30_000),
    )

    def started(source: Path, out: str) -> Any:
        own = jobs.options(models["text"], source, tmp_path / out, chunk=500, precision="auto")
        return subprocess.Popen(
            launch.command(own), env=launch.environment(os.environ, tmp_path, 1), cwd=tmp_path
        )

    peaks = {}
    for source in (small, large):
        status, peaks[source.stem] = predict_million.finished(started(source, f"{source.stem}-out.csv"))
        assert status == 0
    assert 0 < peaks["large"] < 1.1 * peaks["small"], peaks
    assert peaks["large"] < 2**30, peaks
    for count in (5, 20, 40):
        process = started(large, "out.csv")
        while len([*(tmp_path / "out.csv.parts").glob("part-*")]) < count:
            assert process.poll() is None
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert started(large, "out.csv").wait() == 0
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "large-out.csv").read_bytes()
