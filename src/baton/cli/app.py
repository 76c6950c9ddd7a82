"""`baton …`: the commands that are not stages.

    baton recipes     list the complete params files that ship with Baton
    baton use NAME    make one of them the active params.yaml
    baton estimate    say what the stages will take, before they run, and beside it what they took
    baton inbox       check that DVC can read every file in inbox/
    baton summary     show the results of the last run, on validation or on test
    baton gc          remove what killed processes left behind
    baton sync        deliver waiting journals to MLflow, and what DVC knows only after a stage has ended
    baton trace X     show the origin of X and what was made from it: a run, model, version, file or commit
    baton export      make a model that needs no torch, in int8 where that pays
    baton register    make the trained model the challenger
    baton promote     let the gate judge the challenger against the champion
    baton verify M    compare the files of a registered model with the digest from its registration
    baton serve M     verify a registered model and serve it over HTTP
    baton predict IN  answer every row of a table, or every file of a folder, in a file
    baton server      run MLflow on PostgreSQL, for this machine, with logins
    baton machines C  run C on machine 0 of a job, and what its stages need on the others
    baton drift X     compare new rows without labels with the champion's training data
    baton compare     compare ways to transfer, over numbers of labels and seeds
    baton compare A B   compare two revisions, row by row, from the predictions that they kept
    baton tune        search for better values of params.yaml, on validation, by any number of workers
    baton label-errors  list the labels that are probably wrong, to correct them
    baton learning-curve  say how much more labels would help
    baton suggest     write the rows without labels that are most worth labelling
    baton retrain     do all of it, as a CI job: pull, train, register, judge, report, push

The commands work anywhere inside the project. Errors are printed without a traceback and exit with code 1.
Imports stay light: `--help` is immediate.
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
USED = "params.yaml"  # in the project's state: what `baton use` last wrote


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn a BatonError into a message and exit code 1."""
        console.run(lambda: super(_Group, self).invoke(ctx))


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    help="Commands that are not stages; `dvc repro` runs the stages.",
)


@app.callback()
def _enter_project(context: typer.Context) -> None:
    """Change to the project's root, so that every command also works in its subfolders.

    `context.obj` is the folder it was called in.
    """
    context.obj = here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), None)
    if root is None:
        expected = "a folder with dvc.yaml, or one inside it"
        raise ParamsError(
            "this is not inside a Baton project", got=here, expected=expected, hint="cd to the project"
        )
    os.chdir(root)


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
    name: Annotated[str, typer.Argument(help="A recipe's name, as listed by `baton recipes`.")],
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
    console.say(f"params.yaml is now {name}: {escape(description)}\nnext: `make repro` (or `dvc repro`)")


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
def inbox() -> None:
    """Check that DVC can read every file in inbox/; print nothing if it can.

    `make repro` and `baton retrain` run this first.
    """
    from baton.sources import inbox as own

    own.check()


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
def trace(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            help="A run id, models:/NAME/3, models:/NAME@champion, a project file or folder, or a commit."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of trees.")] = False,
) -> None:
    """Show the origin of something and what was made from it, and where the chain is broken."""
    from baton.cli import lifecycle_commands

    lifecycle_commands.show_trace(target, as_json, context.obj)


class Exported(StrEnum):
    """Which model is exported."""

    STUDENT = "student"
    TEACHER = "teacher"


@app.command()
def export(
    model: Annotated[
        Exported | None, typer.Option(help="Which model; written to export.model in params.yaml.")
    ] = None,
) -> None:
    """Export the trained model to a graph that needs no torch: ONNX or OpenVINO, in int8 where that pays.

    Engines and precisions are compared on validation, and the fastest that keeps the model's answers is
    measured on test. The first time this writes a section `export` into params.yaml; from then on `dvc repro`
    exports after each training.
    """
    from baton.cli import export_commands

    export_commands.export(None if model is None else model.value)


@app.command()
def register() -> None:
    """Register the trained model (`promotion.model`) as challenger; a model is registered only once."""
    from baton.cli import lifecycle_commands

    lifecycle_commands.register()


class Mode(StrEnum):
    """What happens when the gate passes a challenger."""

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
    """Score challenger and champion on the frozen test table and decide; exit with 3 if it is refused."""
    from baton.cli import lifecycle_commands

    if not lifecycle_commands.promote(mode is Mode.ENABLED, to, json_path and context.obj / json_path):
        raise typer.Exit(3)


@app.command()
def drift(
    context: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(
            help="A table of texts (read as preprocess.format says, or Parquet), a folder of images or "
            "clips, or images with texts (Parquet, or a table or folder like the source)."
        ),
    ],
    predict: Annotated[
        bool,
        typer.Option("--predict", help="Also compare the labels that the champion predicts (for 1000 rows)."),
    ] = False,
) -> None:
    """Compare new rows without labels with the champion's training data: lengths and words, or brightness.

    The limits are those of retrain.drift, on top of what chance accounts for in that many rows. The exit code
    is 3 if the rows exceed one of them: label some of them and retrain. For labelled rows, in data/clean,
    `baton retrain` also judges the labels.
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
        typer.Option("--set-param", "-S", help="finetune.epochs=3; may be repeated."),
    ] = None,
    push: Annotated[
        bool, typer.Option(help="Push data and run-cache, commit dvc.lock and figures, and push them.")
    ] = True,
    base: Annotated[
        str | None,
        typer.Option(
            help="The commit to compare with in the report, and whose `promotion` judges; the remote's."
        ),
    ] = None,
    branch: Annotated[
        str | None, typer.Option(help="The branch to push to; needed if HEAD is detached.")
    ] = None,
    pull_request: Annotated[
        bool,
        typer.Option(
            "--pull-request",
            help="Push to a branch of its own, for a protected branch; the champion changes after the merge.",
        ),
    ] = False,
) -> None:
    """Pull, decide, train, register, judge, report (retrain.md), push: the CI job.

    The exit code is 3 if the challenger is refused.
    """
    from baton.cli import lifecycle_commands

    if not lifecycle_commands.run_retraining(
        mode is Mode.ENABLED, override or [], push, base, branch, pull_request
    ):
        raise typer.Exit(3)


@app.command()
def verify(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="models:/NAME/VERSION, models:/NAME@ALIAS or models:/MODEL_ID.")
    ],
    record: Annotated[
        bool,
        typer.Option("--record", help="Record the digest of its files as they are, if none is recorded."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="A folder to create with the verified files, to load them from.")
    ] = None,
) -> None:
    """Compare the files of a model, code and MLmodel too, with the digest from its registration."""
    from baton.cli import lifecycle_commands

    lifecycle_commands.verify(model, record, out and context.obj / out)


@app.command()
def serve(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="models:/NAME/VERSION, models:/NAME@ALIAS or models:/MODEL_ID.")
    ],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 5000,
    abstain_below: Annotated[
        float | None,
        typer.Option(
            help="Mark answers whose probability is below this: `abstains` is then true.", min=0, max=1
        ),
    ] = None,
    dockerfile: Annotated[
        Path | None,
        typer.Option(help="Write a Dockerfile and all that it needs to this new folder, and do not serve."),
    ] = None,
) -> None:
    """Serve a model over HTTP, in MLflow's protocol, after verifying its files; see docs/serving.md."""
    from baton.cli import lifecycle_commands

    out = dockerfile and context.obj / dockerfile
    lifecycle_commands.serve(model, host, port, abstain_below, out)


@app.command()
def predict(
    context: typer.Context,
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] INPUT",
            help="MODEL: models:/NAME@ALIAS, models:/NAME/VERSION, or the folder of a logged model; by "
            "default the one in models/. INPUT: CSV, TSV, JSON Lines or Parquet, or a folder of images.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The file of answers: .csv, .jsonl or .parquet.")],
    text: Annotated[str | None, typer.Option(help="The column of texts; by default text.")] = None,
    text_pair: Annotated[
        str | None, typer.Option(help="The column of second texts; by default text_pair.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="The column of images, as bytes or paths; by default image.")
    ] = None,
    audio: Annotated[
        str | None, typer.Option(help="The column of clips, as bytes or paths; by default audio.")
    ] = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="A column to repeat in the output; by default id, if any.")
    ] = None,
    shard: Annotated[
        str, typer.Option(help="i/n: this job's share among n, for arrays of jobs; i counts from 1.")
    ] = "1/1",
    precision: Annotated[
        str, typer.Option(help="auto, bf16 or fp32; auto is bf16 where the processor computes it.")
    ] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Rows computed together; by default the model's.")
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Rows a part; by default 4096 texts, or 256 files.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="By default as many as processors may be used.")
    ] = None,
) -> None:
    """Write the answers of a model to any number of rows; see docs/predict.md.

    There is one row out for each row in, in order; bad rows have their reason in the column `error`. Killed,
    the same command goes on after the last finished part.
    """
    from baton.cli import predict_command

    columns = {"text": text, "text_pair": text_pair, "image": image, "audio": audio}
    named = {name: column for name, column in columns.items() if column is not None}
    own = {"id": id_, "shard": shard, "precision": precision, "batch_size": batch_size, "chunk": chunk}
    predict_command.predict(
        context.obj, arguments, {"out": str(context.obj / out), "columns": named} | own, threads
    )


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
    and run `make repro`. Called again, the command keeps what you filled in. It needs the output of
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
    """Return whether params.yaml holds something that is neither in git, nor in a recipe or made of one."""
    content = _bytes(params.PATH)
    if not content or content in {_bytes(path) for path in (*_recipe_files(), storage.state(USED))}:
        return False
    try:
        committed = subprocess.run(["git", "show", f"HEAD:./{params.PATH}"], capture_output=True, check=False)
    except OSError:  # git is missing: nothing is committed
        return True
    return committed.returncode != 0 or committed.stdout != content
