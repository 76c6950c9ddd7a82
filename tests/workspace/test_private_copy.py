"""The private copy is the project as it is now, and the project stays as it is."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from baton.errors import OutputError, ParamsError
from baton.workspace import experiments, private_copy
from tests.workspace.conftest import dvc, git

COPY, NEEDED = Path(".baton/compare/copy"), ("src/code.sh", "inbox")


def state() -> dict[str, object]:
    """Everything of the project that a user has: files with times, index, references."""
    files = {
        path.as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in Path().rglob("*")
        if path.is_file() and path.parts[0] not in (".git", ".baton", ".dvc")
    }
    return files | {
        "status": git("status", "--porcelain"),
        "staged": git("diff", "--cached"),
        "stash": git("stash", "list"),
    }


def edit() -> None:
    Path("params.yaml").write_text("# how\nmade: {rate: 2}\n")
    Path("inbox/new").write_text("new\n")
    Path("inbox/data").unlink()
    Path("scratch").mkdir()
    Path("scratch/large").write_text("not needed\n")
    Path("src/code.sh").write_text("cat inbox/new params.yaml > out; echo '{\"a\": 2}' > metrics.json\n")
    git("add", "src")  # half of the edits are staged


def test_edits_are_in_the_copy_and_the_project_is_untouched(project: Path) -> None:
    edit()
    before = state()
    root = private_copy.prepare(COPY, NEEDED)
    assert state() == before
    assert root.resolve() == COPY.resolve()
    for name in ("params.yaml", "inbox/new", "src/code.sh", "dvc.yaml", "README"):
        assert (root / name).read_bytes() == Path(name).read_bytes()
    assert not (root / "inbox/data").exists() and not (root / "scratch").exists()
    dvc("repro", folder=root)
    assert state() == before
    assert (root / "out").read_text() == "new\n# how\nmade: {rate: 2}\n"


@pytest.mark.parametrize(("key", "value"), [("core.analytics", "false"), ("cache.type", "copy")])
def test_the_cache_is_that_of_the_project(project: Path, key: str, value: str) -> None:
    dvc("config", "--local", key, value)
    root = private_copy.prepare(COPY, NEEDED)
    dvc("repro", folder=root)
    assert "is cached" in dvc("repro"), "what ran in the copy does not run again in the project"
    assert f"{key.split('.')[1]} = {value}" in (root / ".dvc/config.local").read_text()


def test_it_follows_the_project(project: Path) -> None:
    root = private_copy.prepare(COPY, NEEDED)
    dvc("repro", folder=root)
    (root / "params.yaml").write_text("half written")
    (root / "inbox/left over").write_text("by somebody")
    edit()
    git("add", "--all")
    git("commit", "--quiet", "--message", "second")
    Path("inbox/new").write_text("newer\n")
    assert private_copy.prepare(COPY, NEEDED) == root
    assert (root / "params.yaml").read_bytes() == Path("params.yaml").read_bytes()
    assert sorted(path.name for path in (root / "inbox").iterdir()) == ["new"]
    assert (root / "inbox/new").read_text() == "newer\n"
    assert (root / "out").exists(), "outputs stay: they need not be made or linked again"
    git("checkout", "--quiet", "--", "inbox")
    private_copy.prepare(COPY, NEEDED)
    assert (root / "inbox/new").read_text() == "new\n", "an edit that was taken back"


def test_a_broken_copy_is_made_again(project: Path) -> None:
    root = private_copy.prepare(COPY, NEEDED)
    shutil.rmtree(root / ".git/objects")
    private_copy.prepare(COPY, NEEDED)
    assert (root / "inbox/data").read_text() == "rows\n" and git(
        "-C", str(root), "status", "--porcelain"
    ) == ""


def test_data_that_dvc_tracks(project: Path) -> None:
    Path("inbox/big").write_text("big\n")
    dvc("add", "inbox/big")
    root = private_copy.prepare(COPY, NEEDED)
    assert (root / "inbox/big").read_text() == "big\n"
    Path("inbox/big").write_text("bigger\n")
    with pytest.raises(ParamsError, match=r"differs from its \.dvc file"):
        private_copy.prepare(COPY, NEEDED)


def test_a_project_in_a_subfolder_of_its_repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("inner").mkdir()
    for name in ("src", "inbox", "params.yaml", "dvc.yaml", ".gitignore"):
        shutil.move(name, "inner")
    shutil.rmtree(".dvc")
    monkeypatch.chdir("inner")
    dvc("init", "--quiet", "--subdir")
    git("add", "--all", ":/")
    git("commit", "--quiet", "--message", "moved")
    Path("inbox/data").write_text("edited\n")
    root = private_copy.prepare(COPY, NEEDED)
    assert root == COPY / "inner" and (root / "inbox/data").read_text() == "edited\n"
    dvc("repro", folder=root)
    commit = experiments.record(root, "one", ["metrics.json"], "baton compare")
    assert experiments.known() == {"one": commit}
    assert "+edited" in git("show", commit)


def test_without_a_commit_there_are_no_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match="git repository with a commit"):
        private_copy.prepare(COPY, NEEDED)


def test_processes_that_work_in_the_copy_are_waited_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = private_copy.prepare(COPY, NEEDED)
    program = "import time; time.sleep({})"
    with subprocess.Popen([sys.executable, "-c", program.format(1)], cwd=root):
        private_copy.prepare(COPY, NEEDED)
    monkeypatch.setattr(private_copy, "IDLE_SECONDS", 0.5)
    with subprocess.Popen([sys.executable, "-c", program.format(60)], cwd=root) as process:
        with pytest.raises(OutputError, match=f"is in use\n.*{process.pid}"):
            private_copy.prepare(COPY, NEEDED)
        process.kill()
