"""The files that docs/architecture.md and CONTRIBUTING.md name exist, with the names said to be in them."""

import ast
import re
import tomllib
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {"docs/architecture.md": ROOT / "src/baton", "CONTRIBUTING.md": ROOT}  # page -> what paths start from
FILE = re.compile(r"`([\w./]+\.py)`")
NAME, NAMES = r"`[A-Za-z_][\w.]*`", r"(`[A-Za-z_][\w.]*`(?:(?:,| and|, and)\s+`[A-Za-z_][\w.]*`)*)"
PAIRS = (
    re.compile(rf"`(?P<file>[\w./]+\.py)`:?\s+\(?(?P<names>{NAMES})"),
    re.compile(rf"(?P<names>{NAMES})\s+(?:of|in)\s+`(?P<file>[\w./]+\.py)`"),
)
TASKS = ("class", "label")  # what NAME is in "Adding a task"


def files(page: str, text: str) -> dict[str, list[Path]]:
    """Return where each file of a page should be; a bare name lies in the folder of the file before it."""
    found: dict[str, list[Path]] = {}
    folder = start = PAGES[page]
    for name in FILE.findall(text):
        base = (
            ROOT
            if name.startswith("stages/")
            else start
            if "/" in name or (start / name).exists()
            else folder
        )
        paths = [base / name.replace("NAME", task) for task in (TASKS if "NAME" in name else ("",))]
        found[name] = paths
        folder = paths[0].parent
    return found


@lru_cache
def defined(path: Path) -> set[str]:
    """Return the names that a module defines; those in classes also as `Class.name`."""
    found = set()

    def collect(nodes: list[ast.stmt], prefix: str) -> None:
        for node in nodes:
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    own = [name]
                case ast.Assign(targets=targets):
                    own = [target.id for target in targets if isinstance(target, ast.Name)]
                case ast.AnnAssign(target=ast.Name(id=name)):
                    own = [name]
                case _:
                    own = []
            found.update(own, (f"{prefix}{name}" for name in own))
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{node.name}.")

    collect(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_files_and_the_names_in_them_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    places = files(page, text)
    missing = [name for name, paths in places.items() if not all(path.is_file() for path in paths)]
    pairs = [
        (pair["file"], name.strip("`"))
        for pattern in PAIRS
        for pair in pattern.finditer(text)
        for name in re.findall(NAME, pair["names"])
        if not name.endswith(".py`")
    ]
    assert len(places) > 20 and len(pairs) > 10, "the patterns still find them"
    undefined = [
        (file, name)
        for file, name in pairs
        if file not in missing and not all(name in defined(path) for path in places[file])
    ]
    assert not missing and not undefined


def test_methods_exist() -> None:
    """`Class.method` without a file is that of any module."""
    every = {name for path in (ROOT / "src/baton").rglob("*.py") for name in defined(path)}
    for page in PAGES:
        named = re.findall(r"`([A-Z]\w*[a-z]\w*\.[a-z_]\w*)`", (ROOT / page).read_text(encoding="utf-8"))
        assert [name for name in named if name not in every and not name.endswith(".py")] == []


@pytest.mark.parametrize("page", PAGES)
def test_folders_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|stages|docs|recipes|inbox)/[\w/]*)`", text)
    assert [name for name in named if not (ROOT / name).is_dir()] == []


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"\n## {version}, \d{{4}}-\d\d-\d\d\n", changes), "a version has a date"
