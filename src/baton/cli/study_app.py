"""Commands that compare, search and ask what more data would bring."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from baton.errors import ParamsError

app = typer.Typer()


class Split(StrEnum):
    """The rows on which revisions are compared."""

    TEST = "test"
    VAL = "val"


class Model(StrEnum):
    """The models that every revision has predictions of."""

    TEACHER = "teacher"
    STUDENT = "student"
    CONTROL = "control"


@app.command()
def compare(
    context: typer.Context,
    revisions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REV [REV]]",
            help="Compare two commits, branches, tags or DVC experiments, or one with the working tree; "
            "without any, compare strategies.",
        ),
    ] = None,
    model: Annotated[
        Model | None, typer.Option(help="Of revisions: which model; by default promotion.model.")
    ] = None,
    split: Annotated[Split | None, typer.Option(help="Of revisions: on which rows; by default val.")] = None,
    strategies: Annotated[
        str | None, typer.Option(help="Names in the file of strategies, such as full,lora; by default all.")
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Labels per class (or what `labels` in the file of strategies names).")
    ] = "8,32,128,all",
    seeds: Annotated[str, typer.Option(help="Each draws the labels and trains.")] = "0,1,2,3,4",
    file: Annotated[Path | None, typer.Option(help="Strategies; by default strategies.yaml.")] = None,
    baseline: Annotated[
        bool, typer.Option(help="Fit the baselines of evaluate.baselines on the same rows.")
    ] = True,
    output: Annotated[
        Path | None, typer.Option(help="Where table and figure go; by default reports/compare.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what is done and what would run.")] = False,
    track: Annotated[bool, typer.Option(help="Record each training run in MLflow, with its model.")] = False,
    models: Annotated[bool, typer.Option(help="Keep all trained weights in DVC's cache.")] = True,
) -> None:
    """Compare strategies: one DVC experiment for each, with each number of labels and each seed.

    Experiments that are there are not run again; stopped, the same command goes on. Your files stay as they
    are.

    With one or two revisions: which rows changed, whether the difference is significant, and in which slices.
    That trains nothing: it reads the predictions that the revisions kept.
    """
    from baton.cli import compare_commands

    _one_comparison(context, bool(revisions))
    if revisions:
        compare_commands.compare_revisions(context.obj, revisions, model, split, output)
        return
    compare_commands.compare(
        context.obj, strategies, labels, seeds, file, baseline, output, dry_run, track, models
    )


OF_REVISIONS, OF_BOTH = {"model", "split"}, {"revisions", "output"}


def _one_comparison(context: typer.Context, revisions: bool) -> None:
    """Refuse options of the other comparison."""
    given = {name for name in context.params if not _default(context, name)} - OF_BOTH
    wrong = sorted(given - OF_REVISIONS if revisions else given & OF_REVISIONS)
    if wrong:
        what = "a comparison of strategies, not of revisions" if revisions else "a comparison of revisions"
        option = f"--{wrong[0].replace('_', '-')}"
        hint = "leave it out" if revisions else "name a revision: `baton compare HEAD~1 HEAD`"
        raise ParamsError(f"{option} is for {what}", got=option, expected="none of these", hint=hint)


def _default(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is None or source.name in {"DEFAULT", "DEFAULT_MAP"}


@app.command()
def tune(
    storage: Annotated[
        str | None,
        typer.Option(help="A file, or postgresql://HOST/DATABASE for workers of several machines."),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show how far the study is.")] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the values of the best trial into params.yaml.")
    ] = False,
) -> None:
    """Search for better values of the keys that `tune.ranges` in params.yaml names (docs/tune.md).

    Each trial is a DVC experiment, judged on validation. Stopped or killed, the same command goes on; started
    several times, the processes share the work.
    """
    from baton.cli import tune_commands

    tune_commands.tune(storage, status, apply)


@app.command(name="label-errors")
def label_errors(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="The list, a CSV file; by default inbox/corrections.csv.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="List so many rows; by default those that are probably wrong."),
    ] = None,
) -> None:
    """List the labels of train and val that are probably wrong (confident learning), to correct them.

    Write the right class into the column `label` of the list, name the list in `corrections` of params.yaml,
    and run `baton repro`. Called again, the command keeps what you filled in. It needs the output of
    `tokenize`, and features of the base model, which it computes once and keeps.
    """
    from baton.labelling import label_errors as job

    job.find(job.PATH if out is None else _in_project(context.obj / out), top)


def _in_project(path: Path) -> Path:
    """Return a path relative to the project's root, if it lies inside."""
    root, whole = Path.cwd(), Path(os.path.normpath(path))
    return whole.relative_to(root) if whole.is_relative_to(root) else whole


@app.command("learning-curve")
def learning_curve(
    context: typer.Context,
    more: Annotated[
        str | None,
        typer.Option(
            help="Labels in addition, such as 100,400,1000; by default a tenth, half and all of them."
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=2, help="Of folds and labels, for probes.")] = 3,
    finetune: Annotated[
        bool,
        typer.Option(
            "--finetune", help="Also fine-tune as params say, on 1/16 to all of the labels (DVC experiments)."
        ),
    ] = False,
    seeds: Annotated[str, typer.Option(help="Of --finetune: each draws the labels and trains.")] = "0,1,2",
    output: Annotated[
        Path | None, typer.Option(help="Where table and figure go; by default reports/learning_curve.")
    ] = None,
) -> None:
    """Say how much more labels would help: a learning curve, its power law, and whether that holds.

    The curve is that of probes on frozen features, measured by cross-validation on train.
    """
    from baton.cli import growth_commands

    target = context.obj / output if output is not None else growth_commands.CURVE
    growth_commands.learning_curve(more, draws, finetune, seeds, target)


@app.command()
def suggest(
    context: typer.Context,
    count: Annotated[int, typer.Option("--n", min=1, help="How many rows to label.")] = 100,
    out: Annotated[Path | None, typer.Option(help="A CSV file; by default inbox/to_label.csv.")] = None,
) -> None:
    """Write the rows without labels that are most worth labelling: uncertain, and unlike each other."""
    from baton.cli import growth_commands

    growth_commands.suggest(count, context.obj / out if out is not None else growth_commands.SHEET)
