"""The code of stages in a project without Baton's source: `baton_code/STAGE` has its digest.

dvc.yaml there names `baton_code/STAGE` in place of the packages that the stage runs, so a new version of
Baton reruns exactly the stages whose code changed. Only `baton new` and `baton upgrade` write these files.
"""

import hashlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from baton import params, resources, storage
from baton.errors import ParamsError

FOLDER = Path("baton_code")
VERSION = "version"  # the file in it with the version that wrote the others
CODE = ("src/", "stages/")  # what dependencies on code begin with in this repository's dvc.yaml
GRAPH = "dvc.yaml"
HEADER = """\
# Written by Baton, and again by `baton upgrade`. `baton_code/STAGE` has the digest of the installed code that
# the stage runs. Metrics are not cached: git tracks them.
"""


def is_own() -> bool:
    """Return whether the working directory is a project without Baton's source."""
    return (FOLDER / VERSION).is_file()


def prepare() -> None:
    """Set what stages and other processes find in an own project.

    `baton` is on PATH, for DVC runs `baton stage`, and downloads are shared by all projects of this user.
    """
    here = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("BATON_FETCHED", str(caches / "baton/fetched"))


def version() -> str:
    """Return the version of Baton that is installed."""
    return importlib.metadata.version("baton")


def digests() -> dict[str, str]:
    """Return the digest of the installed code of each stage."""
    return {stage: _digest(entry["deps"]) for stage, entry in _stages().items()}


def pinned() -> dict[str, str]:
    """Return the digests that the project has."""
    paths = [FOLDER / stage for stage in _stages()]
    return {path.name: path.read_text(encoding="utf-8").strip() for path in paths if path.is_file()}


def check(stage: str) -> None:
    """Refuse to run other code than the project depends on: DVC would keep its results as those of the other.

    Raises:
        ParamsError: the installed code of the stage is another.
    """
    if not is_own():
        raise ParamsError(
            "this project has Baton's source, and runs that",
            got="no baton_code/version",
            expected="a project of `baton new`",
            hint="`dvc repro` runs the stages",
        )
    stages = _stages()
    if stage not in stages:
        expected = ", ".join(stages)
        raise ParamsError(f"there is no stage {stage}", got=stage, expected=f"one of {expected}")
    if pinned().get(stage) == _digest(stages[stage]["deps"]):
        return
    made = (FOLDER / VERSION).read_text(encoding="utf-8").strip()
    raise ParamsError(
        f"the installed Baton has other code for {stage} than this project",
        got=f"Baton {version()}",
        expected=f"Baton {made}, which wrote {FOLDER}/{stage}",
        hint=f"`baton upgrade` takes the new code, and says what runs again; or install Baton {made}",
    )


def write(folder: Path) -> None:
    """Write dvc.yaml and `baton_code/` of a project."""
    (folder / FOLDER).mkdir(exist_ok=True)
    found = digests()
    for stage, digest in found.items():
        with storage.atomic_file(folder / FOLDER / stage) as temporary:
            temporary.write_text(f"{digest}\n", encoding="ascii")
    with storage.atomic_file(folder / FOLDER / VERSION) as temporary:
        temporary.write_text(f"{version()}\n", encoding="ascii")
    with storage.atomic_file(folder / GRAPH) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.dump(graph(), file)


def graph() -> dict[str, Any]:
    """Return the content of dvc.yaml in a project without Baton's source."""
    whole = params.read_raw(resources.root() / GRAPH)
    return {**whole, "stages": {stage: _own(stage, entry) for stage, entry in _stages().items()}}


def _own(stage: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    deps = [path for path in entry["deps"] if not path.startswith(CODE)]
    return {**entry, "cmd": f"baton stage {stage}", "deps": sorted([*deps, f"{FOLDER}/{stage}"])}


def _stages() -> Mapping[str, Mapping[str, Any]]:
    stages: Mapping[str, Mapping[str, Any]] = params.read_raw(resources.root() / GRAPH)["stages"]
    return stages


def _digest(deps: list[str]) -> str:
    """Return one digest of the code among a stage's dependencies."""
    whole = hashlib.sha256()
    for dep in sorted(path for path in deps if path.startswith(CODE)):
        for name, path in _files(dep):
            whole.update(f"{name} {storage.sha256(path)}\n".encode())
    return whole.hexdigest()


def _files(dep: str) -> Iterator[tuple[str, Path]]:
    inside = dep.removeprefix("src/baton/")
    place = (resources.package() / inside) if inside != dep else resources.root() / dep
    if place.is_file():
        yield dep, place
        return
    for path in sorted(place.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{dep}/{path.relative_to(place).as_posix()}", path
