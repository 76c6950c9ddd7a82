"""Texts unknown to the base model's tokenizer are reported, and refused if they are most of a split."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from baton import console, params
from baton.arrays import unknown_tokens
from tests import tiny

ROOT = Path(__file__).parents[2]
THAI = [
    "ราคาข้าวสาลีในตลาดโลกปรับตัวสูงขึ้น",
    "เรือบรรทุกน้ำมันออกจากท่าเรือแล้ว",
    "การเจรจาการค้ากับญี่ปุ่นล้มเหลว",
]
# One token each: a word in the tiny tokenizer's vocabulary, and one outside it.
KNOWN, STRANGE = "wheat", "東"

Run = Callable[..., tuple[dict[str, Any], str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return `run(splits, **tokenize params)`, which runs the stage as its file does.

    It returns the stage's report ({} if the stage failed), stdout and stderr.
    """
    from stages import tokenize

    def stage(splits: dict[str, list[tuple[str, int]]], **changes: Any) -> tuple[dict[str, Any], str, str]:
        tiny.write_base(Path("data/base"))
        tiny.write_splits(Path("data/clean"), splits, ["grain", "ship", "trade"])
        raw = params.read_raw(ROOT / "recipes/csv.yaml")
        raw["tokenize"] |= {"max_length": 16, "truncation": {"kind": "head"}} | changes
        Path("params.yaml").write_text(json.dumps(raw))
        try:
            console.run(tokenize.main)
        except SystemExit:
            assert not Path("data/arrays").exists()
            return {}, *capsys.readouterr()
        return json.loads(Path("data/arrays/report.json").read_text()), *capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "_console", console.Console(width=1000))
    return stage


def splits(train: list[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    plain = [(KNOWN, 0), (KNOWN, 1)]
    return {"train": train, "val": plain, "test": plain}


def test_shares_are_those_of_hand_counted_texts(run: Run) -> None:
    train = [
        (f"{KNOWN} {STRANGE} {KNOWN} {KNOWN}", 0),
        (" ".join([KNOWN] * 40), 0),
        (f"{STRANGE} {KNOWN}", 1),
        (KNOWN, 2),
    ]
    report, _, _ = run(splits(train))
    assert report["train"]["unknown"] == {"tokens": 2, "share": 2 / 47, "classes": [1 / 44, 1 / 2, 0.0]}
    assert report["test"]["unknown"] == {"tokens": 0, "share": 0.0, "classes": [0.0, 0.0]}


def test_a_share_above_the_limit_is_named_with_what_to_do(run: Run) -> None:
    train = [(" ".join([KNOWN] * 93 + [STRANGE] * 7), 0), (" ".join([KNOWN] * 100), 1)]
    report, shown, _ = run(splits(train))  # 3.5% of train, 7% of a class
    assert report["train"]["unknown"]["share"] == 0.035
    assert (
        "unknown tokens: train: 3.5% of the tokens are unknown to the base model's tokenizer; grain 7.0%"
        in shown
    )
    assert "use a base model whose tokenizer covers" in shown and "val:" not in shown
    _, shown, _ = run(splits([(" ".join([KNOWN] * 95 + [STRANGE] * 5), 0), (KNOWN, 1)]))  # 5.0%: not above
    assert "unknown tokens" not in shown


def test_thai_is_all_unknown_to_a_tokenizer_of_english_and_refused(run: Run) -> None:
    train = [(text, label) for label, text in enumerate(THAI)]
    report, _, error = run(splits(train))
    assert report == {}
    assert "train: the base model's tokenizer does not know these texts" in error
    assert (
        "got:      100.0% of the tokens are unknown" in error
        and "at most 50%" in error
        and "multilingual" in error
    )
    report, shown, _ = run(splits(train), unknown={"named": 0.05, "refused": 1.0})
    assert report["train"]["unknown"]["share"] == 1.0 and "train: 100.0% of the tokens" in shown


def test_the_unknown_token_of_every_kind_of_tokenizer() -> None:
    pieces = [("a", -1.0), ("<unk>", 0.0)]
    assert unknown_tokens.token(Tokenizer(models.Unigram(pieces, unk_id=1))) == 1
    assert unknown_tokens.token(Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))) == 1
    assert unknown_tokens.token(Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1}))) == 1
    bytewise = Tokenizer(models.BPE())
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert unknown_tokens.token(bytewise) is None
