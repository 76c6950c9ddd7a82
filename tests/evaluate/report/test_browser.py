"""report.html in headless Chromium: what a person sees, clicks and types."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import _chromium
from tests.evaluate.report import made_up, pages

pytestmark = pytest.mark.skipif(_chromium.find() is None, reason="this machine has no Chromium")
PAPER = 688  # pixels of A4 between the margins of report.css
IN_SIGHT = """(one => {
  if (!one || !one.checkVisibility()) return false;
  const box = one.getBoundingClientRect();
  return box.height > 0 && box.top >= 0 && box.bottom <= window.innerHeight;
})"""
WORST = "[...document.querySelectorAll('#verdict a[href]')].at(0)"
BLOCK = f"document.getElementById({WORST}.hash.slice(1))"


@pytest.fixture(scope="module")
def window() -> Iterator[_chromium.Page]:
    with _chromium.page() as opened:
        yield opened


@pytest.fixture(scope="module", params=pages.EVERY)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.write(request.param, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    names = [f"class {place}" for place in range(8)]
    pages_of = {**pages.EVERY, "eight": lambda own: made_up.classes(own, names, count=300)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "EVERY", pages_of)
        return pages.write("eight", folder)


def click(window: _chromium.Page, element: str) -> None:
    """Click an element as a person does, who first scrolls until it is in sight."""
    window.value(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    assert window.value(f"{IN_SIGHT}({element})"), element
    box = window.value(f"(box => [box.left + 3, box.top + box.height / 2])({element}.getClientRects()[0])")
    window.click(*box)


def texts_in_sight(window: _chromium.Page) -> int:
    """Count the texts of the worst class that are in sight, below the heading of its confusions."""
    assert window.value(f"{IN_SIGHT}([...{BLOCK}.querySelectorAll('h4')].at(0))"), "its confusions"
    return int(window.value(f"[...{BLOCK}.querySelectorAll('ol.texts > li')].filter({IN_SIGHT}).length"))


@pytest.mark.parametrize("width", [390, 1440])
def test_one_click_shows_the_worst_class_its_confusions_and_three_texts(
    window: _chromium.Page, classes: Path, width: int
) -> None:
    """Three clicks would be allowed."""
    window.open(classes, width)
    assert not window.value(f"{BLOCK}.checkVisibility()"), "before the click it is folded"
    click(window, WORST)
    assert texts_in_sight(window) >= 3


def test_so_does_the_keyboard(window: _chromium.Page, classes: Path) -> None:
    window.open(classes, 1440)
    for _ in range(20):
        window.press("Tab")
        if window.value(f"document.activeElement === {WORST}"):
            break
    else:
        pytest.fail("the link is not reached by Tab")
    outline = window.value("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "it is seen where the focus is"
    window.press("Enter")
    assert texts_in_sight(window) >= 3


def test_so_it_is_without_scripts(window: _chromium.Page, classes: Path) -> None:
    window.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        window.open(classes, 1440)
        assert window.value("document.querySelector('.filter').hidden"), "the page's script has not run"
        click(window, WORST)
        assert texts_in_sight(window) >= 3
    finally:
        window.send("Emulation.setScriptExecutionDisabled", value=False)


def test_from_a_row_of_the_table_it_is_three_clicks_with_the_menu(
    window: _chromium.Page, classes: Path
) -> None:
    window.open(classes, 1440)
    click(window, "document.querySelector('nav a[href=\"#failures\"]')")
    click(window, "document.querySelector('#failures th[scope=row] > a')")
    assert texts_in_sight(window) >= 3
    click(window, f"{BLOCK}.querySelector('ul.pairs > li a[href]')")
    target = window.value("location.hash.slice(1)")
    assert window.value(f"{IN_SIGHT}(document.getElementById({target!r}))"), "what was taken for it"


def beyond(window: _chromium.Page) -> list[str]:
    """Return what is wider than the window, unless it lies in a part that scrolls."""
    found = window.value(
        "[...document.querySelectorAll('body *:not(.skip)')].filter(one => !one.closest('.scroll') && "
        "one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 200))"
    )
    return [str(one) for one in found]


def wide_tables(window: _chromium.Page) -> list[str]:
    found = window.value(
        "[...document.querySelectorAll('table:not(.matrix)')].filter(one => "
        f"one.getBoundingClientRect().width > {PAPER}).map(one => one.innerText.slice(0, 100))"
    )
    return [str(one) for one in found]


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_juts_out(window: _chromium.Page, path: Path, width: int) -> None:
    window.open(path, width)
    for folded in (True, False):
        if not folded:
            window.value("document.querySelectorAll('details').forEach(one => { one.open = true })")
        assert window.value("document.documentElement.scrollWidth") == width
        assert beyond(window) == []


def test_paper_holds_every_table(window: _chromium.Page, path: Path) -> None:
    window.open(path, PAPER, media="print")
    assert wide_tables(window) == []
    inside = "[...document.querySelectorAll('details.print > :not(summary)')]"
    heights = window.value(f"{inside}.map(one => one.getBoundingClientRect().height)")
    assert heights and min(heights) > 0, "paper has no triangle to click"


def test_what_is_too_wide_is_noticed(window: _chromium.Page, classes: Path) -> None:
    """Negative control of both."""
    window.open(classes, PAPER, media="print")
    assert beyond(window) == wide_tables(window) == []
    for place in ("h1", "table"):
        window.value(f"document.querySelector({place!r}).style.width = '900px'")
    assert len(beyond(window)) == len(wide_tables(window)) == 1


def test_nothing_is_asked_for(window: _chromium.Page, path: Path) -> None:
    window.requests.clear()
    window.open(path, 1440)
    assert [one for one in window.requests if not one.startswith("data:")] == [path.as_uri()]


def test_a_filter_finds_what_is_folded(window: _chromium.Page, tmp_path: Path) -> None:
    window.open(pages.write("words", tmp_path), 1440)
    items = "[...document.querySelectorAll('#m0-confident [data-item]')]"
    last = window.value(f"{items}.at(-1).querySelector('.soft').textContent")
    assert re.fullmatch(r"test:\d+", last)
    assert not window.value(f"{items}.at(-1).checkVisibility()")
    window.value("document.getElementById('m0-texts').focus()")
    window.send("Input.insertText", text=last)
    assert window.value(f"{items}.at(-1).checkVisibility()")
    shown = window.value(f"{items}.filter(one => one.checkVisibility()).length")
    assert window.value("document.getElementById('m0-texts-count').textContent") == (
        f"{shown} of {window.value(f'{items}.length')} found"
    )
