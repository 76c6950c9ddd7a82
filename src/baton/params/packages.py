"""Packages of public registries: pinned archives that hold data or models."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from baton.params.fields import RelativePath, Section, Sha256, as_tuple


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("must name at least one member")
    return names


# One or several members of an archive; `*` and `?` match within a folder, a folder's name everything in it.
Members = Annotated[tuple[RelativePath, ...], BeforeValidator(as_tuple), AfterValidator(_some)]


def _like(pattern: str, kind: str) -> AfterValidator:
    """Accept a value that matches the whole pattern; `kind` says in the error what it should be."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value) or value.endswith(ARCHIVES):
            raise ValueError(f"must be {kind}, since it becomes a word of a command line")
        return value

    return AfterValidator(check)


# Registries' clients also take files, URLs, repositories and options where a name or a version belongs, and
# some of these run code: only what is a name or a version gets there.
ARCHIVES = (".tgz", ".tar", ".tar.gz", ".whl", ".zip", ".deb")
PythonName = Annotated[
    str, _like(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", "the name of a Python package (PEP 508)")
]
PythonVersion = Annotated[
    str,
    _like(
        r"([0-9]+!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[a-z0-9]+(\.[a-z0-9]+)*)?",
        "a version of a Python package (PEP 440)",
    ),
]
NpmName = Annotated[
    str, _like(r"(@[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*", "the name of a package of npm")
]
NpmVersion = Annotated[
    str,
    _like(
        r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?",
        "a version of a package of npm, such as 1.2.3",
    ),
]
DebianName = Annotated[str, _like(r"[a-z0-9][a-z0-9+.-]+", "the name of a Debian package")]
DebianVersion = Annotated[
    str, _like(r"([0-9]+:)?[0-9][A-Za-z0-9.+~-]*", "a version of a Debian package, such as 1:3.0-37")
]


class Archive(Section):
    """A file of a registry, pinned by sha256.

    `archive` names the member that is itself an archive and holds the files; null: the package holds them.
    """

    sha256: Sha256
    archive: RelativePath | None


class PythonPackage(Archive):
    """A package of Python's index."""

    package: PythonName
    version: PythonVersion


class WheelPackage(PythonPackage):
    """A Python wheel, fetched with pip."""

    kind: Literal["wheel"]


class SdistPackage(PythonPackage):
    """A Python source distribution, fetched with pip; its code is not run."""

    kind: Literal["sdist"]


class NpmPackage(Archive):
    """A package of npm's registry, fetched with `npm pack`."""

    kind: Literal["npm"]
    package: NpmName
    version: NpmVersion


class DebianPackage(Archive):
    """A Debian package, fetched with `apt-get download`."""

    kind: Literal["debian"]
    package: DebianName
    version: DebianVersion


Package = Annotated[WheelPackage | SdistPackage | NpmPackage | DebianPackage, Field(discriminator="kind")]
