"""Packages through the real pip, npm and apt, from local folders and local registries."""

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from baton import params
from baton.errors import SourceError
from baton.sources import archives, clients
from tests.apt_archives import configure_apt
from tests.archive_files import deb, tar_gz
from tests.local_server import LocalServer, Page

MEMBERS = {"toy/data/train.csv": b"text,label\n", "toy/other.csv": b"never read"}


def fetch(package: str, version: str, sha256: str, kind: str = "wheel") -> Path:
    values = {"kind": kind, "package": package, "version": version, "sha256": sha256, "archive": None}
    return clients.fetch(TypeAdapter(params.Package).validate_python(values))


def test_a_wheel_is_fetched_verified_and_fetched_once(
    build_wheel: Callable[..., str], wheelhouse: Path, tmp_path: Path
) -> None:
    digest = build_wheel(MEMBERS)
    wheel = fetch("toy", "1.0", digest)
    assert wheel.name == digest
    next(wheelhouse.iterdir()).unlink()  # from here on pip would find nothing
    archives.extract(fetch("toy", "1.0", digest), {"toy/data/train.csv": "train.csv"}, tmp_path)
    assert (tmp_path / "train.csv").read_bytes() == MEMBERS["toy/data/train.csv"]
    assert not (tmp_path / "other.csv").exists()


def test_another_sha256_is_refused_before_the_wheel_is_kept(
    build_wheel: Callable[..., str], cache: Path
) -> None:
    digest = build_wheel(MEMBERS)
    with pytest.raises(
        SourceError, match=rf"(?s)a different sha256.*got: +{digest}.*expected: +{'0' * 64}.*next:"
    ):
        fetch("toy", "1.0", "0" * 64)
    assert [path.name for path in cache.iterdir()] == ["locks"]


def test_a_truncated_wheel_is_refused(build_wheel: Callable[..., str], wheelhouse: Path, cache: Path) -> None:
    digest = build_wheel(MEMBERS)
    wheel = next(wheelhouse.iterdir())
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(SourceError, match=r"(?s)toy==1.0 has a different sha256.*got:.*next:.*cuts it short"):
        fetch("toy", "1.0", digest)
    assert [path.name for path in cache.iterdir()] == ["locks"]


def test_a_package_that_is_not_there_is_not_tried_again(
    wheelhouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        SourceError, match=r"(?s)pip cannot download toy==1.0.*got: +ERROR: No matching.*expected:.*next:"
    ):
        fetch("toy", "1.0", "0" * 64)
    assert "attempt" not in capsys.readouterr().out


def test_a_source_distribution_is_never_run(wheelhouse: Path) -> None:
    ran = malicious(wheelhouse, "toy-1.0.tar.gz")
    with pytest.raises(SourceError, match=r"pip cannot download toy==1\.0"):
        fetch("toy", "1.0", "0" * 64)
    digest = sha256(wheelhouse / "toy-1.0.tar.gz")
    assert sha256(fetch("toy", "1.0", digest, "sdist")) == digest
    assert not ran.exists()


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_value_in_params_never_runs_a_build(workplace: Path, wheelhouse: Path, kind: str) -> None:
    """pip takes a path where a name belongs, and builds what is there before it compares digests."""
    ran = malicious(workplace, "inbox/evil==0.tar.gz")
    for package, version in {
        f"a/../../../{workplace.name}/inbox/evil": "0.tar.gz",  # from the scratch folder in which pip runs
        f"file://{workplace}/inbox/evil==0.tar.gz#": "1.0",
        "--index-url=http://127.0.0.1:9": "1.0",
        f"toy @ file://{workplace}/inbox/evil": "0.tar.gz",
    }.items():
        with pytest.raises(ValidationError, match=r"must be the name of a Python package"):
            fetch(package, version, "0" * 64, kind)
    for version in ("0.tar.gz", "*", "1.0 --no-binary=:all:", "1.0\n--no-binary=:all:", ">=1", ""):
        with pytest.raises(ValidationError, match=r"must be a version of a Python package"):
            fetch("toy", version, "0" * 64, kind)
    # Past the types, pip still compares the digest before it opens anything.
    unchecked = params.WheelPackage.model_construct(
        kind="wheel",
        package=f"toy @ file://{workplace}/inbox/evil",
        version="0.tar.gz",
        sha256="0" * 64,
        archive=None,
    )
    with pytest.raises(SourceError, match="a different sha256"):
        clients.fetch(unchecked)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("kind", "package", "version"),
    [
        ("npm", "owner/repository", "1.0.0"),  # a repository of GitHub
        ("npm", "--prefix=/", "1.0.0"),
        ("npm", "toy", "1.0.0-a.tgz"),  # a file
        ("npm", "toy", "latest"),
        ("debian", "toy/unstable", "1.0"),
        ("debian", "-oDebug::NoLocking=1", "1.0"),
        ("debian", "toy", "1.0 -o"),
        ("debian", "../toy", "1.0.deb"),
    ],
)
def test_only_names_and_versions_reach_a_client(kind: str, package: str, version: str) -> None:
    with pytest.raises(ValidationError, match=r"must be (the name|a version) of a "):
        fetch(package, version, "0" * 64, kind)


def malicious(folder: Path, name: str) -> Path:
    """Write a source distribution whose build leaves a file, and return that file's path."""
    ran = folder / "ran"
    package = folder / "evil"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (package / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / name, "w:gz") as file:
        file.add(package, "toy-1.0")
    return ran


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    assert fetch("toy", "1.0", digest).read_bytes() == index.body
    output = capsys.readouterr().out
    assert "attempt 1 of 2 failed" in output
    assert "download toy==1.0: 0 of 0 MB" in output


def test_a_connection_that_stays_broken_is_named(index: Page, cache: Path) -> None:
    index.breaks = 99
    with pytest.raises(SourceError, match=r"(?s)toy==1.0 has a different sha256.*next: .*cuts it short"):
        fetch("toy", "1.0", hashlib.sha256(index.body).hexdigest())
    assert [path.name for path in cache.iterdir()] == ["locks"]


# ---- source distributions ----------------------------------------------------------------------------------


def test_a_source_distribution_comes_from_an_index(
    index: Page, server: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    body = tar_gz({"toy-1.0/data.csv": os.urandom(200_000)})
    name = "/files/toy-1.0.tar.gz"
    server.pages["/simple/toy/"].body += f'<a href="{name}">toy-1.0.tar.gz</a>'.encode()
    server.pages[name] = Page(body, breaks=1)
    assert fetch("toy", "1.0", hashlib.sha256(body).hexdigest(), "sdist").read_bytes() == body
    assert "attempt 1 of 2 failed" in capsys.readouterr().out


def test_a_source_distribution_that_is_not_there_is_not_replaced_by_a_wheel(
    build_wheel: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    digest = build_wheel(MEMBERS)
    with pytest.raises(
        SourceError, match=r"(?s)pip cannot download toy==1.0.*got: +ERROR: No source dist.*next:"
    ):
        fetch("toy", "1.0", digest, "sdist")
    assert "attempt" not in capsys.readouterr().out


def test_another_pip_is_one_clear_error(
    wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other" / "pip").mkdir(parents=True)
    (tmp_path / "other" / "pip" / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    with pytest.raises(
        SourceError, match=r"(?s)pip cannot download.*got: +ERROR: this pip has another interface"
    ):
        fetch("toy", "1.0", "0" * 64, "sdist")


# ---- npm -------------------------------------------------------------------------------------------------

PATH_WITHOUT_TOOLS = "/nowhere"


@pytest.mark.parametrize(("kind", "tool"), [("npm", "npm"), ("debian", "apt-get")])
def test_a_tool_that_is_not_installed_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch, kind: str, tool: str
) -> None:
    monkeypatch.setenv("PATH", PATH_WITHOUT_TOOLS)
    with pytest.raises(
        SourceError, match=rf"(?s)cannot be fetched: {tool} is not installed.*got:.*expected:.*next:"
    ):
        fetch("toy", "1.0.0", "0" * 64, kind)


@pytest.fixture
def registry(server: LocalServer, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """The tarball's page of `@own/toy` 1.0.0 in a registry that npm is configured for."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    for name in [name for name in os.environ if name.lower().startswith("npm_config_")]:
        monkeypatch.delenv(name)
    page = Page(tar_gz({"package/package.json": b"{}", "package/data/a.csv": b"text,label\n"}))
    tarball = f"{server.url}/toy-1.0.0.tgz"
    dist = {"tarball": tarball, "shasum": hashlib.sha1(page.body, usedforsecurity=False).hexdigest()}
    about = {
        "name": "@own/toy",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {"name": "@own/toy", "version": "1.0.0", "dist": dist}},
    }
    server.pages["/@own%2ftoy"] = Page(json.dumps(about).encode(), {"Content-Type": "application/json"})
    server.pages["/toy-1.0.0.tgz"] = page
    settings = tmp_path / "npmrc"
    settings.write_text(f"registry={server.url}\nfetch-retries=0\n")
    monkeypatch.setenv("npm_config_userconfig", str(settings))
    return page


def test_a_package_of_npm_is_fetched_once(registry: Page, server: LocalServer) -> None:
    digest = hashlib.sha256(registry.body).hexdigest()
    assert fetch("@own/toy", "1.0.0", digest, "npm").read_bytes() == registry.body
    server.close()
    assert fetch("@own/toy", "1.0.0", digest, "npm").read_bytes() == registry.body


def test_another_version_or_digest_of_npm_is_named(registry: Page, cache: Path) -> None:
    with pytest.raises(
        SourceError, match=r"(?s)npm cannot download @own/toy@2.0.0.*got: +npm .*No match.*next:"
    ):
        fetch("@own/toy", "2.0.0", "0" * 64, "npm")
    with pytest.raises(SourceError, match=r"(?s)own-toy-1.0.0.tgz has a different sha256.*next:"):
        fetch("@own/toy", "1.0.0", "0" * 64, "npm")
    assert [path.name for path in cache.iterdir()] == ["locks"]


# ---- apt -------------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The content of toy 1:1.0-1, in the only archive that apt is configured for."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    control = b"Package: toy\nVersion: 1:1.0-1\nArchitecture: all\nMaintainer: me\nDescription: toy\n"
    package = deb({"usr/share/toy/a.csv": b"text,label\n"}, control)
    (folder / "toy.deb").write_bytes(package)
    listed = f"Filename: ./toy.deb\nSize: {len(package)}\nSHA256: {hashlib.sha256(package).hexdigest()}\n"
    (folder / "Packages").write_bytes(control + listed.encode())
    configure_apt(tmp_path, monkeypatch, f"deb [trusted=yes] file:{folder} ./")
    return package


def test_a_debian_package_is_fetched_once(mirror: bytes, tmp_path: Path) -> None:
    digest = hashlib.sha256(mirror).hexdigest()
    assert fetch("toy", "1:1.0-1", digest, "debian").read_bytes() == mirror
    shutil.rmtree(tmp_path / "mirror")
    assert fetch("toy", "1:1.0-1", digest, "debian").read_bytes() == mirror


def test_another_version_or_digest_of_a_debian_package_is_named(mirror: bytes, cache: Path) -> None:
    with pytest.raises(
        SourceError, match=r"(?s)apt-get cannot download toy=2.*got: +E: Version.*next: +run `apt-get"
    ):
        fetch("toy", "2", "0" * 64, "debian")
    with pytest.raises(SourceError, match=r"(?s)apt-get cannot download absent=2.*got: +E: Unable to locate"):
        fetch("absent", "2", "0" * 64, "debian")
    with pytest.raises(SourceError, match=r"(?s)toy_.*deb has a different sha256.*next:"):
        fetch("toy", "1:1.0-1", "0" * 64, "debian")
    assert [path.name for path in cache.iterdir()] == ["locks"]
