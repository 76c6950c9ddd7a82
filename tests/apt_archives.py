"""Archives of Debian packages on this machine, for the real apt."""

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest


def configure_apt(folder: Path, monkeypatch: pytest.MonkeyPatch, sources: str) -> None:
    """Let apt know only this archive, with its state in `folder`; skip the test where there is no apt."""
    if shutil.which("apt-get") is None:
        pytest.skip("apt is not installed")
    state = folder / "state"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    (folder / "sources.list").write_text(f"{sources}\n")
    config = folder / "apt.conf"
    config.write_text(
        f'Dir::State "{state}"; Dir::State::status "{state}/status"; Dir::Cache "{state}/cache";\n'
        f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "-";\n'
        'APT::Sandbox::User "";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    subprocess.run(["apt-get", "update"], check=True, capture_output=True)


def write_release(folder: Path, release: str, version: str, indexes: Mapping[str, bytes]) -> dict[str, str]:
    """Write the release `release` with the index files of its component `main`; return their sha256."""
    home = folder / "dists" / release
    digests, lines = (
        {},
        [f"Codename: {release}", f"Version: {version}", "Date: Sat, 11 Jul 2026 10:16:37 UTC"],
    )
    lines += ["Architectures: amd64", "Components: main", "SHA256:"]
    for name, content in indexes.items():
        path = home / "main" / ("binary-amd64" if name == "Packages" else "i18n") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
        lines.append(f" {digests[name]} {len(content)} {path.relative_to(home)}")
    (home / "Release").write_text("\n".join(lines) + "\n")
    return digests
