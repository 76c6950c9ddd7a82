"""Tables of images with a text each to clean tables: what both sides decide, and faults named by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.errors import DataError
from baton.tables import clean, image_tables
from tests.image_files import noise, saved

RAW, TARGET = Path("data/raw"), Path("data/clean")
CHECKS = dict.fromkeys(
    ["malformed", "unreadable", "enormous", "transparent", "missing_label", "duplicate", "leakage", "empty"],
    "drop",
) | dict.fromkeys(["misnamed", "animated", "near_duplicate", "conflict", "drift", "mojibake"], "keep")
CHECKS |= dict.fromkeys(["similar_labels", "continuous_labels", "unseen_label", "small_class"], "fail")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(**changes: Any) -> params.ImageTextPreprocess:
    raw = {
        "kind": "image_text",
        "image_column": "image",
        "text_column": "text",
        "label_column": "label",
        "label_names": {},
        "validation": {"kind": "share", "share": 0.2},
        "test": {"kind": "share", "share": 0.2},
        "limit": {"train": None, "test": None},
        "shots": None,
        "seed": 0,
        "max_pixels": 10_000,
        "significant_bits": "auto",
        "max_dropped": {"rows": 1.0, "rows_of_class": 1.0},
        "checks": CHECKS | {"invalid_utf8": "drop"} | changes,
    }
    return params.ImageTextPreprocess.model_validate(raw)


def write(**files: list[tuple[str, bytes | None, str, bytes | None]]) -> None:
    """Write raw tables of (name, image, label, text) as `download` does."""
    import json

    RAW.mkdir(parents=True, exist_ok=True)
    for split, rows in files.items():
        path = RAW / f"{split}.parquet"
        with image_tables.Writer(path, image_tables.RawImage, texts=True) as writer:
            for name, image, label, text in rows:
                problem = None if image else "no such file"
                writer.add(image_tables.RawImage(name, image, label, problem, text))
    named = {split: {"path": f"{split}.parquet"} for split in files}
    (RAW / "manifest.json").write_text(json.dumps({"files": named}))


def many(count: int, start: int = 0) -> list[tuple[str, bytes | None, str, bytes | None]]:
    return [
        (f"{n}.png", saved(noise(n)), "ab"[n % 2], f"picture number {n}".encode())
        for n in range(start, start + count)
    ]


def run(**changes: Any) -> dict[str, Any]:
    task = params.ClassesTask.model_validate({"kind": "classes"})
    return clean.clean(RAW, TARGET, settings(**changes), task)


def rows(split: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(TARGET / f"{split}.parquet").to_pylist()
    return found


def test_a_row_keeps_its_image_and_its_text() -> None:
    given = many(20)
    write(train=given)
    run()
    every = [row for split in clean.SPLITS for row in rows(split)]
    assert len(every) == 20
    for row in every:
        name, image, label, text = given[int(row["id"].partition(":")[2]) - 1]
        assert (row["name"], row["image"], "ab"[row["label"]]) == (name, image, label)
        assert row["text"] == (text or b"").decode() and len(row["digest"]) == 64


def test_a_row_without_a_side_is_named() -> None:
    lacking = [
        ("blank.png", saved(noise(50)), "a", b" \t"),
        ("none.png", saved(noise(51)), "a", None),
        ("lost.png", None, "a", b"a lost picture"),
        ("cut.png", saved(noise(52))[:60], "a", b"a cut picture"),
        ("latin.png", saved(noise(53)), "a", b"caf\xe9"),
    ]
    write(train=many(20) + lacking)
    checks = run()["checks"]
    assert checks["empty"]["reasons"] == {"train:21": "white space", "train:22": "no text"}
    assert checks["malformed"]["reasons"] == {"train:23": "lost.png: no such file"}
    assert list(checks["unreadable"]["reasons"]) == ["train:24"]
    assert checks["invalid_utf8"]["reasons"] == {"train:25": "byte 0xe9 at character 4 of the text"}


def test_bytes_that_stay_become_the_replacement_character() -> None:
    write(train=[*many(20), ("latin.png", saved(noise(53)), "a", b"caf\xe9")])
    run(invalid_utf8="keep")
    every = {row["id"]: row["text"] for split in clean.SPLITS for row in rows(split)}
    assert every["train:21"] == "caf\ufffd"


def test_duplicates_and_conflicts_need_both_sides() -> None:
    (_, image, _, text), other = many(1)[0], b"another text"
    more = [
        ("same.png", image, "a", text),  # a duplicate of the first row
        ("retold.png", image, "a", other),
        ("disputed.png", image, "b", other),  # in conflict with the one before it
    ]
    write(train=many(20) + more)
    checks = run()["checks"]
    assert checks["duplicate"]["reasons"] == {"train:21": "the same as train:1"}
    assert set(checks["conflict"]["reasons"]) == {"train:22", "train:23"}


def test_rows_of_one_image_stay_in_one_split() -> None:
    """Whatever their texts: a test row of a known image would only measure memory."""
    images = [saved(noise(n)) for n in range(30)]
    given = [
        (f"{n}-{k}.png", image, "ab"[n % 2], f"text {k} of picture {n}".encode())
        for n, image in enumerate(images)
        for k in range(3)
    ]
    write(train=given)
    run()
    home: dict[str, set[str]] = {}
    for split in clean.SPLITS:
        for row in rows(split):
            home.setdefault(row["digest"], set()).add(split)
    assert len(home) == 30 and all(len(splits) == 1 for splits in home.values())
    assert {split for splits in home.values() for split in splits} == set(clean.SPLITS)


def test_an_image_of_the_test_file_leaves_train_and_a_shared_text_is_noted() -> None:
    (_, image, _, _), *_ = many(1)
    test = [
        ("seen.png", image, "a", b"other words"),
        ("new.png", saved(noise(90)), "b", b"Picture  number 3"),
    ]
    write(train=many(20), test=test)
    report = run()
    assert report["checks"]["leakage"]["reasons"] == {"train:1": "the same picture as test:1"}
    assert "1 of 2 test rows have the text of a train or val row: test:2" in report["notes"]


def test_a_table_without_the_column_of_texts_is_refused() -> None:
    write(train=many(4))
    table = pq.read_table(RAW / "train.parquet").drop_columns(["text"])
    pq.write_table(table, RAW / "train.parquet")
    with pytest.raises(DataError, match="has no column 'text'"):
        run()


def test_a_text_that_is_a_list_is_named() -> None:
    import pyarrow as pa

    write(train=many(20))
    table = pq.read_table(RAW / "train.parquet").drop_columns(["text"])
    texts = pa.array([[str(n)] if n == 3 else None for n in range(20)])
    pq.write_table(table.append_column("text", texts), RAW / "train.parquet")
    with pytest.raises(DataError, match="its text is a list"):
        run(malformed="fail")


def test_the_bits_are_the_same_on_a_rerun() -> None:
    write(train=many(20))
    run()
    before = {path.name: path.read_bytes() for path in TARGET.iterdir()}
    run()
    assert before == {path.name: path.read_bytes() for path in TARGET.iterdir()}
    assert np.array([len(rows(split)) for split in clean.SPLITS]).sum() == 20
