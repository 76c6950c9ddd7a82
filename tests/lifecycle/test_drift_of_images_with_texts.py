"""Tables of images with texts: row digests and drift over both sides, for labelled rows and for new ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.contracts import text_pairs
from baton.errors import DataError
from baton.lifecycle import test_table
from baton.lifecycle.promotion import gate
from baton.lifecycle.retraining import drift, samples, unlabelled
from tests.lifecycle import pictures

CLASSES = params.ClassesTask(kind="classes")
LIMITS = params.DriftLimits(changed=10.0, labels=0.2, lengths=0.2, unknown=0.1)


def rows(
    count: int, seed: int, words: str = "stripes of some kind", light: int = 0
) -> list[tuple[bytes, int, str]]:
    """Return images with texts of four to six words, the last of them a number."""
    drawn = pictures.draw(count, seed, light)
    return [
        (image, label, f"{words} {'and more ' * (place % 2)}{seed}{place}")
        for place, (image, label) in enumerate(drawn)
    ]


def write(folder: Path, some: list[tuple[bytes, int, str]]) -> Path:
    splits = {"train": some[:-6], "val": some[-6:]}
    pictures.write(
        folder, {split: [(image, label) for image, label, _ in own] for split, own in splits.items()}
    )
    for split, own in splits.items():
        path = folder / f"{split}.parquet"
        texts = pa.array([text for _, _, text in own])
        pq.write_table(pq.read_table(path).append_column("text", texts), path)
    return folder


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    clean = write(tmp_path_factory.mktemp("clean"), rows(150, 0))
    return clean, json.loads(json.dumps(drift.profile(clean)))


def test_a_row_is_its_image_and_its_text(earlier: tuple[Path, Any], tmp_path: Path) -> None:
    path = earlier[0] / "train.parquet"
    table = test_table.read(path)
    assert table.kind == "image_text" and len(set(table.digests)) == len(table.ids) == 144
    first = next(table.inputs())[0]
    raw = pq.read_table(path).to_pylist()
    assert first == {"image": raw[0]["image"], "text": raw[0]["text"]}
    assert table.digests[:1] == test_table.digests([text_pairs.whole(raw[0]["digest"], raw[0]["text"])])
    some = rows(9, 0)
    retold = write(tmp_path / "retold", [(image, label, f"{text} now") for image, label, text in some])
    assert not set(test_table.training_digests(retold)) & set(table.digests), "another text is another row"
    assert len(set(test_table.training_digests(retold)) & {*table.images}) == 9, "but the image was seen"
    shouted = write(tmp_path / "shouted", [(image, label, text.upper()) for image, label, text in some])
    assert len(set(test_table.training_digests(shouted)) & {*table.digests}) == 9, "case does not count"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, []),
        ({"words": "stripes of some kind " * 3}, ["lengths"]),
        ({"words": "quarterly earnings rose sharply"}, ["unknown"]),
        ({"light": 60}, ["brightness"]),
    ],
    ids=["the same", "longer texts", "other words", "lighter images"],
)
def test_drift_of_either_side_is_named(
    earlier: tuple[Path, dict[str, Any]], tmp_path: Path, change: dict[str, Any], named: list[str]
) -> None:
    clean, profile = earlier
    fresh = write(tmp_path / "new", rows(150, 0) + rows(120, 7, **change))
    found = drift.measure(fresh, profile)
    assert found.rows > 100 and {"labels", "lengths", "unknown", "brightness"} == set(found.distances)
    assert [line.split()[0] for line in found.beyond(LIMITS)] == named
    assert drift.measure(clean, profile) == drift.Drift(0, 0, 0.0, {}, "image_text")


def test_new_rows_without_labels(earlier: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    some = rows(60, 9, light=60)
    images = [image for image, _, _ in some]
    texts: list[str | None] = [text for _, _, text in some]
    table = {"image": [*images, b"broken", images[0]], "text": [*texts, "a broken image", None]}
    pq.write_table(pa.table(table), tmp_path / "new.parquet")
    sample = unlabelled.read(tmp_path / "new.parquet", settings(), CLASSES)
    assert len(sample.keys) == 60 and list(sample.inputs([5, 3])) == [
        {"image": images[place], "text": texts[place]} for place in (3, 5)
    ]
    assert not any(
        isinstance(one, bytes) for own in vars(sample).values() if isinstance(own, list) for one in own
    )
    places = samples.unseen(sample, test_table.training_digests(earlier[0]))
    found = drift.measure_unlabelled(sample, places, earlier[1])
    assert [line.split()[0] for line in found.beyond(LIMITS)] == ["brightness"]


@pytest.fixture
def shipped(tmp_path: Path) -> list[tuple[bytes, int, str]]:
    """Write twelve images into a folder `new`; return them with their texts."""
    some = rows(12, 9)
    (tmp_path / "new").mkdir()
    for place, (image, _, _) in enumerate(some):
        (tmp_path / f"new/{place:02}.png").write_bytes(image)
    return some


def inputs(some: list[tuple[bytes, int, str]]) -> list[dict[str, Any]]:
    return [{"image": image, "text": text} for image, _, text in some]


def test_a_table_of_paths_without_labels(
    tmp_path: Path,
    root: Path,
    shipped: list[tuple[bytes, int, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As the source of such a recipe is, in CSV or Parquet; rows that lack something are named."""
    source = params.read(root / "recipes/image-text-csv.yaml").source
    good = [(f"new/{place:02}.png", text) for place, (_, _, text) in enumerate(shipped)]
    bad = [("lost.png", "no such file"), ("new/00.png", ""), ("../new/00.png", "outside")]
    lines = [",".join(line) for line in [("path", "text"), *good, *bad]]
    own = tmp_path / "table.csv"
    own.write_bytes("\n".join([*lines, "new/00.png,"]).encode() + b"caf\xe9 \xff\n")
    utf8 = source.model_copy(update={"format": source.format.model_copy(update={"encoding": "utf-8"})})
    found = unlabelled.read(own, settings(), CLASSES, source=utf8)
    assert list(found.inputs(range(12))) == inputs(shipped) and len(found.keys) == 12
    told = "".join(capsys.readouterr().out.split())
    assert all(
        one.replace(" ", "") in told
        for one in ("row 13 (no such file", "row 14 (no text)", "row 15 (its path leaves")
    )
    pq.write_table(
        pa.table(dict(zip(("path", "text"), zip(*good, strict=True), strict=True))),
        own := tmp_path / "t.parquet",
    )
    assert unlabelled.read(own, settings(), CLASSES, source=source).keys == found.keys
    (tmp_path / "other.csv").write_text("path,caption\nnew/00.png,a\n")
    with pytest.raises(DataError, match="no column 'text'"):
        unlabelled.read(tmp_path / "other.csv", settings(), CLASSES, source=source)
    with pytest.raises(DataError, match="no images with texts") as caught:
        unlabelled.read(tmp_path / "new", settings(), CLASSES, source=source)
    assert "columns path and text, as source says" in str(caught.value)


def test_a_folder_of_images_beside_their_texts(
    tmp_path: Path, root: Path, shipped: list[tuple[bytes, int, str]]
) -> None:
    source = params.read(root / "recipes/image-text-stamps.yaml").source
    assert isinstance(source, params.FolderSource) and source.text
    for place, (_, _, text) in enumerate(shipped):
        (tmp_path / f"new/{place:02}{source.text.suffix}").write_text(f"{source.text.mark}{text}\n")
    found = unlabelled.read(tmp_path / "new", settings(), CLASSES, source=source)
    assert list(found.inputs(range(12))) == inputs(shipped)
    (tmp_path / f"new/00{source.text.suffix}").unlink()
    assert len(unlabelled.read(tmp_path / "new", settings(), CLASSES, source=source).keys) == 11


def test_a_model_that_saw_the_image_with_another_text_is_not_compared(tmp_path: Path) -> None:
    some = rows(9, 0)
    table = test_table.read(write(tmp_path / "test", some) / "train.parquet")
    retold = [(image, label, f"{text} now") for image, label, text in some[:2]]
    seen = frozenset(test_table.training_digests(write(tmp_path / "seen", retold + rows(9, 5))))
    check = gate._leakage("champion", gate.Scored(pd.DataFrame(), 1, np.ones(1), seen), table)
    assert not check.passed and "2 of 3 test rows were in the champion's training data" in check.text
    other = frozenset(test_table.training_digests(write(tmp_path / "other", rows(9, 5))))
    check = gate._leakage("champion", gate.Scored(pd.DataFrame(), 1, np.ones(1), other), table)
    assert check.passed and f"({len(other)} rows and images)" in check.text


def test_a_table_without_texts_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b""]}), tmp_path / "new.parquet")
    with pytest.raises(DataError, match="no column text"):
        unlabelled.read(tmp_path / "new.parquet", settings(), CLASSES)


def settings() -> params.ImageTextPreprocess:
    return params.ImageTextPreprocess.model_construct(
        kind="image_text", image_column="image", text_column="text", max_pixels=10_000
    )
