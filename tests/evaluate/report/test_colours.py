"""Texts of report.css have enough contrast (WCAG 2.2, 1.4.3: 4.5) in light, dark and print."""

import re

import pytest

from baton.evaluate.report.html.page import TEMPLATES

CSS = (TEMPLATES / "report.css").read_text(encoding="utf-8")
THEMES = dict(zip(("light", "dark", "print"), re.findall(r":root \{(.*?)\}", CSS, re.DOTALL), strict=True))
TEXTS = ("ink", "soft", "link", "teacher", "student", "control", "other", "good", "bad")
PAIRS = [(text, ground) for text in TEXTS for ground in ("page", "card")]
PAIRS += [(text, "mark") for text in ("ink", "soft", "link")]
PAIRS += [("ink", level) for level in ("h1", "h2", "h3", "e1", "e2", "e3")]
PAIRS += [(text, "edge") for text in ("ink", "soft")]
PAIRS += [("h5-ink", "h5"), ("e5-ink", "e5")]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_known_colours() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("theme", THEMES)
def test_texts_can_be_read(theme: str) -> None:
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", THEMES[theme]))
    for text, ground in PAIRS:
        found = contrast(colours[text], colours[ground])
        assert found >= 4.5, f"{theme}: {text} on {ground} has {found:.2f}"


def test_every_colour_is_a_variable() -> None:
    """A colour outside the themes would not follow them."""
    rest = re.sub(r":root \{.*?\}", "", CSS, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb\(|hsl\(", rest)
    used = set(re.findall(r"var\(--([\w-]+)\)", rest))
    assert used <= set(re.findall(r"--([\w-]+):", THEMES["light"]))
