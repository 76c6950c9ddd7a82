"""The package index of a release, by the real apt from an archive on this machine, as tables."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from baton import params
from baton.errors import SourceError
from baton.sources import apt_index, fetching
from tests.apt_archives import configure_apt, write_release

PACKAGES = """\
Package: chess
Version: 1
Architecture: amd64
Description: short here
Description-md5: 11111111111111111111111111111111
Tag: game::board, role::program,
 use::gameplaying
Section: games
Filename: pool/chess.deb
Size: 1

Package: libchess1
Source: chess (1.0)
Version: 1
Architecture: amd64
Description: a library
Description-md5: 22222222222222222222222222222222
Section: libs
Filename: pool/lib.deb
Size: 1

"""
ENGLISH = """\
Package: chess
Description-md5: 11111111111111111111111111111111
Description-en: game of chess
 A board game
 for two.
 .
 It has:
  * rules
  * pieces
 .
 GNU

Package: libchess1
Description-md5: 22222222222222222222222222222222
Description-en: library of chess
 What chess needs.

"""
GERMAN = """\
Package: chess
Description-md5: 11111111111111111111111111111111
Description-de: Schachspiel
 Ein Brettspiel f\u00fcr
 zwei.
 .
 Es hat:
  * Regeln
  * Figuren
 .
 GNU

Package: libchess1
Description-md5: 22222222222222222222222222222222
Description-de: Schachbibliothek
 Was Schach braucht.
 .
 Und mehr.

"""
INDEXES = {
    "Packages": PACKAGES.encode(),
    "Translation-en": ENGLISH.encode(),
    "Translation-de": GERMAN.encode(),
}


@pytest.fixture
def digests(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The sha256 of the index files of `toy`, the only release that apt is configured for."""
    digests = write_release(tmp_path / "mirror", "toy", "12.1", INDEXES)
    configure_apt(tmp_path, monkeypatch, f"deb [trusted=yes arch=amd64] file:{tmp_path}/mirror toy main")
    return digests


def source(digests: dict[str, str], rows: str, **changes: str) -> params.AptSource:
    values: dict[str, Any] = {
        "kind": "apt",
        "release": "toy",
        "component": "main",
        "architecture": "amd64",
        "sha256": digests,
        "rows": rows,
        "licence": "each package's own",
    }
    return params.AptSource.model_validate(values | changes, strict=False)


def fetched(wanted: params.AptSource) -> list[dict[str, Any]]:
    fetching.fetch_source(wanted, Path("data/raw"))
    rows: list[dict[str, Any]] = pq.read_table("data/raw/train.parquet").to_pylist()
    return rows


def packages_only(digests: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in digests.items() if name != "Translation-de"}


def test_packages_with_their_tags_and_whole_descriptions(digests: dict[str, str]) -> None:
    chess = {
        "package": "chess",
        "source": "chess",
        "section": "games",
        "tags": ["game::board", "role::program", "use::gameplaying"],
        "summary": "game of chess",
        "description": "A board game for two.\n\nIt has:\n* rules\n* pieces\n\nGNU",
    }
    library = {
        "package": "libchess1",
        "source": "chess",
        "section": "libs",
        "tags": None,
        "summary": "library of chess",
        "description": "What chess needs.",
    }
    assert fetched(source(packages_only(digests), "packages")) == [chess, library]


def test_paragraphs_are_aligned_where_both_languages_have_as_many(digests: dict[str, str]) -> None:
    found = fetched(source(digests, "paragraphs"))
    assert [(row["package"], row["en"], row["de"]) for row in found] == [
        ("chess", "game of chess", "Schachspiel"),
        ("chess", "A board game for two.", "Ein Brettspiel f\u00fcr zwei."),
        ("chess", "It has:\n* rules\n* pieces", "Es hat:\n* Regeln\n* Figuren"),
    ]


def test_index_files_are_fetched_once(digests: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetched(source(digests, "paragraphs"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert fetched(source(digests, "paragraphs")) == first


def test_a_point_release_is_named_with_its_digests(digests: dict[str, str], tmp_path: Path) -> None:
    changed = write_release(tmp_path / "mirror", "toy", "12.2", INDEXES | {"Packages": PACKAGES.encode() * 2})
    with pytest.raises(SourceError) as caught:
        fetched(source(digests, "paragraphs"))
    message = str(caught.value)
    assert "is not the pinned one: the archive has version 12.2 of Sat, 11 Jul 2026" in message
    assert f"Packages: {changed['Packages']}\n    Translation-en: {digests['Translation-en']}" in message
    assert all(part in message for part in ("got:", "expected:", digests["Packages"], "next:", "snapshot"))
    assert not Path("data/raw").exists()


def test_the_archive_with_the_pinned_files_is_found_among_several(
    digests: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_release(tmp_path / "newer", "toy", "12.2", INDEXES | {"Packages": PACKAGES.encode() * 2})
    configure_apt(
        tmp_path / "both",
        monkeypatch,
        "\n".join(
            f"deb [trusted=yes arch=amd64] file:{tmp_path}/{name} toy main" for name in ("newer", "mirror")
        ),
    )
    assert fetched(source(packages_only(digests), "packages"))


def test_an_unknown_digest_is_refused_with_the_current_one(digests: dict[str, str]) -> None:
    unknown = dict.fromkeys(digests, "")
    with pytest.raises(
        SourceError, match=rf"(?s)got:.*Packages: {digests['Packages']}.*Packages: no digest.*next:"
    ):
        fetched(source(unknown, "paragraphs"))


def test_a_release_that_apt_does_not_know_is_named(digests: dict[str, str]) -> None:
    with pytest.raises(
        SourceError, match=r"(?s)apt has no index of other main.*got: +toy main.*expected:.*next:"
    ):
        fetched(source(digests, "paragraphs", release="other"))


def test_an_index_that_is_lost_is_named(digests: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mirror/dists/toy/main/i18n/Translation-de").unlink()
    with pytest.raises(
        SourceError, match=r"(?s)apt-get cannot fetch .*toy main.*got: +E: .*expected:.*next:"
    ):
        fetched(source(digests, "paragraphs"))


def test_apt_that_is_not_installed_is_named(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in INDEXES.items()}
    with pytest.raises(SourceError, match=r"(?s)apt-get is not installed.*next:.*Debian or Ubuntu"):
        fetched(source(digests, "paragraphs"))


def test_a_pinned_file_that_is_no_index_is_named(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index").write_text("Package: x\n\nno index\n")
    monkeypatch.setattr(apt_index, "fetch", lambda wanted: dict.fromkeys(wanted.sha256, tmp_path / "index"))
    with pytest.raises(
        SourceError, match=r"(?s)line 3 of a package index is not a field.*got:.*expected:.*next:"
    ):
        fetched(source(dict.fromkeys(["Packages", "Translation-en"], "0" * 64), "packages"))


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        (["Packages"], "packages", "Packages and Translation-en"),
        (["Packages", "Translation-en", "../x"], "paragraphs", "must be Packages or Translation-LANGUAGE"),
        (["Packages", "Translation-en"], "paragraphs", "needs a second language"),
        (["Packages", "Translation-en", "Translation-de"], "packages", "remove the others"),
    ],
)
def test_digests_that_do_not_fit_the_rows(names: list[str], rows: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        source(dict.fromkeys(names, "0" * 64), rows)
