"""README's pictures of reports/report.html: the top of the page in a wide and in a narrow window.

    python -m benchmarks.report_pictures

It needs Chromium, and the report of the last run. The same report gives the same pictures, as long as
Chromium and the fonts are the same.
"""

import argparse
from pathlib import Path

from PIL import Image

from benchmarks import _chromium

FOLDER = Path("docs/pictures")
HEIGHT = 1150
VIEWS = {"report_1440.png": (1440, False), "report_390.png": (390, True)}  # width, dark colours
COLOURS = 256  # a page has few; with them a picture has half its bytes
MOST_BYTES = 200_000


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", type=Path, default=Path("reports/report.html"))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    asked = parser.parse_args()
    if not asked.report.is_file():
        raise SystemExit(f"{asked.report} does not exist; `make repro` writes it")
    for path in take(asked.report, asked.folder):
        print(f"{path}: {path.stat().st_size:,} bytes")


def take(report: Path, folder: Path) -> list[Path]:
    """Write the pictures of a report into a folder; return their paths.

    Raises:
        ValueError: one is larger than a README should load.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with _chromium.page() as window:
        for name, (width, dark) in VIEWS.items():
            path = folder / name
            window.open(report, width, HEIGHT, dark=dark)
            window.picture(path)
            with Image.open(path) as picture:
                whole = picture.convert("RGB")
            few = whole.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            few.save(path, optimize=True)
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(
                    f"{path} has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,} are wanted"
                )
            paths.append(path)
    return paths


if __name__ == "__main__":
    main()
