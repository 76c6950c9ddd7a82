"""report.html by two judges from npm: html-validate, and axe-core in headless Chromium.

Their versions are in npm/package-lock.json; they are fetched into .baton, which git ignores.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baton import storage
from benchmarks import _chromium
from tests.evaluate.report import pages

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="this machine has no npm"),
]
LISTS = ("package.json", "package-lock.json")
RULES = {"extends": ["html-validate:recommended"]}
# Width, dark colours, medium, everything unfolded.
VIEWS = [
    (390, False, "", False),
    (1440, False, "", True),
    (1440, True, "", True),
    (390, True, "", True),
    (688, False, "print", True),
]
FOUND = """axe.run().then(found => found.violations.map(
  one => `${one.id}: ${one.help}: ${one.nodes.length} times, first ${one.nodes[0].html.slice(0, 200)}`))"""


@pytest.fixture(scope="module")
def modules() -> Path:
    """The folder node_modules with the locked versions."""
    lists = Path(__file__).parent / "npm"
    folder = Path(__file__).parents[3] / ".baton" / "npm" / storage.sha256(lists / LISTS[1])[:16]
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for name in LISTS:
            shutil.copy(lists / name, folder / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (folder / "done").touch()
    return folder / "node_modules"


@pytest.fixture(scope="module")
def window() -> Iterator[_chromium.Page]:
    if _chromium.find() is None:
        pytest.skip("this machine has no Chromium")
    with _chromium.page() as opened:
        yield opened


@pytest.fixture(scope="module", params=pages.EVERY)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.write(request.param, tmp_path_factory.mktemp("page"))


def mistakes(modules: Path, path: Path) -> list[str]:
    """Return what html-validate says of a page."""
    rules = path.with_name("rules.json")
    rules.write_text(json.dumps(RULES))
    program = modules / ".bin" / "html-validate"
    command = [str(program), "--config", str(rules), "--formatter", "json", str(path)]
    said = path.with_name("said.json")
    with said.open("w") as file:  # not a pipe, of which Node leaves out what is not read when it ends
        done = subprocess.run(command, check=False, stdout=file, stderr=subprocess.PIPE, text=True)
    assert done.returncode in {0, 1}, done.stderr
    found: list[dict[str, Any]] = json.loads(said.read_text())
    return [f"{one['line']}: {one['ruleId']}: {one['message']}" for own in found for one in own["messages"]]


def violations(window: _chromium.Page, modules: Path) -> list[str]:
    """Return what axe-core says of what the window shows, by all its rules."""
    window.value((modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8") + ";0")
    return [str(one) for one in window.value(FOUND)]


def test_the_html_is_valid(modules: Path, path: Path) -> None:
    assert mistakes(modules, path) == []


def test_everybody_can_use_it(window: _chromium.Page, modules: Path, path: Path) -> None:
    for width, dark, media, unfolded in VIEWS:
        window.open(path, width, dark=dark, media=media)
        if unfolded:
            window.value("document.querySelectorAll('details').forEach(one => { one.open = true })")
        assert violations(window, modules) == [], (width, dark, media)


def test_both_judges_see_mistakes(window: _chromium.Page, modules: Path, tmp_path: Path) -> None:
    """Negative control: a picture without words, pale letters, and a paragraph in a list."""
    path = pages.write("images", tmp_path)
    window.open(path, 1440)
    window.value("document.querySelector('.gallery img').removeAttribute('alt')")
    window.value("document.querySelector('h1').style.color = '#dddddd'")
    assert {one.partition(":")[0] for one in violations(window, modules)} == {"image-alt", "color-contrast"}
    source = path.read_text(encoding="utf-8")
    path.write_text(
        source.replace('<nav aria-label="Sections"><ul>', '<nav aria-label="Sections"><ul><p>x</p>')
    )
    assert any("element-permitted-content" in one for one in mistakes(modules, path))
