"""`baton …`: what is not a stage.

    baton recipes     the complete params files that are shipped
    baton use NAME    make one of them the active params.yaml
    baton inbox       whether DVC can read all that lies in inbox/
    baton summary     the results of the last run
    baton sync        hand over to MLflow what waits in journals, and what DVC knows only after a stage ended
    baton trace X     where X came from and what came of it: a run, model, version, file or commit
    baton register    make the trained model the challenger
    baton promote     let the gate judge the challenger against the champion
    baton retrain     all of it, as a CI job does: pull, train, register, judge, report, push

Works anywhere inside the project. Errors are printed without a traceback and exit 1. Imports stay light: `--help` is immediate.
"""

import difflib
import os
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from baton import console, params, storage
from baton.errors import OutputError, ParamsError

RECIPES, REPORTS = Path("recipes"), Path("reports")


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run the command; a BatonError becomes a message and exit code 1."""
        console.run(lambda: super(_Group, self).invoke(ctx))


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    help="What is not a stage; the stages are run by `dvc repro`.",
)


@app.callback()
def _enter_project(context: typer.Context) -> None:
    """Move to the project's root, so that every command works in its subfolders too; `context.obj` is the folder it was called in."""
    context.obj = here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), None)
    if root is None:
        expected = "a folder with dvc.yaml, or one below it"
        raise ParamsError(
            "this is not inside a Baton project", got=here, expected=expected, hint="cd to the project"
        )
    os.chdir(root)


@app.command()
def recipes() -> None:
    """List the recipes, each with a line; the active one is marked."""
    active = params.read_raw() if params.PATH.is_file() else {}
    for path in _recipe_files():
        mark = "  [green](params.yaml as it is)[/]" if params.read_raw(path) == active else ""
        console.say(f"[bold]{escape(path.stem)}[/]{mark}\n    {escape(params.read(path).description)}")
    console.say("\n`baton use NAME` makes one the active params.yaml.")


@app.command()
def use(
    name: Annotated[str, typer.Argument(help="A recipe's name, as `baton recipes` lists it.")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite params.yaml even if it holds edits that are not committed."),
    ] = False,
) -> None:
    """Make a recipe the active params.yaml."""
    source = _recipe(name)
    description = params.read(source).description
    if not force and _edited():
        hint = "commit it (`git commit params.yaml`), keep it (`cp params.yaml recipes/my.yaml`), or give --force to lose the edits"
        raise OutputError(
            f"{params.PATH} was not overwritten",
            got="edits that are not committed",
            expected="a committed file",
            hint=hint,
        )
    with storage.atomic_file(params.PATH) as temporary:
        temporary.write_bytes(source.read_bytes())
    console.say(f"params.yaml is now {name}: {escape(description)}\nnext: `make repro` (or `dvc repro`)")


@app.command()
def inbox() -> None:
    """See whether DVC can read all that lies in inbox/; `make repro` and `baton retrain` ask this first. Prints nothing if it can."""
    from baton.sources import inbox as own

    own.check()


@app.command()
def summary() -> None:
    """Show the results of the last run (reports/metrics.json, reports/timings.json)."""
    from baton.evaluate.report import terminal as shown

    shown.show(REPORTS)


@app.command()
def sync() -> None:
    """Deliver to MLflow what stages left in their journals, put DVC's digests on runs, link what DVC skipped (idempotent)."""
    from baton import tracking

    done = tracking.sync()
    console.say(f"sync: {done.entries:,} entries of journals were delivered, with {done.points:,} points")
    if done.cached:
        console.say(
            "sync: the last repro came whole from DVC's run-cache; it is recorded, and points to the runs that made its outputs"
        )
    console.say(
        f"sync: {done.digests} runs got DVC's digests, {done.links} skipped stages were linked, {done.ended} dead runs were ended"
    )
    for text in done.refused:
        console.warn("sync", f"MLflow does not take: {text}")
    for text in done.waiting:
        console.warn("sync", f"this journal still waits: {text}")
    if done.unknown:
        console.say(
            f"sync: no run of this store made the outputs of {', '.join(done.unknown)} (they came from a cache or an untracked run)"
        )


@app.command()
def trace(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            help="A run id, models:/NAME/3, models:/NAME@champion, a file or folder of ours, or a commit."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of trees.")] = False,
) -> None:
    """Show where something came from and what came of it, and where the chain is broken."""
    from baton.cli import lifecycle_commands

    lifecycle_commands.show_trace(target, as_json, context.obj)


@app.command()
def register() -> None:
    """Register the trained model (`promotion.model`) and make it the challenger; the same model is registered once."""
    from baton.cli import lifecycle_commands

    lifecycle_commands.register()


class Mode(StrEnum):
    """What a passed gate leads to."""

    DRY_RUN = "dry-run"
    ENABLED = "enabled"


@app.command()
def promote(
    context: typer.Context,
    mode: Annotated[
        Mode, typer.Option(help="enabled: a challenger that passes becomes the champion.")
    ] = Mode.DRY_RUN,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Make this version the champion without asking the gate (roll back)."),
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the verdict to this file.")] = None,
) -> None:
    """Score challenger and champion anew on the frozen test table and decide; exit code 3 if the challenger is refused."""
    from baton.cli import lifecycle_commands

    if not lifecycle_commands.promote(mode is Mode.ENABLED, to, json_path and context.obj / json_path):
        raise typer.Exit(3)


@app.command()
def drift(
    context: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(
            help="A table of texts (read as preprocess.format says, or Parquet), or a folder of pictures."
        ),
    ],
    predict: Annotated[
        bool,
        typer.Option("--predict", help="Compare the labels that the champion predicts, too (of 1000 rows)."),
    ] = False,
) -> None:
    """Compare new rows without labels with what the champion was trained on: lengths and words, or brightness.

    The limits are those of retrain.drift, above what chance makes of so many rows. Exit code 3 if the rows are beyond one of them: label
    some of them and retrain. Of rows with labels, in data/clean, `baton retrain` judges labels too.
    """
    from baton.cli import lifecycle_commands

    if not lifecycle_commands.judge_drift(context.obj / path, predict):
        raise typer.Exit(3)


@app.command()
def retrain(
    mode: Annotated[
        Mode, typer.Option(help="enabled: a challenger that passes becomes the champion.")
    ] = Mode.DRY_RUN,
    override: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="finetune.epochs=3; may be given several times."),
    ] = None,
    push: Annotated[bool, typer.Option(help="Commit dvc.lock and figures, and push.")] = True,
    base: Annotated[
        str | None, typer.Option(help="The commit that the report compares with; by default the remote's.")
    ] = None,
) -> None:
    """Pull, decide, train, register, judge, report (retrain.md), push: what a CI job runs. Exit code 3 if the challenger is refused."""
    from baton.cli import lifecycle_commands

    if not lifecycle_commands.run_retraining(mode is Mode.ENABLED, override or [], push, base):
        raise typer.Exit(3)


def _recipe_files() -> list[Path]:
    return sorted(RECIPES.glob("*.yaml"))


def _recipe(name: str) -> Path:
    known = {path.stem: path for path in _recipe_files()}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `baton use {close[0]}`?" if close else "`baton recipes` lists them"
        raise ParamsError(
            f"there is no recipe {name}", got=name, expected=f"one of {', '.join(known)}", hint=hint
        )
    return known[name]


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _edited() -> bool:
    """Whether params.yaml holds something that neither git nor a recipe holds."""
    content = _bytes(params.PATH)
    if not content or content in {_bytes(path) for path in _recipe_files()}:
        return False
    try:
        committed = subprocess.run(["git", "show", f"HEAD:./{params.PATH}"], capture_output=True, check=False)
    except OSError:  # no git here: nothing is committed
        return True
    return committed.returncode != 0 or committed.stdout != content
