"""reports/cards: the hub reads them, they say what the tables say, and names from data stay text."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, ModelCard

from baton import storage
from baton.contracts import input_spec, task_spec
from baton.contracts.task_spec import Classes
from baton.evaluate.report.cards import metadata, writing
from baton.evaluate.report.cards.facts import Project
from baton.evaluate.report.cards.markdown import Markdown, code, escaped, paragraph, table
from baton.evaluate.report.html.csv_reading import Reports
from tests import tiny
from tests.evaluate.report import made_up

ATTACKS = (
    "---\nlicense: mit",
    "a | b",
    "<script>alert(1)</script>",
    "![x](http://evil/y.png)",
    "{{ 7*7 }}",
    "# title",
    "`code`",
    "</details>",
)
SETTINGS = {"distill": {"epochs": 3, "seeds": [0]}, "finetune": {"epochs": 2}, "evaluate": {}}


def project(reports: Reports, description: str = "News topics.", licence: str = "MIT") -> Project:
    """Complete made-up reports with the other files that cards are made from."""
    root = reports.folder.parent
    source = {"kind": "local", "files": {"train": "inbox/films.csv"}, "licence": licence}
    files = {"train": {"origin": "inbox/films.csv", "bytes": 7, "sha256": "0" * 64, "path": "train.csv"}}
    storage.write_json(root / "raw/manifest.json", {"source": source, "files": files, "licence": licence})
    base = {"kind": "hub", "repository": "me/base", "licence": "MIT"}
    storage.write_json(
        root / "base/manifest.json", {"base": base, "origin": "hub me/base@0", "licence": "MIT"}
    )
    for name in ("teacher", "student", "control"):
        storage.write_json(root / f"models/{name}/config.json", {"name": name})
    (root / "requirements.lock").write_text(
        "# head\nnumpy==2.4.0\ntorch==2.14.1\nx==1; sys_platform == 'y'\n"
    )
    models = {name: root / "models" / name for name in ("teacher", "student", "control")}
    return Project(
        reports, root / "raw", root / "base", models, root / "requirements.lock", description, SETTINGS
    )


def described(reports: Reports, names: tuple[str, ...] = ()) -> Reports:
    """Add what `tokenize` says of input and task."""
    meta = {"input": input_spec.described(tiny.TEXT_INPUT), "task": task_spec.described(Classes(names))}
    storage.write_json(reports.arrays / "meta.json", meta)
    return reports


@pytest.mark.parametrize("kind", made_up.KINDS)
def test_the_hub_reads_the_cards_of_every_kind_of_task(kind: str, tmp_path: Path) -> None:
    made = project(made_up.KINDS[kind](tmp_path))
    writing.write(made)
    figures = json.loads((tmp_path / "reports/metrics.json").read_text())
    for model, name in writing.MODEL_CARDS.items():
        card = ModelCard.load(tmp_path / "reports/cards" / name)
        block = card.data.to_dict()
        assert block["license"] == "mit" and block["base_model"] == "me/base" and "language" not in block
        assert card.data.model_name == model and card.data.eval_results
        main = card.data.eval_results[0]
        key = metadata.figures(writing.Parts(made.reports), model)[0]
        assert main.metric_value == figures[model][key] and "interval" in main.metric_name
        for heading in ("What it is", "Intended use and limits", "Figures", "How it was made"):
            assert f"\n## {heading}\n" in card.text, (kind, heading)
        for other in ("teacher", "student", "control", made_up.BASELINE):
            assert f"\n| {other} | " in card.text
        assert not [line for line in card.text.splitlines() if "nan" in line.split()], kind
    data = DatasetCard.load(tmp_path / "reports/cards" / writing.DATA_CARD)
    assert data.data.to_dict()["pretty_name"] == "films" and "inbox/films.csv" in data.text


def test_figures_are_those_of_the_metrics(tmp_path: Path) -> None:
    made = project(described(made_up.classes(tmp_path), ("corn", "ship", "wheat")))
    card = ModelCard(writing.render(made)["MODEL_CARD.md"])
    own = json.loads((tmp_path / "reports/metrics.json").read_text())["student"]
    assert (
        card.data.pipeline_tag == "text-classification" and "3 outputs named corn, ship, wheat" in card.text
    )
    found = {one.metric_name.partition(" (")[0]: one.metric_value for one in card.data.eval_results}
    assert found == {
        "Accuracy": own["accuracy"],
        "Macro F1": own["macro_f1"],
        "Log loss": own["log_loss"],
        "Calibration error": own["calibration_error_scaled"],
    }
    low, high = (f"{100 * end:.2f}" for end in own["macro_f1_interval"])
    assert f"| macro F1 | {100 * own['macro_f1']:.2f}% | {low} to {high} |" in card.text.splitlines()
    row = next(
        row
        for row in made.reports.table("per_class.csv")
        if row["model"] == "student" and row["class"] == "corn"
    )
    assert f"| corn | {row['support']} | {100 * float(row['precision']):.1f}% |" in card.text


def test_the_same_inputs_give_the_same_bytes_and_no_time(tmp_path: Path) -> None:
    first = project(made_up.classes(tmp_path / "a"))
    second = project(made_up.classes(tmp_path / "b", timings=False))
    assert writing.render(first) == writing.render(first)
    assert writing.render(first) == writing.render(second), "speeds are not in a card"
    changed = replace(second, settings=SETTINGS | {"distill": {"epochs": 4}})
    assert writing.render(first) != writing.render(changed)


def test_names_and_descriptions_stay_data(tmp_path: Path) -> None:
    reports = described(made_up.classes(tmp_path, ATTACKS, count=160), ATTACKS)
    report = storage.read_json(reports.clean / "report.json")
    report |= {"classes": {name: {"train": 3, "val": 1, "test": 2} for name in ATTACKS}, "notes": [*ATTACKS]}
    storage.write_json(reports.clean / "report.json", report)
    for attack in ATTACKS:
        made = project(reports, description=attack, licence=attack)
        for name, text in writing.render(made).items():
            card = (DatasetCard if name == writing.DATA_CARD else ModelCard)(text)
            assert str(card) == text and card.data.to_dict()["license"] == "other", (
                "one block, read as written"
            )
            assert "<script" not in text and "![x]" not in text and "\n# title" not in text
            assert "\nlicense: mit" not in text and "49" not in card.text.partition("##")[0]
            assert text.count("<details>") == text.count("</details>"), "only our own"
            heads = [line for line in card.text.splitlines() if re.match(r"(?:\s|[-*+] )*# ", line)]
            assert len(heads) == 1
            for line in card.text.splitlines():
                if line.startswith("| a \\| b"):
                    assert line.replace("\\|", "").count("|") in {5, 7}


def test_limits_are_said_where_the_tables_show_them(tmp_path: Path) -> None:
    reports = described(made_up.classes(tmp_path))
    limits = ModelCard(writing.render(project(reports))["MODEL_CARD.md"]).text
    assert "fewer than" not in limits and "reads only a part" not in limits
    report = storage.read_json(reports.clean / "report.json")
    few = {"corn": {"train": 7, "test": 2}, "ship": {"train": 99, "test": 99}}
    checks = {"drift": {"found": True, "total_variation": 0.3}, "conflict": {"found": {"train": 4}}}
    storage.write_json(reports.clean / "report.json", report | {"classes": few, "checks": checks})
    storage.write_json(reports.arrays / "report.json", {"test": {"truncated_share": 0.25}})
    limits = ModelCard(writing.render(project(reports))["MODEL_CARD.md"]).text
    assert "fewer than 50 rows in train, too few to learn much from: 1 of 2 classes: corn (7)." in limits
    assert "Of 25.0% of the test texts it reads only a part." in limits
    assert "differ in their labels more than by chance" in limits and "4 rows occur with different" in limits


def test_many_classes_show_the_worst_and_the_best(tmp_path: Path) -> None:
    names = tuple(f"c{place:02d}" for place in range(40))
    reports = described(made_up.classes(tmp_path, names, count=400), names)
    text = ModelCard(writing.render(project(reports))["MODEL_CARD.md"]).text
    shown = [line for line in text.splitlines() if line.startswith("| c")]
    assert len([line for line in shown if line.split()[1] in names]) == 20
    assert "tables/per\\_class.csv has all" in text and "and 20 more" in text


def test_nothing_but_metrics_is_needed(tmp_path: Path) -> None:
    reports = made_up.classes(tmp_path)
    bare = Project(reports, tmp_path / "no", tmp_path / "no", {}, tmp_path / "no", "", {})
    found = writing.render(bare)
    assert "license" not in ModelCard(found["MODEL_CARD.md"]).data.to_dict()
    assert "licence: not named" in found["MODEL_CARD.md"] and "# Data card: data" in found["DATA_CARD.md"]


@pytest.mark.parametrize(
    ("named", "block"),
    [
        (["Apache-2.0", "apache-2.0"], {"license": "apache-2.0"}),
        (["MIT", "CC BY 4.0"], {"license": "other", "license_name": "mit-and-cc-by-4.0"}),
        (["CC BY 4.0"], {"license": "cc-by-4.0"}),
        ([None, ""], {}),
        (["***"], {"license": "other", "license_name": "unnamed"}),
    ],
)
def test_licences(named: list[str | None], block: dict[str, str]) -> None:
    assert metadata.licence(named) == block


@pytest.mark.parametrize(
    ("function", "given", "shown"),
    [
        (escaped, "a_b*c\u202e\x00", "a\\_b\\*c\ufffd\ufffd"),
        (escaped, Markdown("**a**"), "**a**"),
        (paragraph, "- a", "\\- a"),
        (paragraph, "12. a", "12\\. a"),
        (paragraph, "12 a", "12 a"),
        (code, "a`b|c", "`abc`"),
    ],
)
def test_escaping(function: Callable[[str], str], given: str, shown: str) -> None:
    assert function(given) == shown


def test_a_table_has_a_cell_for_each_column() -> None:
    assert table(("a", "b"), [("x|y", "z\nw")]).splitlines()[-1] == "| x\\|y | z w |"
