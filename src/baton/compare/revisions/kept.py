"""What a revision kept: files of stages, by the digests in its dvc.lock, from the local DVC cache.

Nothing in the working tree changes, and no stage runs. Without a revision it is the working tree itself.
"""

from dataclasses import dataclass
from pathlib import Path

from baton.errors import DataError, ParamsError
from baton.workspace import dvc_graph, experiments
from baton.workspace.commands import run
from baton.workspace.dvc_graph import Graph

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Kept:
    """A revision, or the working tree."""

    name: str  # as the user wrote it
    commit: str  # "" for the working tree
    graph: Graph | None  # its dvc.lock; None for the working tree

    @property
    def short(self) -> str:
        """A name for folders."""
        return self.commit[:8] or WORKSPACE

    def file(self, path: str) -> Path:
        """Return where a stage's output file lies.

        Raises:
            DataError: the revision does not have it, or its bytes are not here.
        """
        found = self.place(path)
        if found is None:
            expected = "an output in its dvc.lock" if self.commit else "an output of a stage"
            hint = (
                "choose a revision after `baton repro`" if self.commit else "run `baton repro` or `dvc pull`"
            )
            raise DataError(f"{self.name} has no {path}", got="none", expected=expected, hint=hint)
        if not found.is_file():
            raise self._absent(path)
        return found

    def place(self, path: str) -> Path | None:
        """Return where a file lies or would lie; None if the revision has no such file."""
        if self.graph is None:
            return Path(path) if Path(path).is_file() else None
        if (made := self.graph.made(path)) is None:
            return None
        stage, out = made
        digest = self.graph.outs(stage)[out]
        files = dvc_graph.files_of(digest)
        if not files:
            raise self._absent(out)
        return files.get(Path(path).relative_to(out).as_posix())

    def _absent(self, path: str) -> DataError:
        hint = (
            "`dvc fetch --all-commits` brings what was pushed (`dvc pull` only that of this commit); "
            f"else check {self.name} out elsewhere and run `dvc repro` there"
        )
        return DataError(
            f"{path} of {self.name} is not in DVC's cache",
            got="no such file",
            expected="its bytes",
            hint=hint,
        )


def at(revision: str | None) -> Kept:
    """Return what a commit, branch, tag or DVC experiment kept; None is the working tree.

    Raises:
        ParamsError: there is no such revision.
        DataError: it has no dvc.lock.
    """
    if revision is None:
        return Kept("the working tree", "", None)
    words = ("git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    commit = run(*words, check=False).strip() or experiments.known().get(revision, "")
    if not commit:
        raise ParamsError(
            f"there is no revision {revision}",
            got=revision,
            expected="a commit, branch, tag or DVC experiment",
            hint="`git log` and `dvc exp show` list them; a shallow clone needs `git fetch --unshallow`",
        )
    graph = dvc_graph.of_commit(commit)
    if graph is None:
        hint = "choose a commit in which `baton repro` has run"
        raise DataError(f"{revision} has no dvc.lock", got=commit[:8], expected="one", hint=hint)
    return Kept(revision, commit, graph)
