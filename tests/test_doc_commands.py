"""Every command in README.md and docs/ exists, with every option that it is given."""

import re
from pathlib import Path

import pytest
import typer

from baton.cli import app
from tests.doc_commands import PAGES, ROOT, blocks, commands

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
            text = "".join(other.read_text(encoding="utf-8") for other in BENCHMARKS.glob("*.py"))
            own = path.read_text(encoding="utf-8")
            shared = "_" in re.findall(r"from benchmarks import (\w?)", own)
            return _unknown(rest, set(re.findall(r'"(-[\w-]+)"', text if shared else own)))
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
