"""`make docs`: the site is built without a warning, is complete, and fetches nothing from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from baton.params.reading import Params
from benchmarks import _chromium

ROOT = Path(__file__).parent.parent
FETCHED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    made = tmp_path_factory.mktemp("site")
    ended = build(ROOT, made)
    assert ended.returncode == 0, ended.stderr
    return made


def test_the_reference_has_every_key_and_every_command(site: Path) -> None:
    keys = (site / "reference/params.html").read_text()
    assert all(f"<code>{name}</code>" in keys for name in Params.model_fields)
    assert 'id="texttokenize"' in keys and "number &gt; 0, ≤ 1" in keys, "sections and bounds"
    assert "factor on the learning rate from each layer to the one below it" in keys, "comments of recipes"
    commands = (site / "reference/commands.html").read_text()
    for name in ("recipes", "compare", "label-errors", "doctor"):
        assert f"baton {name}</code></h2>" in re.sub(r"<a class=\"headerlink.*?</a>", "", commands), name
    assert "OutputError" in (site / "reference/errors.html").read_text()


def test_files_of_the_root_are_pages_and_links_lead_to_them(site: Path) -> None:
    assert 'href="security.html"' in (site / "index.html").read_text()
    assert 'href="security.html"' in (site / "report.html").read_text()
    assert 'href="serving.html"' in (site / "security.html").read_text()
    assert "examples/launchers" in (site / "processes.html").read_text(), "no page, so a name"


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = [tag for tag in FETCHED.findall(page.read_text()) if "canonical" not in tag]
        assert found == [], page


@pytest.mark.skipif(_chromium.find() is None, reason="this machine has no Chromium")
@pytest.mark.parametrize("name", ["index.html", "reference/params.html"])
def test_a_page_opened_from_the_disk_finds_words(site: Path, name: str) -> None:
    """Without a server, where browsers allow no workers."""
    found = "[...document.querySelectorAll('.md-search-result__link')].map(link => link.href).join(' ')"
    with _chromium.page() as page:
        page.open(site / name, 1200)
        page.value("document.querySelector('label[for=__search]').click()")
        page.value("document.querySelector('.md-search__input').focus()")
        page.value("document.querySelector('.md-search__input').value = 'interval'")
        page.value("document.querySelector('.md-search__input').dispatchEvent(new Event('keyup'))")
        deadline = time.monotonic() + 60
        while not (links := page.value(found)):
            assert time.monotonic() < deadline, "no result"
            time.sleep(0.1)
    assert "figures.html" in links and "file://" in links


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("report.md", "[x](nothing.md)"),
        ("report.md", "[x](data.md#nowhere)"),
        ("unlisted.md", "# Unlisted\n"),
    ],
)
def test_a_broken_link_or_a_page_that_nobody_finds_is_an_error(tmp_path: Path, page: str, text: str) -> None:
    """The control of the first test."""
    for path in (ROOT / "mkdocs.yml", *ROOT.glob("*.md")):
        shutil.copy(path, tmp_path)
    for name in ("docs", "recipes"):
        shutil.copytree(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / page).open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
    ended = build(tmp_path, tmp_path / "site")
    assert ended.returncode == 1 and (
        "nothing.md" in ended.stderr or "nowhere" in ended.stderr or page in ended.stderr
    )
