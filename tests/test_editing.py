"""Params files are edited in place of a value, and keep their comments."""

from pathlib import Path

import pytest

from baton import params
from baton.errors import ParamsError
from baton.params import editing

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
CHANGES = {
    "finetune.head": {"kind": "mlp", "name": "it's [1], {a: b} # $x ${y}", "rate": 1e-5, "none": None},
    "base": {"kind": "local", "folder": "inbox/base", "licence": "none"},
    "distill.student.layers": [1, 2],
    "preprocess.new": [{"layers": "layer.[0-3]*", "rate": 0.0, "unfreeze": 0.5}],
    "finetune.clip_norm": None,
}


def test_other_lines_stay_as_they_are() -> None:
    assert editing.edited(TEXT, {}) == TEXT
    made = editing.edited(TEXT, {"finetune.epochs": 9}).splitlines()
    changed = [(old, new) for old, new in zip(TEXT.splitlines(), made, strict=True) if old != new]
    assert changed == [("  epochs: 2", "  epochs: 9")]


def test_a_value_is_read_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(editing.edited(TEXT, CHANGES), encoding="utf-8")
    raw = params.read_raw(ROOT / "params.yaml")
    found = params.read_raw(path)
    assert found == editing.replaced(raw, CHANGES)
    assert found["finetune"]["head"] == CHANGES["finetune.head"], "nothing of the old head is left"
    assert found["base"] == CHANGES["base"]
    assert raw == params.read_raw(ROOT / "params.yaml")


def test_a_key_must_lead_through_sections() -> None:
    for key, got in (("finetune.epochs.more", "finetune.epochs: int"), ("nothing.more", "nothing: missing")):
        with pytest.raises(ParamsError, match=got):
            editing.replaced(params.read_raw(ROOT / "params.yaml"), {key: 1})
