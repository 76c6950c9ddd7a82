"""Text from data stays text in Markdown: in verdicts, reports of retraining, comparisons, MLflow's notes."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from baton.compare import tables
from baton.evaluate.report.cards.markdown import escaped, fenced
from baton.lifecycle.promotion import promote
from baton.lifecycle.registry import Registry
from baton.lifecycle.retraining import retrain
from baton.tracking import pipelines

EVIL = "spam\n\n# Approved\n\n@admin please merge <img src=x onerror=alert(1)> [here](http://evil) | x | ```"
FORGED = ("heading_open", "link_open", "html_inline", "html_block", "image", "fence", "hr")


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def forged(text: str) -> list[str]:
    """Return what a text makes besides paragraphs, lists, tables and code; of headings those of data."""
    kinds = [token.type for token in tokens(text) if token.type in FORGED]
    shown = [token.content for token in tokens(text) if token.type == "text"]
    return kinds + ["mention" for content in shown if "@admin" in content]


def record(text: str) -> dict[str, Any]:
    check = {"name": EVIL, "passed": True, "text": text}
    return {
        "name": "model",
        "version": "2",
        "champion": None,
        "passed": False,
        "mode": "dry-run",
        "checks": [check],
        "figures": {},
        "table": {"path": "data/clean/test.parquet", "sha256": "0" * 64, "rows": 9, "looks": 0},
        "rules": {},
        "time": "now",
    }


def test_a_label_forges_nothing_in_the_verdict() -> None:
    words = promote.words(record(f"recall is lowest for {EVIL}: 1.0% of 9 rows"))
    assert not forged(words), words
    assert "recall is lowest for spam" in words
    assert "macro_f1 of a_b" in promote.words(record("macro_f1 of a_b"), str), (
        "the terminal shows it as it is"
    )


def test_nothing_is_forged_in_the_retraining_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str, **_: Any) -> str:
        change = {"description": {"old": "a", "new": EVIL}, f"a/{EVIL}": {"old": None, "new": 1.5}}
        return json.dumps({"params.yaml": change}) if "diff" in words and "plots" not in words else ""

    monkeypatch.setattr(retrain, "run", run)
    text = promote.words(record(f"recall is lowest for {EVIL}"))
    outcome = promote.Outcome("2", None, False, False, text, record(EVIL))
    client = SimpleNamespace(tracking_uri="http://server")
    own = cast(Registry, SimpleNamespace(client=client, name="spam"))
    told = retrain._report(own, ("0" * 40, f"{EVIL} changed", f"a note on {EVIL}"), outcome, False)
    headings = [token for token in tokens(told) if token.type == "heading_open"]
    assert len(headings) == 5, told  # Retraining, Verdict, Params, Figures, Links
    assert set(forged(told)) == {"heading_open"}, told
    assert "| `params.yaml` | `description` | a | spam" in told


def test_a_failed_difference_forges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str, **_: Any) -> str:
        raise retrain.OutputError("dvc failed", got=EVIL)

    monkeypatch.setattr(retrain, "run", run)
    assert forged(retrain._difference("params", "diff", "base")) == ["fence"]


def test_a_name_forges_nothing_in_a_comparison() -> None:
    assert not forged(tables.markdown(([EVIL, "accuracy"], [[EVIL, 1.0]])))


@pytest.mark.parametrize("text", ["```\n# Approved\n```", "~~~\n# Approved", "a ```` b\n````\n# x"])
def test_a_fence_is_longer_than_any_in_the_text(text: str) -> None:
    kinds = [token.type for token in tokens(fenced(text))]
    assert kinds == ["fence"], kinds


def test_an_error_in_the_notes_of_a_run_stays_in_its_fence() -> None:
    note = pipelines.error_note("failed\n```\n# Approved\n@admin\n```")
    assert [token.type for token in tokens(note)] == ["fence"]


@pytest.mark.parametrize("text", ["@admin", "(@admin)", "a @org/team", "#12", "see #12"])
def test_nobody_is_mentioned_and_no_issue_linked(text: str) -> None:
    assert not any(word in escaped(text) for word in ("@admin", "@org", "#12"))


def test_an_address_of_mail_is_as_it_was() -> None:
    assert escaped("me@example.org") == "me@example.org"


def test_the_report_of_a_run_without_training() -> None:
    assert not [kind for kind in forged(retrain._not_trained(f"not: {EVIL}")) if kind != "heading_open"]
