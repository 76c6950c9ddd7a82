"""Images of mistakes in report.html: small, in the file itself, as many as there is room for."""

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from baton.evaluate.report.html import page, pictures
from baton.evaluate.report.html.about import About
from tests.evaluate.report import made_up
from tests.evaluate.report.reading import Page


def encoded(side: int, seed: int, form: str = "PNG") -> bytes:
    target = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, 2 * side, 3), np.uint8)
    Image.fromarray(pixels).save(target, form)
    return target.getvalue()


def write(folder: Path, images: list[bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    ids = [f"test:{row + 1}" for row in range(len(images))]
    pq.write_table(pa.table({"id": ids, "image": pa.array(images, pa.binary())}), folder / "test.parquet")
    return folder


def opened(address: str) -> Image.Image:
    head, _, content = address.partition(",")
    assert head in {"data:image/png;base64", "data:image/jpeg;base64"}
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_images_are_shrunk_and_small_ones_stay_exact(tmp_path: Path) -> None:
    images = [encoded(8, 0), encoded(300, 1)]
    found = pictures.read(write(tmp_path, images), ["test:2", "test:1", "test:2"])
    assert list(found) == ["test:2", "test:1"]
    assert opened(found["test:2"]).size == (pictures.SIDE, pictures.SIDE // 2)
    assert opened(found["test:2"]).format == "JPEG"
    small = np.asarray(opened(found["test:1"]))
    assert small.shape == (24, 48, 3), "8 by 16 pixels, each a square of 3 by 3"
    for row, column in ((0, 0), (1, 2), (2, 1)):
        assert np.array_equal(small[row::3, column::3], np.asarray(Image.open(io.BytesIO(images[0]))))


def test_there_is_a_limit_and_the_first_come_first(tmp_path: Path) -> None:
    folder = write(tmp_path, [encoded(100, seed) for seed in range(5)])
    ids = [f"test:{row}" for row in (4, 2, 1)]
    whole = pictures.read(folder, ids)
    room = len(whole["test:4"]) + len(whole["test:2"]) + 10
    assert list(pictures.read(folder, ids, room)) == ["test:4", "test:2"]


def test_other_inputs_and_broken_images_have_none(tmp_path: Path) -> None:
    assert pictures.read(tmp_path / "none", ["test:1"]) == {}
    folder = write(tmp_path, [b"no image", encoded(8, 0)])
    assert list(pictures.read(folder, ["test:1", "test:2"])) == ["test:2"]
    pq.write_table(pa.table({"id": ["test:1"], "text": ["a"]}), tmp_path / "test.parquet")
    assert pictures.read(tmp_path, ["test:1"]) == {}


def test_the_page_shows_the_images_of_mistakes(tmp_path: Path) -> None:
    names = [f"folder/{row} <b>.png" for row in range(120)]
    reports = made_up.classes(tmp_path, shown=names, column="name")
    write(reports.clean, [encoded(8, row) for row in range(120)])
    found = Page(page.render(reports, About()))
    images = found.root.xpath("//section[@id='failures']//img")
    assert images and all(opened(one.get("src")).size == (48, 24) for one in images)
    assert all("<b>.png" in one.get("alt") for one in images)
    assert [one for one in found.loads if not one.startswith("data:image/")] == []
