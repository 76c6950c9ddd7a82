"""README's pictures of the report: at both widths, small, and taken again by a command."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import _chromium, report_pictures
from tests.evaluate.report import pages


def check(folder: Path) -> None:
    for name, (width, _) in report_pictures.VIEWS.items():
        path = folder / name
        with Image.open(path) as picture:
            assert picture.size == (width, report_pictures.HEIGHT)
        assert path.stat().st_size < report_pictures.MOST_BYTES


def test_readme_shows_them(root: Path) -> None:
    check(root / report_pictures.FOLDER)
    readme = (root / "README.md").read_text(encoding="utf-8")
    for name in report_pictures.VIEWS:
        assert f'<img src="{report_pictures.FOLDER}/{name}" alt="' in readme


@pytest.mark.skipif(_chromium.find() is None, reason="this machine has no Chromium")
def test_they_are_taken_of_any_report_and_have_its_colours(tmp_path: Path) -> None:
    report = pages.write("words", tmp_path)
    assert len(report_pictures.take(report, tmp_path / "pictures")) == 2
    check(tmp_path / "pictures")
    corners = []
    for name in report_pictures.VIEWS:
        with Image.open(tmp_path / "pictures" / name) as picture:
            corners.append(picture.convert("L").getpixel((0, 0)))
    assert corners[0] == 255 and corners[1] < 40, "light and dark"
