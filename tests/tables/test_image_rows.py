"""Image folders to clean tables: faults are reported, copies are found by pixels, nothing is lost."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from baton import params
from baton.arrays import image_arrays
from baton.errors import DataError
from baton.images import decoding
from baton.sources import fetching
from baton.streams import ahead
from baton.tables import checks, clean, encoded_rows, image_rows, image_samples, image_tables
from tests import image_files
from tests.data_fixtures import CLASSES
from tests.image_files import noise, put, saved, smooth
from tests.tables.test_near_images import cuts

Settings = Callable[..., params.ImagePreprocess]
RAW, TARGET = Path("data/raw"), Path("data/clean")


def write_raw(**files: list[tuple[Any, ...]]) -> None:
    """Write raw tables of (name, image, label) or (name, image, label, problem), and the manifest."""
    RAW.mkdir(parents=True, exist_ok=True)
    for split, rows in files.items():
        with image_tables.Writer(RAW / f"{split}.parquet", image_tables.RawImage) as writer:
            for row in rows:
                writer.add(image_tables.RawImage(*row))
    (RAW / "manifest.json").write_text(
        json.dumps({"files": {split: {"path": f"{split}.parquet"} for split in files}})
    )


def many(name: str, seed: int, **counts: int) -> list[tuple[str, bytes, str]]:
    """Return distinct PNGs."""
    pairs = [(label, number) for label, count in counts.items() for number in range(count)]
    return [
        (f"{name}/{label}/{number}.png", saved(noise(seed + place)), label)
        for place, (label, number) in enumerate(pairs)
    ]


def read(split: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(TARGET / f"{split}.parquet").to_pylist()
    return rows


def ids(*splits: str) -> set[str]:
    return {row["id"] for split in splits for row in read(split)}


def refused(settings: params.ImagePreprocess) -> str:
    before = sorted(Path("data").rglob("*"))
    with pytest.raises(DataError) as caught:
        clean.clean(RAW, TARGET, settings, CLASSES)
    assert sorted(Path("data").rglob("*")) == before, "no partial output"
    message = str(caught.value)
    assert all(part in message for part in ("got:", "expected:", "next:"))
    return message


# ---- one of each -------------------------------------------------------------------------------------------

TURNED = Image.Exif()
TURNED[0x0112] = 6
GREY = smooth(0)[..., :1]
ALPHA = np.concatenate([smooth(1), noise(0, 48, 64, 1)], axis=2)
TWO_FRAMES = {"save_all": True, "append_images": [Image.fromarray(smooth(3))]}
FINE = {  # name -> content, notes in the report
    "greyscale.png": (saved(GREY), {"greyscale"}),
    "palette.gif": (saved(Image.fromarray(smooth(2)).quantize(32), "GIF"), {"palette"}),
    "alpha.png": (saved(ALPHA), {"alpha on white"}),
    "cmyk.jpg": (saved(Image.fromarray(smooth(4)).convert("CMYK"), "JPEG"), {"CMYK"}),
    "deep.png": (saved(Image.fromarray(smooth(5)[..., 0].astype(np.uint16) * 200)), {"greyscale", "16 bits"}),
    "float.tif": (
        saved(Image.fromarray(smooth(6)[..., 0].astype(np.float32)), "TIFF"),
        {"greyscale", "32 bits"},
    ),
    "turned.jpg": (saved(smooth(7), "JPEG", exif=TURNED), {"turned (EXIF)"}),
}
DOUBTFUL = {  # name -> content, check, reason
    "misnamed.png": (saved(smooth(8), "JPEG"), "misnamed", "JPEG, but named .png"),
    "animated.gif": (saved(smooth(9), "GIF", **TWO_FRAMES), "animated", "the first of 2 frames is taken"),
    "clear.png": (
        saved(np.dstack([smooth(13), np.zeros((48, 64), np.uint8)])),
        "transparent",
        "all its pixels are transparent (PNG)",
    ),
}
BAD = {
    "empty.png": (b"", "unreadable", "empty: 0 bytes"),
    "text.jpg": (b"<html>404</html>", "unreadable", "not an image"),
    "truncated.jpg": (saved(smooth(10), "JPEG")[:-60], "unreadable", "truncated: "),
    "truncated.png": (saved(smooth(10))[:-60], "unreadable", "truncated: "),
    "broken.png": (saved(noise(10))[:60] + bytes(8) + saved(noise(10))[68:], "unreadable", "broken: "),
    "bomb.png": (image_files.bomb(), "enormous", "enormous: 50000 x 50000 pixels"),
}


@pytest.fixture
def album(workplace: Path) -> Path:
    """Create inbox/album: a class of ordinary images, and one that also has one of each kind."""
    for label, seed in (("odd", 100), ("plain", 200)):
        for number in range(12):
            put(f"inbox/album/{label}/{number}.png", saved(noise(seed + number)))
    for name, (content, *_) in (FINE | DOUBTFUL | BAD).items():
        put(f"inbox/album/odd/{name}", content)
    Path("inbox/album/odd/gone.png").symlink_to("nowhere")
    put("inbox/album/stray.png", saved(noise(99)))
    source = params.FolderSource(
        kind="folder",
        content="images",
        package=None,
        only=("*",),
        label="folder",
        folders=params.Files(train="inbox/album"),
        licence="mine",
    )
    fetching.fetch_source(source, RAW)
    return workplace


def names() -> dict[str, str]:
    """Return file name -> row id."""
    found = pq.read_table(RAW / "train.parquet", columns=["name"])["name"].to_pylist()
    return {Path(name).name: f"train:{number}" for number, name in enumerate(found, start=1)}


DROP = dict.fromkeys(params.ImageChecks.model_fields, "drop") | dict.fromkeys(
    ("drift", *checks.STAYING), "keep"
)


def test_one_of_each_is_named_with_its_reason(album: Path, image_settings: Settings) -> None:
    report = clean.clean(RAW, TARGET, image_settings(DROP), CLASSES)
    checks, of = report["checks"], names()
    for name, (_, check, reason) in (DOUBTFUL | BAD).items():
        assert reason in checks[check]["reasons"][of[name]], name
        assert f"odd/{name}: " in checks[check]["reasons"][of[name]]
        assert of[name] in checks[check]["dropped_rows"]
    assert checks["malformed"]["reasons"] == {of["gone.png"]: "odd/gone.png: a link to nothing"}
    assert checks["missing_label"]["reasons"] == {of["stray.png"]: "no label"}
    named = sum(len(check["rows"]) for name, check in checks.items() if name != "drift")
    assert named == len(DOUBTFUL) + len(BAD) + 2, "and no others"
    assert report["decoded"]["train"]["notes"] == {
        "greyscale": 3,
        "palette": 2,
        "alpha on white": 2,
        "transparent all over": 1,
        "CMYK": 1,
        "16 bits": 1,
        "32 bits": 1,
        "turned (EXIF)": 1,
        "first frame of several": 1,
    }
    left = {row["name"] for split in clean.SPLITS for row in read(split)}
    assert {f"odd/{name}" for name in FINE} <= left
    assert len(left) == 24 + len(FINE)
    assert report == json.loads((TARGET / "report.json").read_text())


def test_keep_keeps_what_can_be_decoded(album: Path, image_settings: Settings) -> None:
    report = clean.clean(RAW, TARGET, image_settings(), CLASSES)
    of = names()
    kept = ids(*clean.SPLITS)
    assert {of[name] for name in DOUBTFUL} <= kept
    assert not {of[name] for name in BAD} & kept
    assert report["checks"]["misnamed"]["rows"] == [of["misnamed.png"]]
    assert report["checks"]["misnamed"]["dropped_rows"] == []


def test_fail_names_them_all_and_stops(album: Path, image_settings: Settings) -> None:
    message = refused(image_settings(dict.fromkeys(params.ImageChecks.model_fields, "fail")))
    assert "7 problems" in message
    for part in (
        "unreadable: 5 rows",
        "enormous: 1 rows",
        "misnamed: 1 rows",
        "animated: 1 rows",
        "transparent: 1 rows",
        "malformed: 1 rows",
        "missing_label: 1 rows",
    ):
        assert part in message
    assert "odd/empty.png: empty: 0 bytes" in message
    assert "enormous: 1 rows" in refused(image_settings({"enormous": "fail"}))


def test_the_stage_shows_what_was_decoded(
    album: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from baton import console
    from stages import preprocess

    raw = params.read_raw(root / "params.yaml")
    raw["preprocess"] = {
        "kind": "images",
        "image_column": "image",
        "label_column": "label",
        "label_names": {},
        "validation": {"kind": "share", "share": 0.2},
        "test": {"kind": "share", "share": 0.2},
        "limit": {"train": None, "test": None},
        "shots": None,
        "seed": 0,
        "max_dropped": {"rows": 1.0, "rows_of_class": 1.0},
        "max_pixels": 1_000_000,
        "significant_bits": "auto",
        "checks": DROP,
    }
    raw["tokenize"] = {"kind": "images", "size": 16, "crop_fraction": 1.0, "channels": 3, "chunk_size": 16}
    raw["evaluate"] |= {"baselines": [{"kind": "majority"}], "attributions": None}
    put("params.yaml", json.dumps(raw).encode())
    console.run(preprocess.main)
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("Decoded files", "turned (EXIF)", "GIF", "unreadable", "enormous"))


# ---- outputs -----------------------------------------------------------------------------------------------


def test_clean_tables_hold_the_encoded_bytes_unchanged(workplace: Path, image_settings: Settings) -> None:
    train, test = many("train", 0, cat=20, dog=20), many("test", 500, dog=5, cat=5)
    write_raw(train=train, test=test)
    report = clean.clean(RAW, TARGET, image_settings(), CLASSES)
    assert report["rows"] == {"raw": {"train": 40, "test": 10}, "clean": {"train": 32, "val": 8, "test": 10}}
    assert json.loads((TARGET / "task.json").read_text()) == {"kind": "classes", "names": ["cat", "dog"]}
    by_id = {f"train:{number}": row for number, row in enumerate(train, start=1)} | {
        f"test:{n}": row for n, row in enumerate(test, start=1)
    }
    for split in clean.SPLITS:
        for row in read(split):
            name, content, label = by_id[row["id"]]
            assert (row["name"], row["image"], row["label"]) == (name, content, ["cat", "dog"].index(label))
            assert row["digest"] == decoding.digest(decoding.decode(content, 100).pixels)
    assert [row["id"] for row in read("test")] == [f"test:{number}" for number in range(1, 11)]
    assert {row["id"] for row in read("val")} <= {f"train:{number}" for number in range(1, 41)}
    schema = pq.read_schema(TARGET / "val.parquet")
    assert schema.names == ["id", "name", "image", "digest", "label"]
    assert schema.types == ["string", "string", "binary", "string", "int32"]


def test_a_rerun_gives_the_same_bytes_however_many_threads(
    workplace: Path, image_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raw(train=many("train", 0, cat=60, dog=60), test=many("test", 500, dog=5, cat=5))
    clean.clean(RAW, TARGET, image_settings(limit={"train": 90, "test": None}), CLASSES)
    first = {path.name: path.read_bytes() for path in TARGET.iterdir()}
    monkeypatch.setattr(encoded_rows.processors, "available", lambda: 7)
    monkeypatch.setattr(image_tables, "BATCH_ROWS", 5)
    clean.clean(RAW, TARGET, image_settings(limit={"train": 90, "test": None}), CLASSES)
    assert {path.name: path.read_bytes() for path in TARGET.iterdir()} == first
    clean.clean(RAW, TARGET, image_settings(seed=1), CLASSES)
    assert (TARGET / "train.parquet").read_bytes() != first["train.parquet"], "the seed matters"


def test_copies_are_found_by_their_pixels_across_formats_and_splits(
    workplace: Path, image_settings: Settings
) -> None:
    grey, colours = noise(900, channels=1), noise(901)
    train = [
        *many("train", 0, cat=10, dog=10),
        ("a.png", saved(colours), "cat"),  # 21: leaks test:3
        ("b.png", saved(grey), "cat"),  # 22
        ("c.tif", saved(grey.repeat(3, axis=2), "TIFF"), "cat"),  # 23: the same in three channels
        ("d.bmp", saved(noise(2), "BMP"), "dog"),  # 24: the same as train:3, a cat
        ("e.png", saved(colours[::-1]), "cat"),  # 25: upside down is a different image
    ]
    write_raw(train=train, test=[*many("test", 500, cat=1, dog=1), ("x.bmp", saved(colours, "BMP"), "cat")])
    report = clean.clean(
        RAW, TARGET, image_settings({"duplicate": "drop", "leakage": "drop", "conflict": "drop"}), CLASSES
    )
    checks = report["checks"]
    assert checks["leakage"]["reasons"] == {"train:21": "the same picture as test:3"}
    assert checks["duplicate"]["reasons"] == {"train:23": "the same as train:22"}
    assert list(checks["conflict"]["reasons"]) == ["train:3", "train:24"]
    assert ids("train", "val") == {f"train:{number}" for number in range(1, 26)} - {
        "train:3",
        "train:21",
        "train:23",
        "train:24",
    }
    assert ids("test") == {"test:1", "test:2", "test:3"}


def again(content: bytes, quality: int = 80, wider: int = 0) -> bytes:
    """Return an image saved again as JPEG, resized by a few pixels."""
    with Image.open(image_files.io.BytesIO(content)) as image:
        return saved(image.resize((image.width + wider, image.height)), "JPEG", quality=quality)


def test_pictures_that_were_saved_again_are_found_and_stay_together(
    workplace: Path, image_settings: Settings
) -> None:
    kept = [
        (f"{number}.png", saved(pixels), "cat" if number % 2 else "dog")
        for number, pixels in enumerate(cuts(40, 1))
    ]
    copies = [
        (f"{number}.jpg", again(kept[number][1], wider=number % 3 - 1), kept[number][2])
        for number in range(20)
    ]
    leaks = [(f"leak{number}.jpg", again(kept[number][1], 90), kept[number][2]) for number in range(30, 34)]
    write_raw(train=[*kept, *copies], test=[*leaks, *many("test", 500, cat=2, dog=2)])
    report = clean.clean(RAW, TARGET, image_settings(), CLASSES)
    found = report["checks"]["near_duplicate"]["reasons"]
    assert set(found) == {f"train:{number}" for number in [*range(31, 35), *range(41, 61)]}
    assert found["train:31"].endswith(" like test:1") and found["train:41"].endswith(" like train:1")
    assert report["near_duplicates"]["test_rows"] == [f"test:{number}" for number in range(1, 5)]
    val = ids("val")
    for number in range(1, 21):
        assert (f"train:{number}" in val) == (f"train:{number + 40}" in val), "never separated"
    clean.clean(RAW, TARGET, image_settings({"near_duplicate": "drop"}), CLASSES)
    assert ids("train", "val") == {f"train:{number}" for number in [*range(1, 31), *range(35, 41)]}


def test_kept_copies_do_not_straddle_train_and_validation(workplace: Path, image_settings: Settings) -> None:
    rows = many("train", 0, cat=20, dog=20)
    write_raw(train=rows * 3, test=many("test", 500, dog=5, cat=5))
    clean.clean(RAW, TARGET, image_settings(), CLASSES)
    assert {row["digest"] for row in read("train")}.isdisjoint(row["digest"] for row in read("val"))
    assert len(read("val")) == 24


def test_from_test_only_what_cannot_be_scored_is_dropped(workplace: Path, image_settings: Settings) -> None:
    animated = saved(smooth(0), "GIF", **TWO_FRAMES)
    odd = [
        ("a.gif", animated, "cat"),
        ("b.png", saved(noise(1), "BMP"), "cat"),
        ("c.png", b"", "dog"),
        ("d.png", saved(noise(2)), None),
    ]
    write_raw(train=[*many("train", 0, cat=10, dog=10), *odd], test=[*odd, *many("test", 500, cat=1)])
    report = clean.clean(RAW, TARGET, image_settings(DROP | {"leakage": "keep", "conflict": "keep"}), CLASSES)
    assert ids("test") == {"test:1", "test:2", "test:5"}
    assert report["checks"]["animated"]["dropped_rows"] == ["train:21"]
    assert report["checks"]["animated"]["rows"] == ["train:21", "test:1"]


def test_transparent_pictures_are_no_copies_of_each_other(workplace: Path, image_settings: Settings) -> None:
    clear = [
        (f"{number}.png", saved(np.dstack([noise(number), np.zeros((6, 9), np.uint8)])), "cat")
        for number in range(5)
    ]
    write_raw(train=[*many("train", 0, cat=10, dog=10), *clear], test=many("test", 500, cat=1))
    checks = clean.clean(RAW, TARGET, image_settings(DROP), CLASSES)["checks"]
    assert checks["transparent"]["dropped_rows"] == [f"train:{number}" for number in range(21, 26)]
    assert not checks["duplicate"]["rows"]


def camera(seed: int, most: int) -> bytes:
    """Return a 16-bit PNG with values up to `most`."""
    values = np.random.default_rng(seed).integers(0, most + 1, (6, 9), dtype=np.uint16)
    values[0, 0] = most
    return saved(Image.fromarray(values))


def test_how_many_of_16_bits_are_used_is_found_over_all_pictures(
    workplace: Path, image_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [100 + number for number in range(20)]  # dark images: each alone would seem to use 8 bits
    dark = [
        (f"{number}.png", camera(number, most), "cat" if number % 2 else "dog")
        for number, most in enumerate(values)
    ]
    test = [("a.png", camera(90, 4095), "cat"), ("b.png", camera(91, 200), "dog")]
    write_raw(train=[*dark, ("bright.png", camera(50, 4001), "cat")], test=test)
    report = clean.clean(RAW, TARGET, image_settings(), CLASSES)
    assert "16-bit images of train use 12 bits: their greatest value is 4001" in capsys.readouterr().out
    assert [report["decoded"][split]["significant_bits"] for split in ("train", "test")] == [12, 12]
    for split in clean.SPLITS:
        assert image_arrays.significant_bits(TARGET / f"{split}.parquet") == 12
        for row in read(split):
            shown = decoding.decode(row["image"], 100, 12).pixels
            assert row["digest"] == decoding.digest(shown)
            assert shown.max() == round(decoding.decode(row["image"], 100).greatest * 255 / 4095), (
                "a dark image stays dark"
            )
    assert not report["checks"]["duplicate"]["rows"]


@pytest.mark.parametrize(
    ("most", "bits"), [(255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (16384, 16), (65535, 16)]
)
def test_the_bits_of_a_camera(workplace: Path, image_settings: Settings, most: int, bits: int) -> None:
    write_raw(train=[("a.png", camera(0, most), "cat"), ("b.png", saved(noise(0)), "dog")])
    assert [
        table.bits for table in image_rows.read_all({"train": RAW / "train.parquet"}, image_settings())
    ] == [bits]
    assert [
        table.bits
        for table in image_rows.read_all(
            {"train": RAW / "train.parquet"}, image_settings(significant_bits=11)
        )
    ] == [11]


def test_pictures_of_8_bits_have_nothing_to_be_found(workplace: Path, image_settings: Settings) -> None:
    write_raw(train=many("train", 0, cat=6, dog=6), test=many("test", 500, cat=1))
    report = clean.clean(RAW, TARGET, image_settings(), CLASSES)
    assert "significant_bits" not in report["decoded"]["train"]
    assert pq.read_schema(TARGET / "train.parquet").metadata is None


def test_label_names_and_small_classes(workplace: Path, image_settings: Settings) -> None:
    copies = [("x.png", saved(noise(700)), "2")] * 3
    write_raw(
        train=[*many("train", 0, **{"0": 6, "1": 6}), *copies], test=many("test", 500, **{"0": 2, "1": 2})
    )
    named = {"0": "T-shirt", "1": "Trouser", "2": "Rare"}
    message = refused(image_settings({"small_class": "fail"}, label_names=named))
    assert (
        "small_class: 3 rows: train:13, train:14, train:15 "
        "(class 'Rare' has 1 different picture in train, cutting needs 2)" in message
    )
    clean.clean(RAW, TARGET, image_settings({"small_class": "drop"}, label_names=named), CLASSES)
    assert json.loads((TARGET / "task.json").read_text()) == {
        "kind": "classes",
        "names": ["T-shirt", "Trouser"],
    }
    assert "unknown_label: 3 rows" in refused(image_settings(label_names={"0": "T-shirt", "1": "Trouser"}))


def test_max_pixels_is_a_limit_to_the_pixel(workplace: Path, image_settings: Settings) -> None:
    write_raw(train=many("train", 0, cat=10, dog=10), test=many("test", 500, cat=1))
    clean.clean(RAW, TARGET, image_settings({"enormous": "fail"}, max_pixels=6 * 9), CLASSES)
    assert "enormous: 21 rows" in refused(image_settings({"enormous": "fail"}, max_pixels=6 * 9 - 1))


def test_only_a_few_batches_are_in_memory() -> None:
    taken = 0

    def batches() -> Iterator[list[image_samples.Sample]]:
        nonlocal taken
        for taken in range(1, 31):
            yield [image_samples.Sample(str(taken), b"", None, "")]

    with ThreadPoolExecutor(2) as pool:
        for number, (samples, seen) in enumerate(
            ahead(pool, lambda given: (given, [given[0].name]), batches(), 4), start=1
        ):
            assert (samples[0].name, seen) == (str(number), [str(number)]), "in order"
            assert taken - number < 4
    assert number == 30


# ---- tables from other sources -----------------------------------------------------------------------------


def write_table(columns: dict[str, Any], split: str = "train") -> None:
    RAW.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), RAW / f"{split}.parquet")
    manifest = RAW / "manifest.json"
    files = json.loads(manifest.read_text())["files"] if manifest.exists() else {}
    manifest.write_text(json.dumps({"files": files | {split: {"path": f"{split}.parquet"}}}))


def test_tables_of_the_hub(workplace: Path, image_settings: Settings) -> None:
    contents = [saved(noise(number)) for number in range(20)]
    stored = [{"bytes": content, "path": f"photo{number}.jpg"} for number, content in enumerate(contents)]
    stored += [{"bytes": None, "path": "elsewhere.png"}, None, {"bytes": contents[0], "path": None}]
    write_table({"img": stored, "fine_label": [*[0, 1] * 10, 0, 1, 0], "problem": ["not ours"] * 23})
    write_table({"img": [saved(noise(50)), saved(noise(51))], "fine_label": [0, 1]}, "test")
    settings = image_settings(
        {"misnamed": "keep"},
        image_column="img",
        label_column="fine_label",
        label_names={"0": "cat", "1": "dog"},
    )
    report = clean.clean(RAW, TARGET, settings, CLASSES)
    assert report["checks"]["malformed"]["reasons"] == {
        "train:21": "elsewhere.png: no bytes, but the path elsewhere.png",
        "train:22": "train/22: no image",
    }
    assert len(report["checks"]["misnamed"]["rows"]) == 20
    assert report["checks"]["duplicate"]["reasons"] == {"train:23": "the same as train:1"}
    assert {row["name"] for row in read("test")} == {"test/1", "test/2"}
    assert {row["image"] for split in ("train", "val") for row in read(split)} == set(contents)


def test_labels_that_are_none(workplace: Path, image_settings: Settings) -> None:
    write_table(
        {
            "image": [saved(noise(number)) for number in range(4)],
            "label": pa.array([b"a", b"\xff", b"b", None]),
        }
    )
    write_table({"image": [saved(noise(9))], "label": ["a"]}, "test")
    tables = [image_rows.read(RAW / "train.parquet", "train", image_settings())]
    assert tables[0].malformed == {"train:2": "train/2: its label is no UTF-8"}
    assert [row.label for row in tables[0].rows] == ["a", "b", ""]
    write_table({"image": [saved(noise(0))], "label": [[1, 2]]})
    assert image_rows.read(RAW / "train.parquet", "train", image_settings()).malformed == {
        "train:1": "label is a list; one label a row is needed"
    }


def test_files_that_cannot_be_used(workplace: Path, image_settings: Settings) -> None:
    write_table({"image": [saved(noise(0))], "label": ["a"]})
    assert "has no column 'img'" in (message := refused(image_settings(image_column="img")))
    assert "set preprocess.image_column" in message
    assert "has no column 'class'" in refused(image_settings(label_column="class"))
    write_table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())})
    assert "has no rows" in refused(image_settings())
    put(RAW / "train.parquet", b"image,label\na.png,cat\n")
    assert "source.kind folder or table" in refused(image_settings())
    write_table({"image": [saved(noise(number, 60, 90)) for number in range(40)], "label": ["a", "b"] * 20})
    content = bytearray((RAW / "train.parquet").read_bytes())
    content[4:60_000] = bytes(60_000 - 4)
    put(RAW / "train.parquet", bytes(content))
    refused(image_settings())


def test_a_table_of_paths_in_strings_is_no_table_of_images(workplace: Path, image_settings: Settings) -> None:
    write_table({"image": ["inbox/a.png"] * 4, "label": ["a", "b"] * 2})
    assert "unreadable: 4 rows: train:1 (train/1: not an image" in refused(
        image_settings({"unreadable": "fail"})
    )


def test_labels_of_pictures_are_mended_and_compared_like_those_of_texts(
    workplace: Path, image_settings: Settings
) -> None:
    names = ["cat"] * 8 + ["cat "] * 2 + ["Cat"] * 5 + ["dog"] * 8
    write_table({"image": [saved(noise(number)) for number in range(len(names))], "label": names})
    message = refused(image_settings({"similar_labels": "fail"}))
    assert (
        "similar_labels: 5 rows: train:11, train:12, train:13 and 2 more "
        "(label 'Cat' (5 rows) reads like 'cat' (10 rows))" in message
    )


def test_what_classes_lose_counts_pictures_that_are_not_there_and_empty_labels(
    workplace: Path, image_settings: Settings
) -> None:
    limits = {"rows": 0.1, "rows_of_class": 0.05}
    good = many("train", 0, cat=20, dog=20)
    gone = [(f"rare/{number}.png", None, "rare", "no such file") for number in range(2)]
    write_raw(train=[*good, *gone])
    with pytest.raises(DataError, match="'rare' 2 of 2"):
        clean.clean(RAW, TARGET, image_settings(max_dropped=limits), CLASSES)
    # An empty label may be in the wrong column; a null was never given.
    for label, stops in (("", True), (None, False)):
        write_raw(
            train=[*good, *((f"x/{number}.png", saved(noise(100 + number)), label) for number in range(10))]
        )
        if stops:
            with pytest.raises(DataError, match="train loses 10 of 50 rows"):
                clean.clean(RAW, TARGET, image_settings(max_dropped=limits), CLASSES)
        else:
            assert clean.clean(RAW, TARGET, image_settings(max_dropped=limits), CLASSES)["rows"]["raw"] == {
                "train": 50
            }
