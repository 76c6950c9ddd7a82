"""The table in the terminal, as Markdown and CSV, and the figure."""

import csv
import dataclasses
from pathlib import Path

import pytest
from PIL import Image

from baton import console
from baton.compare import report, tables
from baton.compare.comparison import Comparison, Labels
from baton.contracts.training_costs import Costs
from tests.compare import made_up

SEEDS = (0.0, 0.01, -0.008, 0.004, 0.002)
NAMES = ("full", "head", "top", "gradual", "lora", "probe", "prototypes", "pairs", "auto")


def many(counts: tuple[Labels, ...] = (8, 32, 128, None)) -> Comparison:
    """All strategies that ship, at several numbers of labels; TF-IDF wins where there are few."""
    values: dict[str, dict[Labels, list[float]]] = {}
    for place, name in enumerate(NAMES):
        start = 0.5 + 0.02 * place
        steps = enumerate(counts)
        values[name] = {labels: [start + 0.08 * step + own for own in SEEDS] for step, labels in steps}
    values["tfidf_logistic"] = {labels: [0.73 + own / 2 for own in SEEDS[::-1]] for labels in counts}
    seconds = {name: 4.0 * 3**place for place, name in enumerate(values)}
    return made_up.comparison(values, seconds, baselines=("tfidf_logistic",))


def test_the_table_fits_into_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    found = many()
    for columns, rows in tables.wide(found):
        console.table(tables.title(found), columns, [list(row) for row in rows])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100, max(lines, key=len)
    assert any(line.startswith("│ full ") and "50.2 ±0.8" in line and "12.0 k" in line for line in lines)
    assert sum("*" in line for line in lines) >= 3, "what is recommended is marked"
    assert len(tables.wide(many((1, 2, 4, 8, 16, None)))) == 2


def test_costs_in_words() -> None:
    assert tables.costs(Costs()) == ["–", "–", "–"]
    assert tables.costs(Costs(90.0, 2.34e9, 22_700_000)) == ["22.7 M", "1.5", "2.3"]
    assert tables.costs(Costs(0.3, 1e8, 769)) == ["769", "<0.1", "0.1"]


def test_files_and_what_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = many()
    report.write(tmp_path / "out", found, ["pairs is left out: why"])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"comparison.csv", "comparison.md", "comparison.png", "trials.csv"}
    with (tmp_path / "out/comparison.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 * 4
    one = next(row for row in rows if row["name"] == "full" and row["labels"] == "8")
    assert one["accuracy"] == "0.5016" and one["macro_f1"] == "0.2508" and one["seeds"] == "5"
    assert float(one["gain_on_baseline_high"]) < 0 and one["gain_on_full"] == ""
    assert next(row["name"] for row in rows if row["recommended"] == "yes") == "tfidf_logistic"
    with (tmp_path / "out/trials.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 10 * 4 * 5
    text = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert (
        "TF-IDF is not beaten" in text and "| full | 5 | 50.2 |" in text and "pairs is left out: why" in text
    )
    assert r"against tfidf\_logistic | against full" in text
    report.show(found)
    shown = capsys.readouterr().out
    assert "TF-IDF is not beaten" in shown and "Student's t over 5 seeds" in shown


def test_the_figure_has_the_same_bytes_again(tmp_path: Path) -> None:
    report.draw(tmp_path / "a.png", many())
    report.draw(tmp_path / "b.png", many())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 800
    report.draw(tmp_path / "one.png", made_up.comparison({"full": {None: [0.5]}}))
    report.draw(tmp_path / "error.png", made_up.comparison({"full": {8: [0.5, 0.4]}}, figure=made_up.ERROR))


def test_students_stand_beside_their_controls(capsys: pytest.CaptureFixture[str]) -> None:
    values: dict[str, dict[Labels, list[float]]] = {
        "full": {16: [0.8, 0.81]},
        "full/student": {16: [0.78, 0.8]},
        "full/control": {16: [0.7, 0.73]},
    }
    made = made_up.comparison(values, baselines=())
    found = dataclasses.replace(made, candidates=("full/student",), others=("full", "full/control"))
    assert [row[0] for row in tables.wide(found)[0][1]] == ["full/student", "full", "full/control"]
    shown = report.sentences(found)
    assert shown[0].startswith("16 labels per class: use full/student (79.0%)")
    assert shown[1].startswith("full/student against full/control: 16 labels per class +7.5 points, interval")
