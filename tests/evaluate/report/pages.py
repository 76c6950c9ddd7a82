"""Pages of report.html with every part that it can have, for what looks at them in a browser."""

from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from baton.evaluate.report.html import page
from baton.evaluate.report.html.about import About
from baton.evaluate.report.html.csv_reading import Reports
from tests.evaluate.report import made_up, test_pictures, test_spoken_words

LONG = (
    *(f"a class with a name of {'very ' * times}many words" for times in range(4)),
    "Donaudampfschifffahrtsgesellschaftskapitän" * 2,
    "a/path/without/spaces" * 3,
)
STUDENT_SHOWN = made_up.SHARES | {"teacher": 0.5}
ABOUT = About(
    title="made up",
    description="A report to look at",
    made="2026-01-01 00:00 UTC",
    git={"git.commit": "a" * 40},
    machine={"python": "3.11"},
    runtime={"device": "cpu: no CUDA device"},
    params={"finetune.schedule.warmup": "0.1", "base.files": "x" * 300},
    digests={"models/teacher": "a" * 64},
    minutes={"time of finetune": "5 minutes"},
)


def many(folder: Path) -> Reports:
    return made_up.classes(folder, [f"class {place}" for place in range(100)], count=400)


def long(folder: Path) -> Reports:
    """Long names and values, and five seeds."""
    shown = [("w" * 200 if row % 5 == 0 else "some words " * 20)[:200] for row in range(200)]
    kept = {"source": [f"value {row % 40} {'long ' * 10}" for row in range(200)]}
    return made_up.classes(folder, LONG, count=200, shown=shown, kept=kept, seeds=5)


def words(folder: Path) -> Reports:
    """Words that spoke for wrong answers, of more mistakes than are shown outright."""
    reports = made_up.classes(folder, shares=STUDENT_SHOWN)
    test_spoken_words.explained(reports, [f"word{place}" for place in range(60)], 9)
    return reports


def images(folder: Path) -> Reports:
    """Images, and the drawing of their attributions."""
    names = [f"folder/{row}.png" for row in range(120)]
    reports = made_up.classes(folder, shown=names, column="name", shares=STUDENT_SHOWN)
    test_pictures.write(reports.clean, [test_pictures.encoded(8, row) for row in range(120)])
    (reports.folder / "figures").mkdir()
    Image.new("RGB", (800, 1000), "#88aaff").save(reports.folder / "figures" / "gallery_student.png")
    return reports


EVERY: Mapping[str, Callable[[Path], Reports]] = {
    **made_up.KINDS,
    "many classes": many,
    "long names": long,
    "words": words,
    "images": images,
}


def write(name: str, folder: Path) -> Path:
    """Write the page of this name into a folder."""
    path = folder / "page.html"
    path.write_text(page.render(EVERY[name](folder), ABOUT), encoding="utf-8")
    return path
