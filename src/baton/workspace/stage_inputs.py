"""What a stage and all before it depend on: files that no stage makes, and sections of params.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from baton import params
from baton.workspace import content, dvc_files


@dataclass(frozen=True)
class Inputs:
    """What the stages up to the last one that runs depend on."""

    paths: tuple[str, ...]  # files and folders that no stage makes
    sections: tuple[str, ...]  # of params.yaml

    def digest(self) -> str:
        """Return the digest of the files as they are now."""
        return content.digest(self.paths)


def of(stage: str) -> Inputs:
    """Return what a stage and those before it depend on, from dvc.yaml."""
    stages: Mapping[str, Any] = params.read_raw(dvc_files.GRAPH)["stages"]
    made = {path: name for name, paths in dvc_files.outputs().items() for path in paths}
    todo, found = [stage], list[str]()
    while todo:
        name = todo.pop()
        if name not in found:
            found.append(name)
            todo += [made[path] for path in stages[name].get("deps") or () if path in made]
    deps = {path for name in found for path in stages[name].get("deps") or () if path not in made}
    sections = {section for name in found for section in stages[name].get("params") or ()}
    return Inputs(tuple(sorted(deps)), tuple(sorted(sections)))
