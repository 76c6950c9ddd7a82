"""The digest of files is that of their content: edits change it, commits do not."""

from pathlib import Path

from baton.workspace import content
from tests.workspace.conftest import git

PATHS = ("src", "inbox")


def test_edits_change_it_and_a_commit_does_not(project: Path) -> None:
    found = [content.digest(PATHS)]

    def changed() -> None:
        now = content.digest(PATHS)
        assert now not in found
        found.append(now)

    Path("src/code.sh").write_text("false\n")
    changed()
    Path("inbox/more ä").write_text("new\n")
    changed()
    Path("inbox/data").unlink()
    changed()
    Path("src/code.sh").rename("src/code2.sh")
    changed()
    git("add", "--all")
    assert content.digest(PATHS) == found[-1]
    git("commit", "--quiet", "--message", "second")
    assert content.digest(PATHS) == found[-1]


def test_other_files_and_ignored_ones_do_not_count(project: Path) -> None:
    before = content.digest(PATHS)
    Path("README").write_text("else\n")
    Path(".gitignore").write_text("/out\n.baton/\n*.tmp\n")
    Path("inbox/x.tmp").write_text("ignored\n")
    assert content.digest(PATHS) == before
