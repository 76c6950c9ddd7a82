"""Read one `dvc.lock`: which stage made which output from which data, params and code. Needs no mlflow.

A `dvc.lock` can come from the working tree, from a commit, or from a run or version that it was stored with.
"""

import functools
import json
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from baton import params
from baton.errors import DataError, ParamsError
from baton.workspace.commands import changed_files, is_commit, run
from baton.workspace.dvc_files import LOCK

# In a project without Baton's source, `baton_code/` has the digest of the installed code of each stage.
CODE = ("src/", "stages/", "baton_code/", "requirements.lock", "requirements-export.lock")


class Graph:
    """The stages of a `dvc.lock`."""

    def __init__(self, text: str, where: str) -> None:
        """Parse the text; `where` says in messages which file it is.

        Raises:
            DataError: the text is not a `dvc.lock`.
        """
        self.where = where
        try:
            stages = params.parse(text, "dvc.lock")["stages"]
            self.stages: Mapping[str, Mapping[str, Any]] = dict(stages or {})
        except (ParamsError, KeyError, TypeError) as error:
            got = " ".join(str(error).split())[:200]
            raise DataError(
                f"the dvc.lock of {where} cannot be read", got=got, expected="a file written by DVC"
            ) from None

    def outs(self, stage: str) -> dict[str, str]:
        """Map the stage's output paths to digests."""
        return _digests(self.stages.get(stage, {}), "outs")

    def deps(self, stage: str) -> dict[str, str]:
        """Map the data that the stage read to digests."""
        return {
            path: digest
            for path, digest in _digests(self.stages[stage], "deps").items()
            if not path.startswith(CODE)
        }

    def code(self, stage: str) -> dict[str, str]:
        """Map the code and locked requirements that the stage depends on to digests."""
        return {
            path: digest
            for path, digest in _digests(self.stages[stage], "deps").items()
            if path.startswith(CODE)
        }

    def params(self, stage: str) -> dict[str, Any]:
        """Return the stage's params, flattened."""
        found = self.stages[stage].get("params") or {}
        return {key: value for section in found.values() for key, value in params.flatten(section).items()}

    def made(self, path: str) -> tuple[str, str] | None:
        """Return the stage that made a file or folder (or its parent folder), and that output's path."""
        wanted = Path(path)
        for stage in self.stages:
            for out in self.outs(stage):
                if wanted == Path(out) or Path(out) in wanted.parents:
                    return stage, out
        return None

    def source(self, path: str) -> tuple[str, str] | None:
        """Return the dependency, not made by any stage, that a file is or lies in, and its digest.

        Code counts too.
        """
        wanted = Path(path)
        for entry in self.stages.values():
            for dep, digest in _digests(entry, "deps").items():
                if self.made(dep) is None and (wanted == Path(dep) or Path(dep) in wanted.parents):
                    return dep, digest
        return None

    def readers(self, path: str) -> list[str]:
        """Return the stages that read a path."""
        return [stage for stage, entry in self.stages.items() if path in _digests(entry, "deps")]

    def broken(self, stages: Collection[str] | None = None) -> Iterator[str]:
        """Yield a message for each file that differs from the version a later stage read.

        `stages` are those of interest; by default all.
        """
        made = {path: digest for stage in self.stages for path, digest in self.outs(stage).items()}
        for stage in self.stages if stages is None else sorted(stages):
            for path, digest in self.deps(stage).items():
                if path in made and made[path] != digest:
                    yield (
                        f"{stage} of {self.where} read {path} as {digest[:8]}, "
                        f"which has been rebuilt since ({made[path][:8]})"
                    )


def of_workspace() -> Graph | None:
    """Return the graph of the working tree, if it has a `dvc.lock`."""
    return Graph(LOCK.read_text(encoding="utf-8"), "the working tree") if LOCK.is_file() else None


def of_commit(commit: str) -> Graph | None:
    """Return the graph of a commit, if it is a commit's whole name and Git has it."""
    if not is_commit(commit):
        return None
    words = ["git", "show", "--end-of-options", f"{commit}:./{LOCK}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return Graph(done.stdout, f"commit {commit[:8]}") if done.returncode == 0 else None


def moved(stage: str) -> Iterator[str]:
    """Yield a message for each change since `dvc.lock` was written, to a stage or those before it.

    The changes are those that `dvc status` reports.
    """
    # The commit that dvc.lock belongs to.
    commit = run("git", "log", "-1", "--format=%H", "--", str(LOCK), check=False).strip()
    for name, changes in json.loads(
        run("dvc", "status", "--json", "--with-deps", stage, check=False) or "{}"
    ).items():
        for change in changes:
            for kind, items in change.items() if isinstance(change, dict) else ():
                found = ", ".join(_moved(path, how, commit) for path, how in items.items())
                yield f"since {name} ran, {kind.removeprefix('changed ')} no longer match dvc.lock: {found}"


def _moved(path: str, how: str | list[str], commit: str) -> str:
    """Describe the change to a dependency or output; for a folder of code, name the files."""
    if not isinstance(how, str):
        return f"{path} ({', '.join(how)})"
    files = changed_files(commit, path) if path.startswith(CODE) and Path(path).is_dir() else []
    return f"{path} {how}" + (f" ({', '.join(files)})" if files else "")


def cached(digest: str) -> bool:
    """Return whether the local DVC cache holds an output completely."""
    place = _place(digest)
    if not digest.endswith(".dir") or not place.is_file():
        return place.is_file()
    return all(_place(item["md5"]).is_file() for item in json.loads(place.read_text(encoding="utf-8")))


def file_of(digest: str, name: str) -> str | None:
    """Return the text of the file `name` in a cached folder."""
    path = files_of(digest).get(name)
    return path.read_text(encoding="utf-8") if path is not None and path.is_file() else None


def files_of(digest: str) -> dict[str, Path]:
    """Map the names of the files in a folder to their places in the local DVC cache.

    Files may be missing there. It is empty if the cache does not hold the folder's list of files.
    """
    place = _place(digest)
    if not place.is_file():
        return {}
    return {item["relpath"]: _place(item["md5"]) for item in json.loads(place.read_text(encoding="utf-8"))}


def cache() -> Path:
    """Return DVC's cache folder, which several checkouts may share."""
    return _cache(Path.cwd())


def _place(digest: str) -> Path:
    return cache() / "files/md5" / digest[:2] / digest[2:]


@functools.cache
def _cache(project: Path) -> Path:
    """Ask DVC once; `project` is the working directory."""
    return project / (run("dvc", "cache", "dir", check=False).strip() or ".dvc/cache")


def _digests(entry: Mapping[str, Any], part: str) -> dict[str, str]:
    return {item["path"]: item["md5"] for item in entry.get(part) or () if "md5" in item}
