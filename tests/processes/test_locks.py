"""The locks are exact and complete, agree with the ranges of pyproject.toml, and match the installation."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = tuple(name for name in PROJECT["optional-dependencies"] if name != "dev")
SLOW = ("ray", "spark")  # only slow tests need them, and only `make test-slow` installs them
LOCKS = ("requirements.lock", "requirements-dev.lock", *(f"requirements-{name}.lock" for name in EXTRAS))


def locked(name: str) -> dict[str, str]:
    """Map each package to its version, for the lines that apply on this platform."""
    text = (ROOT / name).read_text(encoding="utf-8")
    requirements = [
        Requirement(line.split(" \\")[0]) for line in text.splitlines() if re.match(r"[\w.-]+==", line)
    ]
    return {
        canonicalize_name(item.name): str(item.specifier).removeprefix("==")
        for item in requirements
        if item.marker is None or item.marker.evaluate()
    }


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_exact_versions_and_digests_only(name: str) -> None:
    """No line names an index, so the lock is the same wherever the packages come from."""
    package = r"[\w.-]+==[\w.!+-]+( ; sys_platform == 'linux')? \\"
    digest = r"    --hash=sha256:[0-9a-f]{64}( \\)?"
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.fullmatch(rf"#.*\n({package}\n({digest}\n)+)+", text)


def test_only_packages_without_a_wheel_are_built() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--require-hashes --only-binary=:all: --no-build-isolation" in text
    assert re.findall("--no-binary=([^ )]+)", text) == ["antlr4-python3-runtime", "pyspark", "seqeval"]
    installed = [line for line in text.splitlines() if "pip install" in line and "$$env" not in line]
    assert all("$(LOCKED)" in line or line.endswith("-e .") for line in installed), installed


@pytest.mark.parametrize("name", LOCKS[1:])
def test_the_locks_do_not_overlap(name: str) -> None:
    assert not locked(LOCKS[0]).keys() & locked(name).keys()


def test_the_locks_fit_the_ranges() -> None:
    runtime, everything = locked(LOCKS[0]), locked(LOCKS[0]) | locked(LOCKS[1])
    ranges = [(item, runtime) for item in PROJECT["dependencies"]]
    optional = PROJECT["optional-dependencies"]
    ranges += [(item, everything) for item in optional["dev"] if not item.startswith("baton[")]
    for extra in EXTRAS:
        ranges += [(item, locked(f"requirements-{extra}.lock")) for item in optional[extra]]
    for item, versions in ranges:
        requirement = Requirement(item)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), item


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_development_lock_has_the_extras(extra: str) -> None:
    versions, everything = locked(f"requirements-{extra}.lock"), locked(LOCKS[1])
    common = {name: everything[name] for name in versions if extra not in SLOW or name in everything}
    assert versions and common.items() <= versions.items()
    own = sorted({*EXTRAS} - {*SLOW})
    assert f"baton[{','.join(own)}]" in PROJECT["optional-dependencies"]["dev"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"for extra in {' '.join(sorted(EXTRAS))}; do" in makefile, "`make lock` makes its lock"
    assert f"SLOW := {' '.join(SLOW)}\n" in makefile


def test_the_runtime_lock_is_complete() -> None:
    """Everything that a locked package requires on this platform is locked too.

    `pip install --no-deps` depends on it.
    """
    versions = locked(LOCKS[0])
    for name in versions:
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted = canonicalize_name(requirement.name)
                assert wanted in versions, f"{name} requires {line}"
                assert requirement.specifier.contains(versions[wanted], prereleases=True), (
                    f"{name} requires {line}"
                )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.slow if name[len("requirements-") : -len(".lock")] in SLOW else ()
        )
        for name in LOCKS
    ],
)
def test_the_locks_are_what_is_installed(name: str) -> None:
    installed = {package: metadata.version(package) for package in locked(name)}
    assert installed == locked(name)
