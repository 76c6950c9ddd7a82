"""`baton export`: ask for an export in params.yaml, run its stage, show what it chose."""

from pathlib import Path
from typing import Literal

from baton import console, params, storage
from baton.errors import ParamsError
from baton.params import editing

METRICS, TIMINGS = Path("metrics/export.json"), Path("reports/export/timings.json")
DEFAULT = """export: # a model without torch: docs/export.md
  model: {model} # or {other}
  engines: [onnxruntime, openvino] # all combinations of both are tried
  precisions: [fp32, bf16, int8] # the fastest that keeps the model's answers is taken
  same: 0.99 # the least share of the model's own answers, on validation and on test
  loss: 0.005 # of the main figure, at most
  rows: 256 # of validation, by which they are compared
  calibration_rows: 320 # of train, by which the ranges of int8 are set
  batch_size: 32
  seconds: 60 # of each measurement of speed, at most
  bootstrap: {{resamples: 2000, confidence: 0.95, seed: 0}}
"""


def export(model: Literal["student", "teacher"] | None) -> None:
    """Run `baton export`."""
    from baton.export import extra

    active = params.read().export
    extra.require(("onnxruntime", "openvino") if active is None else active.engines)
    text = params.PATH.read_text(encoding="utf-8")
    if active is None:
        wanted = model or "student"
        _write(_with_section(text, wanted))
        console.say(f"params.yaml now has a section export, for the {wanted}")
    elif model is not None and model != active.model:
        _write(editing.edited(text, {"export.model": model}))
        console.say(f"params.yaml: export.model is now {model}")
    from baton.workspace import commands

    commands.dvc("repro", "export", own={"BATON_SUMMARY": "later"})  # what stages show at their end
    summary(test=False)
    console.say(
        "next: set promotion.model to export and run `baton register`, `baton promote` and `baton serve`; "
        'or load it: mlflow.pyfunc.load_model("models:/ID"), with the ID on the run\'s page (`baton ui`)'
    )


def _with_section(text: str, model: str) -> str:
    """Return the text of params.yaml with an `export` section in place of `export: null`."""
    other = "teacher" if model == "student" else "student"
    lines = text.splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.startswith("export:")]
    section = DEFAULT.format(model=model, other=other)
    if not places:
        raise ParamsError(
            f"{params.PATH} has no line that begins with `export:`",
            got="`export` written in another way",
            expected="`export: null` on a line of its own",
            hint=f"put this in its place:\n{section}",
        )
    lines[places[0]] = section
    return "".join(lines)


def _write(text: str) -> None:
    params.checked(params.parse(text, str(params.PATH)), params.PATH)
    with storage.atomic_file(params.PATH) as temporary:
        temporary.write_text(text, encoding="utf-8")


def summary(test: bool) -> None:
    """Print what was chosen, if there is an export; `test`: with its figures on test."""
    figures = storage.read_json(METRICS) if METRICS.is_file() else {}
    if not figures or not TIMINGS.is_file():
        return
    from baton.contracts import task_spec
    from baton.export import shown
    from baton.tasks import figure_scale, task_figures

    task = task_figures.of(task_spec.read_file(Path("data/clean")))
    shown.show(figures, storage.read_json(TIMINGS), figure_scale.of(task), test)
