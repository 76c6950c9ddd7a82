"""DVC experiments: commits under `refs/exps/BASE/NAME`, whose parent is the commit that they are based on.

`dvc exp show`, `apply`, `diff`, `push` and `remove` work with them.
"""

from collections.abc import Sequence
from pathlib import Path

from baton.workspace import secret_files
from baton.workspace.commands import run

REFERENCES = "refs/exps"
INTERNAL = ("exec", "temp", "stash", "celery")  # DVC's own, which are no experiments


def known() -> dict[str, str]:
    """Map the names of the project's experiments to their commits."""
    listed = run("git", "for-each-ref", "--format=%(refname) %(objectname)", REFERENCES)
    found: dict[str, str] = {}
    for reference, commit in (line.split(" ") for line in listed.splitlines()):
        parts = reference.removeprefix(f"{REFERENCES}/").split("/")
        if len(parts) == 3 and parts[0] not in INTERNAL:
            found[parts[-1]] = commit
    return found


def record(copy: Path, name: str, outputs: Sequence[str], by: str) -> str:
    """Make what DVC has reproduced in a private copy an experiment of the project; return its commit.

    As in `dvc exp run`, it holds files that git knows, dvc.lock and the `outputs` that git keeps; edits of
    files with credentials stay out of it. The working
    directory is the project's root. An experiment of this name on the same commit is replaced. `by` is the
    command that made it, such as `baton compare`.
    """
    run("git", "add", "--update", "--", ":/", *secret_files.excluded(), folder=copy)
    run("git", "add", "--", "dvc.lock", *outputs, folder=copy)
    head = run("git", "rev-parse", "HEAD", folder=copy).strip()
    tree = run("git", "write-tree", folder=copy).strip()
    author = ("-c", f"user.name={by}", "-c", f"user.email={by.replace(' ', '-')}@localhost")
    words = ("commit-tree", tree, "-p", head, "-m", f"{by}: {name}")
    commit = run("git", *author, *words, folder=copy).strip()
    reference = f"{REFERENCES}/{head[:2]}/{head[2:]}/{name}"
    run("git", "update-ref", reference, commit, folder=copy)
    top = run("git", "rev-parse", "--show-toplevel", folder=copy).strip()
    run("git", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", top, f"+{reference}:{reference}")
    return commit
