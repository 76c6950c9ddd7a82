"""Commands about the project and its last run: the pipeline, checks, figures, MLflow, leftovers."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baton import console, storage
from baton.errors import BatonError

if TYPE_CHECKING:
    from baton.tracking.run import SyncReport

REPORTS = Path("reports")

app = typer.Typer()


@app.command()
def repro(
    targets: Annotated[list[str] | None, typer.Argument(help="Stages; by default all.")] = None,
) -> None:
    """Run the stages that are out of date (`dvc repro`); of a whole run, show the results."""
    from baton.workspace import commands

    inbox()
    # What stages show at their end is shown after the last; what waits for MLflow is delivered then.
    own = {"BATON_SUMMARY": "later", "BATON_DELIVERY": "later"}
    try:
        commands.dvc("repro", *(targets or []), own=own)
    except BatonError:
        with contextlib.suppress(BatonError):  # the first error is the one to show; nothing is lost
            _deliver()
        raise
    _deliver()
    if not targets:
        summary(test=False)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="The port to listen on, on this machine only.")] = 5000,
) -> None:
    """Open MLflow on this project's runs, until Ctrl-C: compare them in the browser."""
    from baton.cli import browsing

    _deliver()
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
    done = _deliver()
    console.say(f"sync: delivered {done.entries:,} journal entries with {done.points:,} points")
    console.say(
        f"sync: put DVC's digests on {done.digests} runs, linked {done.links} skipped stages, ended "
        f"{done.ended} dead runs"
    )


def _deliver() -> "SyncReport":
    """Bring MLflow's store in line with this project; say only what is out of the ordinary."""
    from baton import tracking

    done = tracking.sync()
    if done.cached:
        console.say(
            "sync: the last repro came entirely from DVC's run-cache; it is recorded and points to the "
            "runs that made its outputs"
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
    return done


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
