"""`baton …`: the commands that are not stages; `baton --help` lists them.

The commands work anywhere inside the project. Errors are printed without a traceback and exit with code 1.
Imports stay light: `--help` is immediate.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from baton import console
from baton.cli import model_app, project_app, project_code, recipe_app, study_app
from baton.errors import ParamsError

OUTSIDE = ("new",)  # commands that need no project


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn a BatonError into a message and exit code 1."""
        console.run(lambda: super(_Group, self).invoke(ctx))


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    help="Commands that are not stages; `dvc repro` runs the stages.",
)


def _version(asked: bool) -> None:
    """Print Baton's version and end."""
    if asked:
        console.say(f"baton {project_code.version()}")
        raise typer.Exit


@app.callback()
def _enter_project(
    context: typer.Context,
    _asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Change to the project's root, so that every command also works in its subfolders.

    `context.obj` is the folder it was called in.
    """
    context.obj = here = Path.cwd()
    if context.invoked_subcommand in OUTSIDE:
        return
    root = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), None)
    if root is None:
        expected = "a folder with dvc.yaml, or one inside it"
        raise ParamsError(
            "this is not inside a Baton project", got=here, expected=expected, hint="cd to the project"
        )
    os.chdir(root)
    if project_code.is_own():
        project_code.prepare()


# In `baton --help` each part has a frame of its own.
for title, part in (
    ("The project and its last run", recipe_app),
    ("The project and its last run", project_app),
    ("Models", model_app),
    ("Studies", study_app),
):
    for command in part.app.registered_commands:
        command.rich_help_panel = title
    app.add_typer(part.app)
