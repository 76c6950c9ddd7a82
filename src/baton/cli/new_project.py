"""`baton new`: make a project that runs the installed Baton; `baton upgrade`: take a newer one."""

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from baton import console, params, resources, storage
from baton.cli import project_code, table_guess, task_choice
from baton.errors import DataError, OutputError, ParamsError
from baton.params import editing
from baton.workspace import commands

OURS = "requirements-dev.lock"  # for Baton's developers
LARGE = 10_000_000  # bytes beyond which DVC keeps a table, and not git
KEPT = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_SSH_COMMAND")
PLAIN = ("-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null")  # nothing that asks or refuses
COPIED = (".dvcignore", ".gitignore", "strategies.yaml")
AUTHOR = ("-c", "user.name=baton new", "-c", "user.email=baton-new@localhost")
# In place of `make install` in the workflows. A package without a wheel is built by the locked setuptools.
INSTALL = """- run: |
          python -m venv .venv
          awk '/^[^ ]/ { on = /^setuptools==/ } on' requirements.lock > .venv/first.lock
          pinned="install --no-deps --require-hashes --only-binary=:all: --no-build-isolation"
          .venv/bin/pip $pinned -r .venv/first.lock
          .venv/bin/pip $pinned --no-binary=antlr4-python3-runtime -r requirements.lock
          for extra in $EXTRAS; do .venv/bin/pip $pinned -r "requirements-$extra.lock"; done
          .venv/bin/pip install --no-deps "${BATON_PACKAGE:?is not set: it names a wheel of Baton, https://…#sha256=…}"
        env:
          BATON_PACKAGE: ${{ vars.BATON_PACKAGE }}
"""
WORKFLOWS = Path(".github/workflows")
INBOX = """\
# Your own data

Files that recipes read: a table with a text and a label column, or a folder of images for each class. DVC
watches this folder, so an edit reruns what depends on it. Small files can be committed to git; for large ones
use `dvc add inbox/data.csv`. This file is not part of the data.
"""
README = """\
# {name}

{description}

    baton repro              # run what is out of date, and show the results
    baton summary --test     # the figures on test
    baton ui                 # compare runs in the browser

`params.yaml` has every setting. `reports/report.html` says which model to use, where it fails and why. Made
with Baton {version}; `baton upgrade` takes a newer one, and says what will run again.
"""


def create(path: Path, recipe: Path, table: Path | None = None) -> None:
    """Make the project.

    Args:
        path: a folder that does not exist.
        recipe: its params.
        table: the user's own, of which a copy goes into the project.

    Raises:
        OutputError: there is something already, or git or DVC fails.
        DataError: the table has no columns of texts and labels.
    """
    path = path.resolve()
    _check_place(path)
    with storage.atomic_folder(path) as made:
        for name in (*COPIED, *_locks()):
            shutil.copy(resources.root() / name, made)
        (made / "inbox").mkdir()
        (made / params.PATH).write_bytes(
            task_choice.frozen(recipe) if table is None else _proposed(recipe, table, made, path.name)
        )
        (made / "inbox/README.md").write_text(INBOX, encoding="utf-8")
        description = params.read_raw(made / params.PATH)["description"]
        text = README.format(name=path.name, description=description, version=project_code.version())
        (made / "README.md").write_text(text, encoding="utf-8")
        project_code.write(made)
        _write_workflows(made / WORKFLOWS)
        _begin(made)
    console.say(f"{escape(str(path))} is a project of {escape(recipe.stem)}: {escape(description)}")
    values = params.flatten(params.read_raw(path / params.PATH)).values()
    named = [value for value in values if isinstance(value, str) and value.startswith("inbox/")]
    read = [value for value in named if not any((path / f"{value}{end}").exists() for end in ("", ".dvc"))]
    inbox = f", put your data into {escape(', '.join(read))}" if read else ""
    console.say(f"next: `cd {escape(shlex.quote(str(path)))}`{inbox}, `baton repro`")


def _check_place(path: Path) -> None:
    """Refuse a place that is taken, or lies in another repository, which would see none of the files."""
    if path.exists() or path.is_symlink():
        raise OutputError(
            f"{path} is there already",
            got="a folder" if path.is_dir() else "a file",
            expected="a folder that does not exist yet",
            hint="choose another name",
        )
    if shutil.which("git") is None:
        raise OutputError("a project needs git", got="none on PATH", hint="on Debian: apt install git")
    for name in [name for name in os.environ if name.startswith("GIT_") and name not in KEPT]:
        del os.environ[name]  # such as GIT_DIR, which would lead git elsewhere
    above = next((folder for folder in path.parents if folder.is_dir()), path)
    if outer := commands.run("git", "rev-parse", "--show-toplevel", check=False, folder=above).strip():
        raise OutputError(
            f"{path} lies in another git repository",
            got=outer,
            expected="a folder outside of it, since the project is a repository of its own",
            hint="choose another place",
        )


def _proposed(recipe: Path, table: Path, folder: Path, project: str) -> bytes:
    """Copy a table into inbox/ and return the params that it asks for."""
    if not table.is_file():
        raise DataError(f"{table} is missing", got="no file", expected="a table with texts and labels")
    found = table_guess.choices(table)
    shutil.copy(table, folder / "inbox" / table.name)
    for key, choice in found.items():
        console.say(escape(f"{key}: {choice.value} ({choice.reason})"))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", project).strip("-.") or "own"
    columns = [found[f"preprocess.{which}_column"].value for which in ("label", "text")]
    description = f"{table.name}: {columns[0]} from {columns[1]}; MiniLM-L6 teacher, 3-layer student."
    named = {"description": description, "tracking.experiment": name, "promotion.name": name}
    draft = editing.edited(recipe.read_text(encoding="utf-8"), named)
    (folder / params.PATH).write_text(table_guess.written(draft, found), encoding="utf-8")
    with contextlib.chdir(folder):
        return task_choice.frozen(params.PATH)


def _write_workflows(folder: Path) -> None:
    """Write the workflows that retrain and comment, which install Baton instead of running a checkout's."""
    folder.mkdir(parents=True)
    for path in sorted((resources.root() / WORKFLOWS).glob("retrain*.yml")):
        text = path.read_text(encoding="utf-8").replace('"src/**", "stages/**"', '"baton_code/**"')
        text = re.sub(r"- run: make install[^\n]*\n        env:\n", lambda _: INSTALL, text)
        (folder / path.name).write_text(text, encoding="utf-8")


def _begin(folder: Path) -> None:
    """Begin git and DVC. DVC keeps a large table, as git would keep it for ever."""
    commands.run("git", "init", "--quiet", "--initial-branch", "main", folder=folder)
    commands.run("dvc", "init", "--quiet", folder=folder)
    for key, value in (("analytics", "false"), ("check_update", "false"), ("autostage", "true")):
        commands.run("dvc", "config", f"core.{key}", value, folder=folder)
    for path in sorted((folder / "inbox").iterdir()):
        if path.stat().st_size > LARGE:
            commands.run("dvc", "add", "--quiet", str(path.relative_to(folder)), folder=folder)
    commands.run("git", "add", ".", folder=folder)
    known = commands.run("git", "var", "GIT_AUTHOR_IDENT", check=False, folder=folder)
    author = () if known else AUTHOR
    commands.run("git", *PLAIN, *author, "commit", "--quiet", "--message", "baton new", folder=folder)


def upgrade(apply: bool) -> None:
    """Say which stages will run again with the installed Baton; take its code if `apply`.

    Raises:
        ParamsError: this is no project of `baton new`, or params.yaml is not valid for the installed Baton.
    """
    if not project_code.is_own():
        raise ParamsError(
            "this project has Baton's source",
            got="no baton_code/version",
            expected="a project of `baton new`",
            hint="`git pull` upgrades it",
        )
    params.read()
    made = (project_code.FOLDER / project_code.VERSION).read_text(encoding="utf-8").strip()
    locks = [name for name in _locks() if _differs(name)]
    again = _changed(locks)
    console.say(f"Baton {made} wrote this project; {project_code.version()} is installed")
    if again:
        console.say(f"{', '.join(again)} will run again, and later stages if their inputs change")
    else:
        console.say("nothing will run again")
    if not apply:
        console.say("next: `baton upgrade --apply`, then `baton repro`")
        return
    for name in locks:
        with storage.atomic_file(Path(name)) as temporary:
            shutil.copy(resources.root() / name, temporary)
    project_code.write(Path())
    console.say("next: `baton repro`, then commit baton_code/, dvc.yaml and dvc.lock")


def _changed(locks: Sequence[str]) -> list[str]:
    """Return the stages whose code, entry in dvc.yaml or lock is another."""
    code, then = project_code.digests(), project_code.pinned()
    now, before = project_code.graph()["stages"], params.read_raw(Path(project_code.GRAPH))["stages"]
    return [
        stage
        for stage, entry in now.items()
        if then.get(stage) != code[stage] or entry != before.get(stage) or {*locks} & {*entry["deps"]}
    ]


def _locks() -> list[str]:
    return sorted(path.name for path in resources.root().glob("requirements*.lock") if path.name != OURS)


def _differs(name: str) -> bool:
    return not Path(name).is_file() or storage.sha256(Path(name)) != storage.sha256(resources.root() / name)
