"""reports/report.html: its sections for every kind of task; it loads nothing, and escapes everything."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from baton import storage
from baton.evaluate.report.html import page
from baton.evaluate.report.html.about import About
from baton.evaluate.report.html.csv_reading import Reports
from tests.evaluate.report import made_up
from tests.evaluate.report.reading import Page

SECTIONS = ["verdict", "models", "differences", "failures", "certainty", "data", "made"]
ATTACKS = (
    "<script>alert(1)</script>",
    "</textarea><b>x",
    "</style>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}",
)


def rendered(reports: Reports, about: About | None = None) -> Page:
    return Page(page.render(reports, about or About()))


@pytest.fixture(scope="module", params=made_up.KINDS)
def of_kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    return request.param, rendered(made_up.KINDS[request.param](tmp_path_factory.mktemp(request.param)))


def test_each_kind_has_all_sections_in_order(of_kind: tuple[str, Page]) -> None:
    kind, found = of_kind
    assert found.sections == SECTIONS
    for name in SECTIONS:
        assert len(found.text(found.part(name))) > 40, (kind, name)
    assert [href for _, href in found.links(found.root.xpath("//nav")[0])] == [
        f"#{name}" for name in SECTIONS
    ]


def test_each_kind_has_valid_links_and_unique_ids(of_kind: tuple[str, Page]) -> None:
    _, found = of_kind
    assert len(found.ids) == len(set(found.ids))
    for text, href in found.links():
        assert href.startswith("#") and href[1:] in found.ids, (text, href)
    for one in found.root.xpath("//@aria-labelledby | //@for | //@data-list | //@data-count"):
        assert set(str(one).split()) <= set(found.ids)


def test_each_kind_shows_where_it_fails(of_kind: tuple[str, Page]) -> None:
    kind, found = of_kind
    shown = found.text(found.part("failures"))
    wanted = {
        "classes": ("Class by class", "Confusions", "Confident mistakes"),
        "labels": ("Label by label", "most frequent confusions", "Confident mistakes"),
        "tokens": ("Entity type by entity type", "Confusions", "Confident mistakes"),
        "numbers": ("The worst rows", "interval from", "Predicted and actual price"),
        "spans": ("The worst rows", "true answers", "answer length"),
        "sequence": ("The worst rows", "reference"),
    }[kind]
    for words in (*wanted, "length of the text", "near-duplicates"):
        assert words in shown, words
    certain = found.text(found.part("certainty"))
    known = kind in {"classes", "labels", "tokens", "spans"}
    assert ("Coverage against risk" in certain) == known
    assert ("Thresholds at a wanted precision" in certain) == known
    assert ("has no probabilities" in certain) != known


def test_nothing_is_loaded(of_kind: tuple[str, Page]) -> None:
    _, found = of_kind
    assert [one for one in found.loads if not one.startswith("data:image/")] == []
    assert not re.search(r"@import|url\(", found.source)
    assert not re.search(r"https?://", found.source)
    policy = found.root.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("style", "script"):
        (own,) = found.root.xpath(f"//{tag}")
        digest = base64.b64encode(hashlib.sha256(own.text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not found.root.xpath("//@style | //@onclick | //@onerror | //@onload")


def attacked(folder: Path) -> Page:
    names = [f"class {attack}" for attack in ATTACKS]
    shown = [f"text {ATTACKS[row % len(ATTACKS)]} {row}" for row in range(120)]
    kept = {f"column {ATTACKS[0]}": [f"value {ATTACKS[row % len(ATTACKS)]}" for row in range(120)]}
    reports = made_up.classes(folder, names, shown=shown, kept=kept)
    bad = "".join(ATTACKS)
    finding = {"policy": bad, "found": {"test": 1}, "dropped": {"test": 1}, "reasons": {bad: bad}}
    report = {
        "checks": {f"check {bad}": finding},
        "notes": [bad],
        "classes": {bad: {"train": 1}},
        "rows": {"raw": {"train": 1}},
    }
    storage.write_json(folder / "clean/report.json", report)
    named = {bad: bad}
    git = {"git.commit": bad, "git.branch": bad, "git.dirty": "true"}
    about = About(bad, bad, bad, git, named, named, named, named, named)
    return rendered(reports, about)


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    found = attacked(tmp_path)
    assert len(found.root.xpath("//script")) == 1 and len(found.root.xpath("//style")) == 1
    assert not found.root.xpath("//img | //textarea | //b")
    for attack in ATTACKS:  # each is there, as text
        for before in ("class ", "text ", "value "):
            assert f"{before}{attack}" in found.root.text_content(), (before, attack)
    for part in ("data", "made"):
        assert ATTACKS[0] in found.part(part).text_content()
    assert ATTACKS[0] in found.root.xpath("//title")[0].text
    assert "49" not in found.text(found.root.xpath("//h1")[0])


def test_escaping_is_not_an_accident_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without escaping, the same page has other elements."""
    import jinja2

    real = jinja2.Environment
    monkeypatch.setattr(jinja2, "Environment", lambda **options: real(**options | {"autoescape": False}))
    assert attacked(tmp_path).root.xpath("//img | //b")


@pytest.mark.parametrize("count", [2, 20, 100, pytest.param(1000, marks=pytest.mark.slow)])
def test_confusions_are_readable_with_few_and_many_classes(tmp_path: Path, count: int) -> None:
    names = [f"class {place}" for place in range(count)]
    found = rendered(made_up.classes(tmp_path, names, count=max(200, 3 * count)))
    matrix = found.root.xpath("//table[@class='matrix']")[0]
    columns = matrix.xpath("./thead/tr/th")
    assert len(columns) == (count if count <= 25 else 17) + 2
    assert ("all others" in found.text(matrix)) == (count > 25)
    assert len(found.source) < 2_500_000
    blocks = [id_ for id_ in found.ids if re.fullmatch(r"m0-\d+", id_)]
    assert len(blocks) == count, "every class can be found"
    assert bool(found.root.xpath("//input[@id='m0-find']")) == (count > 25)
    shown = [
        one
        for one in found.root.xpath("//div[@class='inside' and starts-with(@id, 'm0-')]")
        if len(one.xpath("ancestor::details")) == 1
    ]
    assert len(shown) == (count if count <= 25 else 12)


@pytest.mark.parametrize("count", [8, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_worst_class_its_confusions_and_three_texts_in_three_clicks(tmp_path: Path, count: int) -> None:
    names = [f"class {place}" for place in range(count)]
    found = rendered(made_up.classes(tmp_path, names, count=max(400, 8 * count)))
    chosen = storage.read_json(tmp_path / "reports/metrics.json")["recommended"]["model"]
    table = Reports(tmp_path / "reports", tmp_path, tmp_path).table("per_class.csv")
    f1 = {row["class"]: float(row["f1"]) for row in table if row["model"] == chosen}
    name, href = found.links(found.part("verdict"))[0]  # the first click
    assert f1[name] == min(f1.values())
    block = found.follow(href)
    around = block.xpath("ancestor::details")[-1]
    assert name in found.text(around), "a browser opens what is around the target, even without scripts"
    assert "What the model said instead" in found.text(block)
    assert len(block.xpath(".//ol[@class='texts']/li")) >= 3
    (_, to_pair) = found.links(found.part("failures").xpath(".//tbody/tr[th/a]")[0])[1]  # the second
    pair = found.follow(to_pair)
    assert pair.xpath("ancestor::details") and pair.xpath(".//ol[@class='texts']/li")


@pytest.mark.parametrize(
    ("write", "gone"),
    [
        (lambda folder: made_up.classes(folder, timings=False), "speed was not measured"),
        (lambda folder: made_up.classes(folder, curves=False), ""),
        (
            lambda folder: made_up.classes(folder, shares=dict(list(made_up.SHARES.items())[:3])),
            "No baseline",
        ),
    ],
)
def test_optional_parts_may_be_missing(tmp_path: Path, write: Callable[[Path], Reports], gone: str) -> None:
    found = rendered(write(tmp_path))
    assert found.sections == SECTIONS
    assert gone.lower() in found.text().lower()
    assert "Each model was trained with one seed" in found.text(found.part("models"))
    assert ("Learning curves" in found.text(found.part("made"))) == (gone != "")


def test_one_file_is_missing(tmp_path: Path) -> None:
    """A table that an earlier version did not write leaves a section shorter."""
    reports = made_up.classes(tmp_path)
    for name in ("groups.csv", "risk_coverage.csv", "thresholds.csv", "confusion.csv"):
        (reports.folder / "tables" / name).unlink()
    assert rendered(reports).sections == SECTIONS


def test_several_seeds_have_an_interval(tmp_path: Path) -> None:
    found = rendered(made_up.classes(tmp_path, seeds=3))
    models = found.text(found.part("models"))
    assert "Means over seeds" in models and "0: " in models and "2: " in models
    assert "Each model was trained with one seed" not in models


def test_a_perfect_model_has_no_failures(tmp_path: Path) -> None:
    found = rendered(made_up.classes(tmp_path, shares={**made_up.SHARES, "student": 1.0}))
    assert "student makes no mistake on test" in found.text(found.part("verdict"))


def test_many_confident_mistakes_are_folded_after_the_first(tmp_path: Path) -> None:
    """A page of thirty texts would hide what comes after them."""
    found = rendered(made_up.classes(tmp_path / "many", count=300))
    part = found.part("m0-confident")
    assert len(part.xpath("./ol/li")) == 5
    (rest,) = part.xpath("./details")
    count = len(rest.xpath("./ol/li"))
    assert found.text(rest.xpath("./summary")[0]) == f"{count} more" and rest.xpath("./ol/@start") == ["6"]
    shares = made_up.SHARES | {"teacher": 0.95}
    few = rendered(made_up.classes(tmp_path / "few", shares=shares)).part("m0-confident")
    assert not few.xpath("./details") and 0 < len(few.xpath("./ol/li")) <= 7


def test_secrets_of_the_server_are_not_shown(tmp_path: Path) -> None:
    about = replace(About(), params={"tracking.uri": "https://me:secret@host", "finetune.epochs": "2"})
    found = rendered(made_up.classes(tmp_path), about)
    assert "secret" not in found.source and "finetune.epochs" in found.source


def test_the_file_is_written_whole(tmp_path: Path) -> None:
    path = page.write(made_up.classes(tmp_path), About(title="r8"))
    assert path == tmp_path / "reports/report.html"
    source = path.read_text(encoding="utf-8")
    assert source.startswith("<!DOCTYPE html>") and source.rstrip().endswith("</html>")
    assert "<title>r8: evaluation</title>" in source


def test_sentences_of_the_terminal_are_escaped_and_keep_their_bold_words() -> None:
    said = "[bold green]Distillation helps[/] on <b>, not [a class]"
    assert page.plain(said) == "<strong>Distillation helps</strong> on &lt;b&gt;, not [a class]"
