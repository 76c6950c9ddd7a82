"""The short card of a version: its origin, its figures, and how to use it."""

import re

from mlflow.entities import LoggedModel, Run

from baton import params
from baton.contracts.input_spec import InputSpec
from baton.contracts.task_spec import TaskSpec
from baton.evaluate.report.cards.markdown import code, escaped
from baton.tasks import task_figures
from baton.tracking import served_inputs

CALIBRATION = (
    "test_log_loss_scaled",
    "test_calibration_error_scaled",
    "test_coverage",
    "test_interval_width",
)
COSTS = ("parameters", "bytes", "samples_per_second", "latency_p50_ms")

LARGE = 1000  # figures from here on are shown without decimals


def describe(
    model: LoggedModel, run: Run, settings: params.Promotion, task: TaskSpec, reads: InputSpec
) -> str:
    """Return the card as Markdown; its figures are those that `evaluate` put on the logged model."""
    *tested, validated = headline(task)
    known = {metric.key.removeprefix(f"{settings.model}/"): metric.value for metric in model.metrics or ()}
    rows = [
        f"| {key} | {known[key]:{',.0f' if known[key] >= LARGE else '.4g'}} |"
        for key in (*tested, *CALIBRATION, validated, *COSTS)
        if key in known
    ]
    origin = [
        (
            f"- {settings.model} of {code(run.data.params.get('tracking.experiment', ''))}: "
            f"{escaped(run.data.params.get('description', ''))}"
        ),
        f"- licence of the data: {escaped(run.data.params.get('source.licence', 'not named'))}",
        *(
            f"- licence of the data of the task {key.split('.')[1]}: {escaped(licence)}"
            for key, licence in sorted(run.data.params.items())
            if re.fullmatch(r"tasks\.\w+\.source\.licence", key)
        ),
        f"- licence of the base model: {escaped(run.data.params.get('base.licence', 'not named'))}",
        *(
            [f"- licence of the student's own base model: {escaped(own)}"]
            if settings.model == "student" and (own := run.data.params.get("student_base.licence"))
            else []
        ),
        *_made(known, model, run, settings),
    ]
    return "\n".join([*origin, "", "| figure | |", "|---|---|", *rows, "", *_use(settings, task, reads)])


def origin(model: LoggedModel, run: Run, settings: params.Promotion, task: TaskSpec, reads: InputSpec) -> str:
    """Return what the card that `evaluate` wrote cannot know, as its last section: seed, commit, use."""
    known = {metric.key.removeprefix(f"{settings.model}/"): metric.value for metric in model.metrics or ()}
    lines = [*_made(known, model, run, settings), f"- MLflow run `{run.info.run_id}`"]
    return "\n".join(["## This version", "", *lines, "", *_use(settings, task, reads), ""])


def _made(known: dict[str, float], model: LoggedModel, run: Run, settings: params.Promotion) -> list[str]:
    tags = run.data.tags
    dirty = " with uncommitted changes" if tags.get("git.dirty") == "true" else ""
    return [
        *_seed(known, settings.model, run),
        f"- commit `{tags.get('git.commit', 'unknown')[:12]}`{dirty}",
        f"- model folder sha256 `{model.tags['sha256']}`",
    ]


def _use(settings: params.Promotion, task: TaskSpec, reads: InputSpec) -> list[str]:
    how = served_inputs.of(reads, task)
    load = f'mlflow.pyfunc.load_model("models:/{settings.name}@champion")'
    return ["```python", *how.imports, f"{load}.predict({how.example})", "```"]


def headline(task: TaskSpec) -> tuple[str, ...]:
    """Return the figures that say most about a model, those on test first and the one on validation last."""
    figures = task_figures.of(task)
    return (*(f"test_{figure}" for figure in figures.gated), f"val_{figures.main}")


def _seed(known: dict[str, float], model: str, run: Run) -> list[str]:
    """Return the line that names the model's seed, if the model's run records it."""
    if "seed" not in known:
        return []
    stage = "finetune" if model == "teacher" else "distill"
    count = sum(key.startswith(f"{stage}.seeds") for key in run.data.params)
    return [
        f"- seed {known['seed']:.0f}" + (f", the best on validation of {count} seeds" if count > 1 else "")
    ]
