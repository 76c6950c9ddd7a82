"""Measure teacher, student, control and baselines on the test split.

Reads data/clean, data/predictions, data/arrays, data/base, models, curves and metrics, and manifest.json of
data/raw; writes reports/: metrics.json, tables/, plots/, figures/ and cards/ (identical bytes on a rerun),
timings.json, speed/ and report.html (which vary).
Run by DVC as `sh stages/run evaluate`.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from baton import console, params, storage, tracking
from baton.batches import array_splits
from baton.contracts import knowledge as contract
from baton.contracts import predictions
from baton.contracts.input_spec import ImageTextInput, TextInput, Windows
from baton.evaluate import (
    baselines,
    inputs,
    knowledge,
    novel,
    other_tasks,
    recommend,
    repeated,
    results,
    row_groups,
    seeds,
    single_inputs,
    slices,
)
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.report import csv_tables, plots, terminal_validation
from baton.evaluate.report.cards import writing as cards
from baton.evaluate.report.cards.facts import Project
from baton.evaluate.report.html import page
from baton.evaluate.report.html.about import About
from baton.evaluate.report.html.csv_reading import Reports
from baton.measure import image_measurements, measurements, text_measurements
from baton.measure.measurements import MODELS, Subject
from baton.models import model_folder
from baton.runtime import resolve
from baton.tasks import figure_scale
from baton.tracking import provenance

CLEAN, PREDICTIONS, REPORTS = Path("data/clean"), Path("data/predictions"), Path("reports")
RAW, LOCK = Path("data/raw"), Path("requirements.lock")
CURVES = [Path("curves/finetune.csv"), Path("curves/distill.csv")]
TRAINED = [Path("metrics/finetune.json"), Path("metrics/distill.json")]


def main() -> None:
    """Write the figures first, then the speeds, then the plot that needs both."""
    since = time.perf_counter()
    loaded = params.load("description", "distill", "evaluate", "finetune", "runtime")
    work = model_folder.work(MODELS["teacher"], array_splits.read_meta(measurements.ARRAYS).input)
    settings, machine = loaded.evaluate, resolve.resolve(loaded.runtime, work=work)
    with tracking.stage("evaluate", machine.reasons) as run:
        run.dataset("test", CLEAN / "test.parquet", "evaluation")
        trained = seeds.read(TRAINED)
        subject = Subject(settings, loaded.finetune.of(trained["teacher"].chosen), machine)
        evaluation, figures = evaluated(subject, trained)
        if few := novel.figures(TRAINED[0], loaded.finetune.episodes):
            figures["episodes"] = results.rounded(few)
        for name, write in (
            ("tables", csv_tables.write_tables),
            ("plots", csv_tables.write_plots),
            ("figures", plots.draw),
        ):
            with storage.atomic_folder(REPORTS / name) as folder:
                write(folder, subject.task, evaluation)
        storage.write_json(REPORTS / "metrics.json", figures)
        cards.write(project(loaded))
        timings = measurements.speed(subject)
        storage.write_json(REPORTS / "timings.json", timings)
        with storage.atomic_folder(REPORTS / "speed") as folder:
            if timings["models"]:
                plots.speed_accuracy(
                    folder / "speed_accuracy.png",
                    {name: figures[name] | timings["models"][name] for name in MODELS},
                    figure_scale.of(subject.task.figures),
                )
        facts = provenance.facts(machine.reasons, time.perf_counter() - since)
        page.write(Reports(REPORTS, CLEAN, measurements.ARRAYS), About(**facts))
        track(run, subject.task.tracked, figures, timings)
    # `baton repro` shows the summary at the very end, even when this stage had nothing to do.
    if os.environ.get("BATON_SUMMARY") != "later":
        terminal_validation.show(REPORTS)


def project(loaded: params.Params) -> Project:
    """Return what the cards are made from."""
    own = {"distill": loaded.distill, "evaluate": loaded.evaluate, "finetune": loaded.finetune}
    settings = {name: section.model_dump(mode="json") for name, section in own.items()}
    reports = Reports(REPORTS, CLEAN, measurements.ARRAYS)
    return Project(reports, RAW, measurements.BASE, MODELS, LOCK, loaded.description, settings)


def evaluated(subject: Subject, trained: dict[str, seeds.Seeds]) -> tuple[Evaluation, dict[str, Any]]:
    """Return everything that is shown, and the content of metrics.json."""
    settings, task = subject.settings, subject.task
    rows = {split: inputs.read_rows(CLEAN, split) for split in array_splits.SPLITS}
    chosen = {name: own.chosen for name, own in trained.items()}
    curves = inputs.read_curves(CURVES, chosen, task.figures.directions)
    outputs = answers(subject, rows)
    resampling = settings.bootstrap
    boot = task.bootstrap(rows["test"].targets, outputs["test"], settings.calibration_bins, resampling)
    more = task.calibrations(rows["test"], outputs["test"], settings)
    for name, folder in MODELS.items():
        more[name] |= inputs.model_size(folder)
    choice = recommended(subject, rows, outputs["val"])
    figures = results.build(task, boot, rows, outputs, more, choice["model"])
    figures["recommended"] = results.rounded(choice)
    repeats = repeated.read(CLEAN)
    for name, own in repeated.figures(
        task, repeats, rows["test"], outputs["test"], resampling.confidence
    ).items():
        figures[name] |= results.rounded(own)
    figures["test"]["near_duplicates"] = len(repeats)
    over_seeds = seeds.test_figures(task, trained, PREDICTIONS / "seeds", rows["test"])
    figures["seeds"] = results.rounded(
        seeds.figures(trained, over_seeds, task.over_seeds, resampling.confidence)
    )
    evaluation = Evaluation(
        names=list(task.spec.names),
        test=rows["test"],
        outputs=outputs["test"],
        bootstrap=boot,
        curves=curves,
        best=figures["test"]["strongest_baseline"],
        bins=settings.calibration_bins,
        kept=slices.read(CLEAN, task.spec.column),
        robustness=image_measurements.robust(subject),
        galleries=image_measurements.galleries(subject, rows["test"], outputs["test"]),
        sheet=image_measurements.sheet(subject),
        explained=text_measurements.explained(subject, rows["test"], outputs["test"]),
        single_inputs=alone(subject, rows["test"], outputs["test"]),
        groups=row_groups.groups(rows["test"], repeats, read(subject)),
        val=(rows["val"], outputs["val"]),
    )
    if others := other_tasks.figures(CLEAN, PREDICTIONS / "teacher", settings):
        figures["tasks"] = results.rounded(others)
    if evaluation.single_inputs:
        figures["single_inputs"] = results.rounded(evaluation.single_inputs)
    taught = knowledge.figures(
        task, PREDICTIONS / contract.FOLDER, rows["test"], settings.calibration_bins, resampling
    )
    if taught:
        figures["knowledge"] = results.rounded(taught)
    if evaluation.robustness:
        figures["robustness"] = results.rounded(evaluation.robustness.figures())
    return evaluation, figures


def read(subject: Subject) -> row_groups.Read | None:
    """Return how many tokens of each test row the teacher reads; None if rows are no texts."""
    described = subject.meta.input
    if not isinstance(described, TextInput):
        return None
    cut = described.truncation
    windows = cut.most if isinstance(cut, Windows) else 1
    return row_groups.Read(subject.splits["test"].lengths, described.max_length * windows)


def alone(subject: Subject, test: inputs.Rows, outputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return model -> its figures on images and texts, and on either alone; empty for other inputs."""
    if not isinstance(subject.meta.input, ImageTextInput):
        return {}
    from baton.measure import blanking  # imports torchvision, which text does not need

    found, settings, task = {}, subject.settings, subject.task
    for name, parts in blanking.logits(subject).items():
        fitted = inputs.read_fitted(MODELS[name])
        own = {part: task.outputs(logits, fitted) for part, logits in parts.items()}
        own[single_inputs.BOTH] = outputs[name]
        found[name] = single_inputs.figures(task, test, own, settings.calibration_bins, settings.bootstrap)
    return found


def answers(subject: Subject, rows: dict[str, inputs.Rows]) -> dict[str, dict[str, Any]]:
    """Return split (val, test) -> model -> its outputs.

    The transformers' outputs are read from their predictions; the baselines are fitted on train here. What
    is fitted on val, such as a temperature, lies in a transformer's folder, and it is served with it.
    """
    task, outputs = subject.task, {"val": dict[str, Any](), "test": dict[str, Any]()}
    for split, into in outputs.items():
        for name in MODELS:
            path = PREDICTIONS / name / f"{split}.parquet"
            logits = inputs.read_logits(path, rows[split], task.spec.width)
            into[name] = task.outputs(logits, inputs.read_fitted(MODELS[name]))
    wanted = subject.settings.baselines
    for name, baseline in zip(baselines.names(wanted, task.baselines.ridge), wanted, strict=True):
        answer = measurements.answer(subject, baseline, rows)
        fitted = task.fitted(rows["val"].targets, answer["val"])
        for split, own in answer.items():
            outputs[split][name] = replace(own, **fitted)
    return outputs


def recommended(subject: Subject, rows: dict[str, inputs.Rows], val: dict[str, Any]) -> dict[str, Any]:
    """Return which model to use.

    It is chosen by the rows of train left out in cross-validation, if `finetune` ran one, else by validation.
    """
    path, task = PREDICTIONS / "teacher" / f"{predictions.LEFT_OUT}.parquet", subject.task
    if not path.is_file():
        return recommend.choose(
            {
                name: recommend.on_validation(task, rows["val"].targets, own)
                for name, own in val.items()
                if name != "control"
            },
            None,
        )
    wanted, few = subject.settings.baselines, subject.finetune.strategy
    assert isinstance(few, params.AutoStrategy), "finetune writes left-out predictions only with `auto`"
    train = rows["train"]
    logits = inputs.read_logits(path, train, task.spec.width)
    scores = {"teacher": recommend.held_out(task, train.targets, logits)}
    for name, baseline in zip(baselines.names(wanted, task.baselines.ridge), wanted, strict=True):
        scores[name] = task.score(measurements.cross_validated(subject, baseline, rows, few.folds))
    return recommend.choose(scores, few.folds)


def track(run: tracking.Run, shown: Sequence[str], figures: dict[str, Any], timings: dict[str, Any]) -> None:
    """Log the `shown` figures to the runs and to the logged models, and plots and tables as artifacts."""
    final: dict[str, float] = {
        f"{name}/{key}": value
        for name, own in timings["models"].items()
        for key, value in own.items()
        if isinstance(value, float | int)
    }
    for name in (*MODELS, *figures["test"]["baselines"]):
        own = {f"test/{key}": value for key, value in figures[name].items() if key in shown}
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
    final |= {
        f"tasks/{name}/{key}": value
        for name, own in figures.get("tasks", {}).items()
        for key, value in own.items()
        if isinstance(value, float)
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
    run.artifact(REPORTS / page.NAME)
    for path in sorted(REPORTS.glob(f"{cards.FOLDER}/*.md")):
        run.artifact(path, cards.FOLDER)
    for path in sorted(REPORTS.glob("tables/*.csv")):
        run.artifact(path, "tables")


if __name__ == "__main__":
    console.run_stage(main)
