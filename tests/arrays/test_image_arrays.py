"""Images to memory-mapped pixels, and the stage that writes them."""

import io
import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from baton import params, storage
from baton.arrays import disk_space, image_arrays
from baton.contracts import input_spec, task_spec
from baton.contracts.input_spec import ImageInput
from baton.errors import DataError, OutputError
from baton.images.framing import framing
from baton.streams import few
from tests import tiny
from tests.image_files import saved
from tests.photos import INPUT, digits, photo, write_table

SHAPES = [(40, 50), (16, 16), (9, 12), (64, 33), (200, 17)] * 7
DIGITS = tiny.task(*map(str, range(10)))
FILES = ("pixels.npy", "shapes.npy", "offsets.npy", "targets.npy", "ids.parquet")
GREY = replace(INPUT, size=(8, 8), channels=1, mean=(0.5,), std=(0.5,))


def tokenize(
    table: Path, target: Path, reads: ImageInput = INPUT, chunk_size: int = 4, workers: int = 2
) -> dict[str, Any]:
    target.mkdir(exist_ok=True)
    return image_arrays.tokenize(table, reads, target, chunk_size, lambda count: None, DIGITS, workers)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write photos of several sizes."""
    photos = [photo(*shape, seed=index) for index, shape in enumerate(SHAPES)]
    return write_table(
        tmp_path_factory.mktemp("clean") / "train.parquet",
        photos,
        [index % 3 for index in range(len(SHAPES))],
    )


def test_small_pictures_are_stored_as_they_are(tmp_path: Path) -> None:
    pictures, labels = digits(50)
    report = tokenize(write_table(tmp_path / "test.parquet", pictures, labels), tmp_path, GREY)
    arrays = image_arrays.open_arrays(tmp_path, "test", DIGITS)
    assert isinstance(arrays.pixels, np.memmap)
    assert (len(arrays), arrays.channels, arrays.shape) == (50, 1, (8, 8))
    assert arrays.targets.all.tolist() == labels
    assert all(np.array_equal(arrays.image(row), picture) for row, picture in enumerate(pictures))
    rows = np.array([3, 0, 49])
    assert np.array_equal(arrays.stack(rows), [pictures[row] for row in rows])
    size = {"min": 8, "p5": 8, "p25": 8, "p50": 8, "p75": 8, "p95": 8, "max": 8}
    assert report == {
        "images": 50,
        "bytes": 3200,
        "resized": 0,
        "resized_share": 0.0,
        "recoloured": 0,
        "height": size,
        "width": size,
    }


def test_pictures_of_any_size_are_stored_as_framed(table: Path, tmp_path: Path) -> None:
    report = tokenize(table, tmp_path)
    arrays = image_arrays.open_arrays(tmp_path, "train", DIGITS)
    assert arrays.shape is None
    for row, shape in enumerate(SHAPES):
        assert np.array_equal(arrays.image(row), framing(INPUT).stored(photo(*shape, seed=row)))
    assert report["bytes"] == len(arrays.pixels) == int(arrays.offsets[-1])
    assert (report["resized"], report["resized_share"]) == (21, 0.6)  # those with both sides above 16
    assert (
        report["height"]["min"],
        report["height"]["p50"],
        report["height"]["max"],
        report["width"]["max"],
    ) == (9, 40, 200, 50)


def test_channels_are_converted_and_counted(tmp_path: Path) -> None:
    mixed = [photo(20, 20), photo(20, 20, channels=1), photo(20, 20, seed=1)]
    source = write_table(tmp_path / "val.parquet", mixed, [0, 1, 0])
    assert tokenize(source, tmp_path / "colours")["recoloured"] == 1
    assert tokenize(source, tmp_path / "grey", GREY)["recoloured"] == 2
    assert image_arrays.open_arrays(tmp_path / "colours", "val", DIGITS).image(1).shape == (16, 16, 3)
    assert image_arrays.open_arrays(tmp_path / "grey", "val", DIGITS).image(0).shape == (8, 8, 1)


def test_large_pictures_are_read_few_at_a_time(table: Path) -> None:
    metadata = pq.ParquetFile(table).metadata
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    assert few(metadata, 4, image_arrays.CHUNK_BYTES) == 4
    assert few(metadata, 512, 2 * size // metadata.num_rows + 1) == min(2, metadata.num_rows)


def test_workers_and_chunk_size_change_no_byte(table: Path, tmp_path: Path) -> None:
    reports = []
    for chunk_size, workers in [(4, 1), (4, 4), (1000, 2), (1, 3)]:
        reports.append(
            tokenize(table, tmp_path / f"{chunk_size}-{workers}", chunk_size=chunk_size, workers=workers)
        )
    assert all(report == reports[0] for report in reports)
    for name in FILES[:4]:
        contents = {(folder / f"train.{name}").read_bytes() for folder in tmp_path.iterdir()}
        assert len(contents) == 1
    again = tmp_path / "again"
    tokenize(table, again)
    assert (again / "train.ids.parquet").read_bytes() == (tmp_path / "4-1" / "train.ids.parquet").read_bytes()


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    peaks = []
    for count in (200, 1600):
        source = write_table(tmp_path / f"many{count}.parquet", [photo(16, 16)] * count, [0] * count)
        tracemalloc.start()
        tokenize(source, tmp_path, chunk_size=16)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    pixels = (1600 - 200) * 16 * 16 * 3
    assert peaks[1] - peaks[0] < pixels / 8


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    source = write_table(tmp_path / "train.parquet", [photo(9, 9), b"not an image", photo(9, 9)], [0, 0, 1])
    with pytest.raises(
        DataError,
        match=r"image train:2 cannot be decoded\n  got:[\s\S]*next: +run `dvc repro --force preprocess`",
    ):
        tokenize(source, tmp_path)


@pytest.mark.parametrize("name", FILES[:4])
def test_arrays_that_do_not_fit_are_refused(table: Path, tmp_path: Path, name: str) -> None:
    tokenize(table, tmp_path)
    path = tmp_path / f"train.{name}"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(DataError, match=r"train\.\*\.npy do not match"):
        image_arrays.open_arrays(tmp_path, "train", DIGITS)
    path.unlink()
    with pytest.raises(DataError, match=rf"train\.{name} is missing"):
        image_arrays.open_arrays(tmp_path, "train", DIGITS)


def test_pictures_of_swapped_shapes_are_refused(table: Path, tmp_path: Path) -> None:
    tokenize(table, tmp_path)
    shapes = np.load(tmp_path / "train.shapes.npy")
    shapes[[0, 2]] = shapes[[2, 0]]  # their sum stays the same
    np.save(tmp_path / "train.shapes.npy", shapes)
    with pytest.raises(DataError, match="do not match"):
        image_arrays.open_arrays(tmp_path, "train", DIGITS)


# ---- room on the disk ----


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: SimpleNamespace(free=count))


def test_what_fits_is_not_looked_at(table: Path, tmp_path: Path) -> None:
    assert disk_space.check([table], INPUT, tmp_path / "data/arrays") == 2 * len(SHAPES) * (
        16 * 16 * 3 + disk_space.INDEX_BYTES
    )


def test_headers_tell_how_much_is_needed(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = tokenize(table, tmp_path)["bytes"]
    needed = 2 * (pixels + len(SHAPES) * disk_space.INDEX_BYTES)  # the second copy is in DVC's cache
    free(monkeypatch, needed)  # less than full canvases would take
    assert disk_space.check([table], INPUT, tmp_path) == needed
    indices = sum((tmp_path / f"train.{name}").stat().st_size for name in FILES[1:])
    assert indices < needed / 2 - pixels + 4096  # file headers
    free(monkeypatch, needed - 1)
    with pytest.raises(OutputError) as raised:
        disk_space.check([table], replace(INPUT, crop_fraction=0.99), tmp_path)
    message = str(raised.value)
    for part in (
        f"{needed - 1:,} bytes free",
        f"{needed:,} bytes: 35 images, here and in DVC's cache",
        "lower tokenize.size (now 16 x 16)",
        "tokenize.channels to 1",
    ):
        assert part in message
    assert "raise tokenize.crop_fraction (now 0.99)" in message
    assert "preprocess.limit.train" in message


def test_a_cache_of_its_own_needs_no_room_here(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    twice = disk_space.check([table], INPUT, tmp_path)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    analytics = false\n['remote \"a\"']\n    url = /somewhere\n")
    assert disk_space.check([table], INPUT, tmp_path) == twice
    Path(".dvc/config.local").write_text("[cache]\n    dir = /large\n")
    assert disk_space.check([table], INPUT, tmp_path) == twice / 2


def test_a_size_beyond_any_disk_does_no_harm_to_small_pictures(table: Path, tmp_path: Path) -> None:
    reads = replace(INPUT, size=(10_000_000, 10_000_000))
    assert disk_space.check([table], reads, tmp_path) == 2 * sum(
        min(shape) ** 2 * 3 + disk_space.INDEX_BYTES for shape in SHAPES
    )


def test_pictures_on_their_side_are_counted_for_either_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(20, 100)).save(target, "JPEG", exif=exif)
    source = write_table(tmp_path / "train.parquet", [target.getvalue()], [0])
    reads = replace(INPUT, size=(90, 40))
    stored = tokenize(source, tmp_path, reads)["bytes"]
    free(monkeypatch, 2 * (stored + disk_space.INDEX_BYTES))
    assert disk_space.check([source], reads, tmp_path) == 2 * (stored + disk_space.INDEX_BYTES)
    assert image_arrays.open_arrays(tmp_path, "train", DIGITS).shape == (45, 20)


# ---- the stage ----

Write = Callable[..., None]


@pytest.fixture
def stage(workplace: Path, root: Path) -> Write:
    """Return `stage(recipe, **changes to tokenize)`, which writes params.yaml and runs the stage."""

    def run(recipe: str, **changes: Any) -> None:
        from stages import tokenize as module

        raw = params.read_raw(root / "recipes" / recipe)
        raw["tokenize"] |= changes
        Path("params.yaml").write_text(json.dumps(raw))
        module.main()

    return run


def write_clean_digits(folder: Path) -> None:
    pictures, labels = digits(60)
    for split, rows in {"train": slice(0, 40), "val": slice(40, 50), "test": slice(50, 60)}.items():
        write_table(folder / f"{split}.parquet", pictures[rows], labels[rows])
    storage.write_json(
        folder / "task.json", task_spec.described(tiny.task(*[str(label) for label in range(10)]))
    )


def test_the_stage_writes_pictures(stage: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write_clean_digits(Path("data/clean"))
    Path("data/base").mkdir()
    storage.write_json(
        Path("data/base/config.json"),
        {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"crop_pct": 0.9}},
    )
    stage("digits-vit.yaml", chunk_size=7, size=8)
    folder = Path("data/arrays")
    meta = storage.read_json(folder / "meta.json")
    assert meta["task"] == {"kind": "classes", "names": list("0123456789")}
    assert meta["input"] == {
        "kind": "images",
        "size": [8, 8],
        "channels": 1,
        "mean": pytest.approx([0.449]),
        "std": pytest.approx([0.226]),
        "interpolation": "bicubic",
        "crop_fraction": 1.0,
        "crop_mode": "center",
    }
    assert {name: part["images"] for name, part in storage.read_json(folder / "report.json").items()} == {
        "train": 40,
        "val": 10,
        "test": 10,
    }
    assert np.array_equal(image_arrays.open_arrays(folder, "test", DIGITS).image(9), digits(60)[0][-1])
    printed = capsys.readouterr().out
    assert "tokenize: 60 of 60 images" in printed
    assert re.search(r"source width, maximum +│ +8 │", printed)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    stage("digits-vit.yaml", chunk_size=7, size=8)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_stage_hands_on_how_many_bits_pictures_use(stage: Write) -> None:
    from baton.tables.image_tables import CleanImage, Writer

    Path("data/clean").mkdir(parents=True)
    values = np.linspace(0, 4095, 64).round().astype(np.uint16).reshape(8, 8)
    for split in ("train", "val", "test"):
        with Writer(Path(f"data/clean/{split}.parquet"), CleanImage, 12) as writer:
            writer.add(CleanImage(f"{split}:1", "a.png", saved(Image.fromarray(values)), "", 0))
    storage.write_json(Path("data/clean/task.json"), task_spec.described(tiny.task("0")))
    Path("data/base").mkdir()
    storage.write_json(Path("data/base/config.json"), {"architecture": "vit_tiny_patch16_224"})
    stage("digits-vit.yaml", size=8, crop_fraction=1.0)
    assert storage.read_json(Path("data/arrays/meta.json"))["input"]["significant_bits"] == 12
    assert np.array_equal(
        image_arrays.open_arrays(Path("data/arrays"), "test", DIGITS).image(0)[:, :, 0],
        np.rint(values * (255 / 4095)),
    )


def test_the_stage_leaves_nothing_after_a_refusal(stage: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clean_digits(Path("data/clean"))
    Path("data/base").mkdir()
    storage.write_json(Path("data/base/config.json"), {"architecture": "vit_tiny_patch16_224"})
    free(monkeypatch, 1000)
    with pytest.raises(OutputError, match="no room for the arrays"):
        stage("digits-vit.yaml")
    assert {path.name for path in Path("data").iterdir()} == {"clean", "base"}


def test_the_stage_writes_texts(stage: Write) -> None:
    tiny.write_base(Path("data/base"))
    tiny.write_clean(Path("data/clean"))
    stage("csv.yaml", max_length=16, truncation={"kind": "head"})
    meta = storage.read_json(Path("data/arrays/meta.json"))
    assert meta == {"task": task_spec.described(tiny.TASK), "input": input_spec.described(tiny.TEXT_INPUT)}
    assert {path.name for path in Path("data/arrays").iterdir()} == {
        "meta.json",
        "report.json",
        *(
            f"{split}.{name}"
            for split in ("train", "val", "test")
            for name in ("tokens.npy", "offsets.npy", "targets.npy", "ids.parquet")
        ),
    }


def test_the_stage_starts_without_torch(root: Path) -> None:
    heavy = ("torch", "timm", "torchvision", "transformers")
    script = f"import sys, stages.tokenize; sys.exit(any(name in sys.modules for name in {heavy}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env={"PYTHONPATH": "src"}, check=False)
    assert done.returncode == 0
