"""Packages that not every user needs: the extras of pyproject.toml, each with a lock of its own."""

from collections.abc import Mapping
from importlib import util
from pathlib import Path

from baton.errors import ParamsError

OWN = Path("baton_code/version")  # in a project of `baton new`


def install(extra: str) -> str:
    """Return the command that installs an extra, in a checkout of this repository or elsewhere."""
    if OWN.is_file():
        return f"pip install --no-deps --require-hashes -r requirements-{extra}.lock"
    return f"make install EXTRAS={extra}"


def require(extra: str, purpose: str, packages: Mapping[str, str]) -> None:
    """Refuse what needs packages that are not installed.

    Args:
        extra: the name under `project.optional-dependencies`.
        purpose: what needs them, as the error begins.
        packages: modules, and the packages that they are in.

    Raises:
        ParamsError: one is missing.
    """
    if missing := [package for module, package in packages.items() if util.find_spec(module) is None]:
        raise ParamsError(
            f"{purpose} needs packages that are not installed",
            got=f"no {', '.join(missing)}",
            expected=f"those of requirements-{extra}.lock",
            hint=f"run `{install(extra)}`",
        )
