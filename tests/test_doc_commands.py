"""Every command of Baton, make and the benchmarks in README.md and docs/ exists, with every option given."""

import re
from pathlib import Path

import pytest
import typer

from baton.cli import app
from tests.doc_commands import FENCED, LANGUAGES, PAGES, ROOT, blocks, commands
from tests.test_doc_blocks import NOT_RUN, RUN

TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
BENCHMARKS = ROOT / "benchmarks"


def wrong(words: list[str]) -> str:
    """Return what does not exist in a command of Baton, make or a benchmark; empty if all does."""
    match words:
        case ["baton", name, *rest]:
            known = typer.main.get_command(app.app)
            command = getattr(known, "commands", {}).get(name)
            if name.startswith("-"):
                return "" if name in {*_options(known), "--help"} else f"no option {name}"
            if command is None:
                return f"no command {name}"
            return _unknown(rest, {*_options(command), "--help"})
        case ["make", name, *_]:
            return "" if name in TARGETS or "=" in name or name.startswith("-") else f"no target {name}"
        case ["python", "-m", module, *rest] if module.startswith("benchmarks."):
            path = BENCHMARKS / f"{module.removeprefix('benchmarks.')}.py"
            if not path.is_file():
                return f"no module {module}"
            text = path.read_text(encoding="utf-8")
            for name in set(
                re.findall(r"\b_[a-z]\w+\b", "\n".join(re.findall(r"from benchmarks import .*", text)))
            ):
                text += (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8")
            return _unknown(rest, set(re.findall(r'"(-[\w-]+)"', text)))
    return ""


def _options(command: object) -> set[str]:
    return {
        option
        for parameter in getattr(command, "params", [])
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


def _unknown(words: list[str], known: set[str]) -> str:
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
    return ", ".join(f"no option {option}" for option in given if option not in known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    found = commands(page)
    faults = {" ".join(words): fault for words in found if (fault := wrong(words))}
    assert not faults


def test_every_block_is_run_by_a_test_or_has_a_reason() -> None:
    """Also: no table names a block that is gone."""
    named = {*RUN, *NOT_RUN}
    found = [(page.name, text.removeprefix(".venv/bin/")) for page in PAGES for text in blocks(page)]
    keys = [[key for key in named if key[0] == page and text.startswith(key[1])] for page, text in found]
    assert [block for block, own in zip(found, keys, strict=True) if len(own) != 1] == []
    assert named == {key for own in keys for key in own} and not {*RUN} & {*NOT_RUN}


def test_fences_have_known_languages() -> None:
    found = {language for page in PAGES for language, _ in FENCED.findall(page.read_text(encoding="utf-8"))}
    assert found <= LANGUAGES


def test_the_patterns_find_commands() -> None:
    assert sum(len(blocks(page)) for page in PAGES) >= 25
    assert sum(words[0] in {"baton", "make"} for page in PAGES for words in commands(page)) >= 100


@pytest.mark.parametrize(
    "words",
    [
        ["baton", "nothing"],
        ["baton", "compare", "--nothing"],
        ["make", "nothing"],
        ["python", "-m", "benchmarks.nothing"],
        ["python", "-m", "benchmarks.strategies", "--nothing"],
    ],
)
def test_what_does_not_exist_is_found(words: list[str]) -> None:
    assert wrong(words).startswith("no ")
