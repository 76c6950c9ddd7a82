"""Commands about trained models: where they come from, the gate, use, retraining."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


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
