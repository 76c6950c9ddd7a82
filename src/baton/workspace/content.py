"""The content of the files that git would commit now, as one digest; committing them does not change it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from baton.workspace.commands import changed_files, run

AT_ONCE = 500  # files in one command line


def digest(paths: Sequence[str]) -> str:
    """Return a digest of the names and contents of the files at or below `paths` that git does not ignore.

    A file that DVC tracks counts by its `.dvc` file. Git must have a commit.
    """
    committed = run("git", "ls-tree", "-r", "-z", "HEAD", "--", *paths).split("\0")
    known = {name: facts for facts, _, name in (line.partition("\t") for line in committed) if name}
    blobs = {name: facts.split()[-1] for name, facts in known.items()}
    changed = changed_files("HEAD", *paths)
    there = [name for name in changed if Path(name).is_file()]
    for start in range(0, len(there), AT_ONCE):
        part = there[start : start + AT_ONCE]
        blobs |= zip(part, run("git", "hash-object", "--", *part).split(), strict=True)
    for name in set(changed) - set(there):
        blobs.pop(name, None)
    listed = "".join(f"{name}\0{blob}\n" for name, blob in sorted(blobs.items()))
    return hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()
