"""Commands about the project and its last run: recipes, checks, figures, MLflow, leftovers."""

import difflib
import os
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from baton import console, params, storage
from baton.errors import OutputError, ParamsError

RECIPES, REPORTS = Path("recipes"), Path("reports")
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
def repro(
    targets: Annotated[list[str] | None, typer.Argument(help="Stages; by default all.")] = None,
) -> None:
    """Run the stages that are out of date (`dvc repro`); of a whole run, show the results."""
    from baton.workspace import commands

    inbox()
    os.environ["BATON_SUMMARY"] = "later"  # what stages show at their end
    commands.dvc("repro", *(targets or []))
    sync()
    if not targets:
        summary(test=False)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="The port to listen on, on this machine only.")] = 5000,
) -> None:
    """Open MLflow on this project's runs, until Ctrl-C: compare them in the browser."""
    from baton.cli import browsing

    sync()
    browsing.show(port)


@app.command(hidden=True)
def stage(name: Annotated[str, typer.Argument()]) -> None:
    """Run a stage from the installed package; dvc.yaml of a project of `baton new` calls this."""
    from baton import resources
    from baton.cli import project_code

    project_code.check(name)
    command = resources.stage(name)
    os.execvp(command[0], command)  # noqa: S606  becomes the stage


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


@app.command()
def inbox() -> None:
    """Check that DVC can read every file in inbox/; print nothing if it can.

    `baton repro` and `baton retrain` run this first.
    """
    from baton.sources import inbox as own

    own.check()


@app.command()
def estimate(
    actual: Annotated[
        bool, typer.Option("--actual", help="Show the last estimate beside what the stages took.")
    ] = False,
) -> None:
    """Say how many minutes, how much memory and disk each stage will take, from a few of its real steps.

    It needs the output of `tokenize` and takes a minute or a few. Nothing of the project changes.
    """
    from baton.estimate import estimating

    if actual:
        estimating.actual()
    else:
        estimating.estimate()


@app.command()
def summary(
    test: Annotated[
        bool, typer.Option("--test", help="Show the figures on test; how often that is done is counted.")
    ] = False,
) -> None:
    """Show the results of the last run on validation, or on test (reports/metrics.json and timings.json)."""
    from baton.cli import export_commands
    from baton.evaluate.report import terminal, terminal_validation

    if not test:
        terminal_validation.show(REPORTS)
        export_commands.summary(test)
        return
    terminal.show(REPORTS)
    export_commands.summary(test)
    count = terminal_validation.looked(storage.sha256(REPORTS / "metrics.json"))
    console.say(f"[dim]{terminal_validation.looks_said(count)}[/]")


@app.command()
def doctor() -> None:
    """Look at what a run needs: packages, disk, memory, GPU, params, git, MLflow, DVC's remote.

    Each line says what is there and, if it is wrong, what to do. The exit code is then 1. Nothing is changed.
    """
    from baton.cli import doctor as own

    if not own.examine():
        raise typer.Exit(1)


@app.command()
def sync() -> None:
    """Deliver waiting journals to MLflow, put DVC's digests on runs, link skipped stages (idempotent)."""
    from baton import tracking

    done = tracking.sync()
    console.say(f"sync: delivered {done.entries:,} journal entries with {done.points:,} points")
    if done.cached:
        console.say(
            "sync: the last repro came entirely from DVC's run-cache; it is recorded and points to the "
            "runs that made its outputs"
        )
    console.say(
        f"sync: put DVC's digests on {done.digests} runs, linked {done.links} skipped stages, ended "
        f"{done.ended} dead runs"
    )
    for text in done.refused:
        console.warn("sync", f"MLflow rejects: {text}")
    for text in done.waiting:
        console.warn("sync", f"this journal is still waiting: {text}")
    if done.unknown:
        console.say(
            f"sync: no run in this store made the outputs of {', '.join(done.unknown)} (they came from "
            "a cache or an untracked run)"
        )


@app.command()
def gc(
    days: Annotated[
        float, typer.Option(help="Keep interrupted training runs, and delivered journals, this many days.")
    ] = 30.0,
    abandon: Annotated[
        str | None,
        typer.Option(
            help="Remove the journals that wait for this MLflow store; `null` is the project's own."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
) -> None:
    """Remove what killed processes left behind: half-written files, broken downloads, old checkpoints.

    What a running process uses stays, as do outputs, DVC's cache and MLflow's store.
    """
    from baton.cli import garbage

    garbage.collect(days, abandon, dry_run)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def machines(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND…", help="What machine 0 runs: .venv/bin/dvc repro")
    ],
) -> None:
    """Run a command on machine 0 of a job, and what its stages start by torchrun on the others.

    For schedulers that start the same command on every machine; examples/launchers has files for two.
    """
    from baton.cli import machines as own

    own.run(command)


@app.command()
def server(
    port: Annotated[int, typer.Option(help="The port to listen on, on this machine only.")] = 5000,
    stop: Annotated[bool, typer.Option("--stop", help="Stop this project's server.")] = False,
) -> None:
    """Run an MLflow server on PostgreSQL until Ctrl-C, with logins (docs/server.md)."""
    from baton.cli.server import command

    if stop:
        command.stop()
    else:
        command.run(port)


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
