"""Commands that begin a project or its params: a new project, a newer Baton, recipes."""

import difflib
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from baton import console, params, storage
from baton.errors import OutputError, ParamsError

RECIPES = Path("recipes")
USED = "params.yaml"  # in the project's state: what `baton use` last wrote

app = typer.Typer()


def _names() -> list[str]:
    """Return the recipes' names, for the shell's completion."""
    return [path.stem for path in _recipe_files()]


@app.command()
def new(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The project's folder, missing or empty.")],
    recipe: Annotated[
        str | None, typer.Option(help="A recipe; by default quick.", autocompletion=_names)
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--from", help="A table of yours; columns and lengths are proposed.")
    ] = None,
) -> None:
    """Make a project of your own: a git repository that runs the installed Baton."""
    from baton.cli import new_project

    if recipe and table:
        hint = "leave one out; with --from, edit params.yaml afterwards"
        raise ParamsError("--recipe and --from are two ways to begin", got="both", expected="one", hint=hint)
    begun = _recipe("csv" if table else recipe or "quick", installed=True)
    new_project.create(context.obj / path, begun, table and context.obj / table)


@app.command()
def upgrade(
    apply: Annotated[bool, typer.Option("--apply", help="Take the installed code.")] = False,
) -> None:
    """Say which stages will run again with the installed Baton, in a project of `baton new`."""
    from baton.cli import new_project

    new_project.upgrade(apply)


@app.command()
def recipes() -> None:
    """List the recipes, one line each; the active one is marked."""
    active = params.read_raw() if params.PATH.is_file() else {}
    for path in _recipe_files():
        mark = "  [green](active)[/]" if params.read_raw(path) == active else ""
        console.say(
            f"[bold]{escape(path.stem)}[/]{mark}\n    {escape(str(params.read_raw(path).get('description')))}"
        )
    console.say("\n`baton use NAME` makes one the active params.yaml.")


@app.command()
def use(
    name: Annotated[
        str, typer.Argument(help="A recipe's name, as listed by `baton recipes`.", autocompletion=_names)
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite params.yaml even if it holds uncommitted edits."),
    ] = False,
) -> None:
    """Make a recipe the active params.yaml."""
    from baton.cli import task_choice

    source = _recipe(name)
    if not force and _edited():
        hint = (
            "commit it (`git commit params.yaml`), keep it (`cp params.yaml recipes/my.yaml`), or use "
            "--force to discard the edits"
        )
        raise OutputError(
            f"{params.PATH} was not overwritten",
            got="uncommitted edits",
            expected="a committed file",
            hint=hint,
        )
    content = task_choice.frozen(source)
    for path in (storage.state(USED), params.PATH):
        with storage.atomic_file(path) as temporary:
            temporary.write_bytes(content)
    description = params.read_raw(source)["description"]
    console.say(f"params.yaml is now {name}: {escape(description)}\nnext: `baton repro` (or `dvc repro`)")


def _recipe_files(installed: bool = False) -> list[Path]:
    """Return the installed recipes, and unless these alone are wanted the project's own in their place."""
    from baton import resources

    folders = [resources.root() / RECIPES] if installed else [resources.root() / RECIPES, RECIPES]
    found = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    return [found[name] for name in sorted(found)]


def _recipe(name: str, installed: bool = False) -> Path:
    known = {path.stem: path for path in _recipe_files(installed)}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "`baton recipes` lists them"
        raise ParamsError(
            f"there is no recipe {name}", got=name, expected=f"one of {', '.join(known)}", hint=hint
        )
    return known[name]


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _edited() -> bool:
    """Return whether params.yaml holds something that is neither in git, nor in a recipe or made of one."""
    content = _bytes(params.PATH)
    if not content or content in {_bytes(path) for path in (*_recipe_files(), storage.state(USED))}:
        return False
    try:
        committed = subprocess.run(["git", "show", f"HEAD:./{params.PATH}"], capture_output=True, check=False)
    except OSError:  # git is missing: nothing is committed
        return True
    return committed.returncode != 0 or committed.stdout != content
