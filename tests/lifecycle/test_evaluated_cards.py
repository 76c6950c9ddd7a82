"""The cards that `evaluate` wrote go with the version of the model that they are about, and with no other."""

from pathlib import Path

import pytest

from baton import params, storage
from baton.evaluate.report.cards import writing
from baton.lifecycle import evaluated_cards
from baton.lifecycle.registration import register
from baton.lifecycle.registry import Registry
from baton.tracking import store
from tests.lifecycle.conftest import Publish


def write(student: str, teacher: str = "1" * 64) -> None:
    rows = f"| models/student | `{student}` |\n| models/teacher | `{teacher}` |\n"
    evaluated_cards.CARDS.mkdir(parents=True, exist_ok=True)
    for model, name in writing.MODEL_CARDS.items():
        (evaluated_cards.CARDS / name).write_text(f"---\ntags: [baton]\n---\n# {model}\n{rows}")
    (evaluated_cards.CARDS / writing.DATA_CARD).write_text("# data\n")


def test_each_model_gets_its_own_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluated_cards.read("student", "0" * 64, "") == {}, "evaluate has not run"
    write("0" * 64)
    for model, digest in (("student", "0" * 64), ("teacher", "1" * 64)):
        found = evaluated_cards.read(model, digest, "## This version\n")
        assert [*found] == ["MODEL_CARD.md", "DATA_CARD.md"]
        assert f"# {model}\n" in found["MODEL_CARD.md"] and found["MODEL_CARD.md"].endswith("version\n")
    assert evaluated_cards.read("student", "1" * 64, "") == {}, "it is about another model"


def test_an_export_gets_the_card_of_its_model_with_a_section_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write("0" * 64)
    graph = {"engine": "openvino", "precision": "int8", "inputs": [], "of": "student", "sha256": "0" * 64}
    storage.write_json(Path("models/export/baton.json"), {"graph": graph})
    assert evaluated_cards.read("export", "2" * 64, "") == {}, "there are no figures"
    figures = {"of": "student", "chosen": "openvino int8, NNCF", "bytes": 17_700_000}
    figures |= {"same": 0.9991, "largest_difference": 0.25, "sha256": "2" * 64}
    storage.write_json(evaluated_cards.FIGURES, figures)
    card = evaluated_cards.read("export", "2" * 64, "## This version\n")["MODEL_CARD.md"]
    assert "# student\n" in card and card.endswith("## This version\n")
    assert "exported: openvino int8, NNCF, 17.7 MB. On test 99.91% of its answers are those of" in card
    assert evaluated_cards.read("export", "3" * 64, "") == {}, "the figures are of another export"
    storage.write_json(Path("models/export/baton.json"), {"graph": graph | {"sha256": "4" * 64}})
    assert evaluated_cards.read("export", "2" * 64, "") == {}, "the card is about another student"


def test_a_version_has_its_cards_also_if_it_was_registered_first(publish: Publish) -> None:
    active = params.read()
    assert isinstance(active.tracking, params.MlflowTracking)
    own = Registry(store.open_store(active.tracking), active.promotion.name)
    publish(epochs=0)
    write("2" * 64)
    first, _ = register(own, active.promotion)
    assert "No model card" in first.description and own.read(first, "MODEL_CARD.md") is None
    write(storage.sha256_tree(Path("models/student")))
    again, new = register(own, active.promotion)
    assert not new and "No model card" not in again.description
    assert "Cards: MODEL_CARD.md and DATA_CARD.md in `registry/" in again.description
    card = own.read(again, "MODEL_CARD.md") or ""
    assert card.startswith("---\ntags: [baton]\n---\n# student\n") and own.read(again, "DATA_CARD.md")
    origin = card.partition("## This version")[2]
    assert "- commit `" in origin and f"- MLflow run `{again.run_id}`" in origin and "load_model" in origin
