"""Measure teacher, student, control and baselines on the test split.

Reads data/clean, data/predictions, data/arrays, data/base, models, curves and metrics; writes reports/:
metrics.json, tables/, plots/ and figures/ (identical bytes on a rerun), timings.json and speed/ (which vary).
Run by DVC as `sh stages/run evaluate`.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from baton import console, params, storage, tracking
from baton.batches import array_splits
from baton.contracts import predictions
from baton.evaluate import baselines, inputs, recommend, repeated, results, seeds, slices
from baton.evaluate.baselines import Outputs
from baton.evaluate.report import csv_tables, plots, terminal
from baton.measure import measurements
from baton.measure.measurements import MODELS, Subject
from baton.models import model_folder
from baton.runtime import resolve
from baton.tasks import metrics, temperature

CLEAN, PREDICTIONS, REPORTS = Path("data/clean"), Path("data/predictions"), Path("reports")
FIGURES = (  # shown in MLflow
    *metrics.FIGURES,
    *metrics.MORE_FIGURES,
    *(f"{figure}_scaled" for figure in results.SCALED),
    *results.CALIBRATION,
)
CURVES = [Path("curves/finetune.csv"), Path("curves/distill.csv")]
TRAINED = [Path("metrics/finetune.json"), Path("metrics/distill.json")]


def main() -> None:
    """Write the figures first, then the speeds, then the plot that needs both."""
    loaded = params.load("evaluate", "finetune", "runtime")
    work = model_folder.work(MODELS["teacher"], array_splits.read_meta(measurements.ARRAYS).input)
    settings, machine = loaded.evaluate, resolve.resolve(loaded.runtime, work=work)
    with tracking.stage("evaluate", machine.reasons) as run:
        run.dataset("test", CLEAN / "test.parquet", "evaluation")
        trained = seeds.read(TRAINED)
        subject = Subject(settings, loaded.finetune.of(trained["teacher"].chosen), machine)
        evaluation, figures = evaluated(subject, trained)
        for name, write in (
            ("tables", csv_tables.write_tables),
            ("plots", csv_tables.write_plots),
            ("figures", plots.draw),
        ):
            with storage.atomic_folder(REPORTS / name) as folder:
                write(folder, evaluation)
        storage.write_json(REPORTS / "metrics.json", figures)
        timings = measurements.speed(subject)
        storage.write_json(REPORTS / "timings.json", timings)
        with storage.atomic_folder(REPORTS / "speed") as folder:
            if timings["models"]:
                plots.speed_accuracy(
                    folder / "speed_accuracy.png",
                    {name: figures[name] | timings["models"][name] for name in MODELS},
                )
        track(run, figures, timings)
    # `make repro` shows the summary at the very end, even when this stage had nothing to do.
    if os.environ.get("BATON_SUMMARY") != "later":
        terminal.show(REPORTS)


def evaluated(subject: Subject, trained: dict[str, seeds.Seeds]) -> tuple[results.Evaluation, dict[str, Any]]:
    """Return everything that is shown, and the content of metrics.json."""
    settings, names = subject.settings, inputs.read_names(CLEAN)
    rows = {split: inputs.read_rows(CLEAN, split) for split in array_splits.SPLITS}
    curves = inputs.read_curves(CURVES, {name: own.chosen for name, own in trained.items()})
    outputs = answers(subject, rows, len(names))
    boot = results.bootstrap(rows["test"], outputs["test"], len(names), settings)
    more = results.calibrations(rows["test"], outputs["test"], settings)
    for name, folder in MODELS.items():
        more[name] |= inputs.model_size(folder)
    choice = recommended(subject, rows, outputs["val"])
    figures = results.build(boot, rows, outputs, more, settings.bootstrap.confidence, choice["model"])
    figures["recommended"] = results.rounded(choice)
    repeats = repeated.read(CLEAN)
    for name, own in repeated.figures(
        repeats, rows["test"], outputs["test"], settings.bootstrap.confidence
    ).items():
        figures[name] |= results.rounded(own)
    figures["test"]["near_duplicates"] = len(repeats)
    over_seeds = seeds.test_figures(trained, PREDICTIONS / "seeds", rows["test"], len(names))
    figures["seeds"] = results.rounded(seeds.figures(trained, over_seeds, settings.bootstrap.confidence))
    evaluation = results.Evaluation(
        names=names,
        test=rows["test"],
        outputs=outputs["test"],
        bootstrap=boot,
        curves=curves,
        best=figures["test"]["strongest_baseline"],
        bins=settings.calibration_bins,
        kept=slices.read(CLEAN),
        robustness=measurements.robust(subject),
        galleries=measurements.galleries(subject, rows["test"], outputs["test"]),
        sheet=measurements.sheet(subject),
    )
    if evaluation.robustness:
        figures["robustness"] = results.rounded(evaluation.robustness.figures())
    return evaluation, figures


def answers(subject: Subject, rows: dict[str, inputs.Rows], classes: int) -> dict[str, dict[str, Outputs]]:
    """Return split (val, test) -> model -> its answers.

    The transformers' answers are read from their predictions; the baselines are fitted on train here. Each
    model has one temperature, fitted on val; that of a transformer lies in its folder, and it is served with
    it.
    """
    outputs: dict[str, dict[str, Outputs]] = {"val": {}, "test": {}}
    for split, into in outputs.items():
        for name in MODELS:
            logits = inputs.read_logits(PREDICTIONS / name / f"{split}.parquet", rows[split], classes)
            log_p = metrics.log_probabilities(logits)
            into[name] = Outputs(log_p.argmax(axis=1), log_p, inputs.read_temperature(MODELS[name]))
    wanted = subject.settings.baselines
    for name, baseline in zip(baselines.names(wanted), wanted, strict=True):
        answer = measurements.answer(subject, baseline, rows)
        fitted = temperature.fit(answer["val"].log_p, rows["val"].labels)
        for split, own in answer.items():
            outputs[split][name] = replace(own, temperature=fitted)
    return outputs


def recommended(subject: Subject, rows: dict[str, inputs.Rows], val: dict[str, Outputs]) -> dict[str, Any]:
    """Return which model to use.

    It is chosen by the rows of train left out in cross-validation, if `finetune` ran one, else by validation.
    """
    path = PREDICTIONS / "teacher" / f"{predictions.LEFT_OUT}.parquet"
    if not path.is_file():
        return recommend.choose(
            {name: own.predicted == rows["val"].labels for name, own in val.items() if name != "control"},
            None,
        )
    wanted, few = subject.settings.baselines, subject.finetune.probe
    assert few is not None, "finetune writes left-out predictions only if its params set a probe"
    logits = inputs.read_logits(path, rows["train"], subject.meta.task.width)
    hits = {"teacher": logits.argmax(axis=1) == rows["train"].labels}
    for name, baseline in zip(baselines.names(wanted), wanted, strict=True):
        hits[name] = measurements.cross_validated(subject, baseline, rows, few.folds)
    return recommend.choose(hits, few.folds)


def track(run: tracking.Run, figures: dict[str, Any], timings: dict[str, Any]) -> None:
    """Log figures to the runs and to the logged models, and plots and tables as artifacts."""
    final: dict[str, float] = {
        f"{name}/{key}": value
        for name, own in timings["models"].items()
        for key, value in own.items()
        if isinstance(value, float | int)
    }
    for name in (*MODELS, *figures["test"]["baselines"]):
        own = {f"test/{key}": value for key, value in figures[name].items() if key in FIGURES}
        if name in MODELS:
            run.model_metrics(name, MODELS[name], own)
        else:
            final |= {f"{name}/{key.replace('/', '_')}": value for key, value in own.items()}
    for name, own in figures["seeds"].items():
        final |= {
            f"seeds/{name}/{key}": value
            for key, value in own.items()
            if key.endswith(("_mean", "_deviation"))
        }
    final |= {
        f"retention/{key}": value
        for key, value in figures["retention"].items()
        if isinstance(value, float | int)
    }
    for pair, own in figures["comparison"].items():
        final |= {
            f"comparison/{pair}/{key}": value
            for key, value in own.items()
            if key.endswith(("_difference", "holm_p"))
        }
    for kind, own in figures.get("robustness", {}).items():
        if isinstance(own, dict):
            final |= {f"robustness/{kind}/{name}": own[f"{name}_mean"] for name in MODELS}
    run.final(
        final
        | ({"speed_up": timings["ratios"]["student_vs_teacher"]["throughput"]} if "ratios" in timings else {})
    )
    for path in sorted(REPORTS.glob("*/*.png")):
        run.figure(path)
    for path in sorted(REPORTS.glob("tables/*.csv")):
        run.artifact(path, "tables")


if __name__ == "__main__":
    console.run_stage(main)
