"""Reports of made-up models, of every kind of task, as `stages/evaluate.py` would write them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from baton import params, storage
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Classes, Labels, Numbers
from baton.evaluate import recommend, results, row_groups, task_reports
from baton.evaluate.baselines import Outputs
from baton.evaluate.evaluation import TRANSFORMERS, Evaluation
from baton.evaluate.inputs import Curve, Rows
from baton.evaluate.report import csv_tables
from baton.evaluate.report.html.csv_reading import Reports
from baton.evaluate.task_reports import TaskReports
from baton.tasks import metrics
from tests import tiny_tokens
from tests.evaluate import test_sequence_reports as sequences
from tests.evaluate import test_span_reports as spans

SETTINGS = params.Bootstrap(resamples=60, confidence=0.95, seed=0)
BASELINE = "majority"
SHARES = {"teacher": 0.9, "student": 0.85, "control": 0.7, BASELINE: 0.4}
WORDS = ["wheat", "corn", "barley", "ship", "port", "tariff", "harvest", "board", "rate", "bill", "crude"]
Split = dict[str, Any]  # rows, and the targets of a kind of task


def write(
    folder: Path,
    task: TaskReports,
    rows: Mapping[str, Rows],
    outputs: Mapping[str, Mapping[str, Any]],
    seeds: int = 1,
    curves: bool = True,
    kept: Mapping[str, Sequence[str]] | None = None,
    timings: bool = True,
) -> Reports:
    """Write metrics.json, timings.json, tables and plots; return where they are."""
    test = rows["test"]
    boot = task.bootstrap(test.targets, outputs["test"], 5, SETTINGS)
    more = task.calibrations(test, outputs["test"], _settings())
    for place, name in enumerate(TRANSFORMERS):
        more[name] = more.get(name, {}) | {"parameters": 900 // (place + 1), "bytes": 3600 // (place + 1)}
    figures = results.build(task, boot, rows, outputs, more)
    chosen = {
        name: recommend.on_validation(task, rows["val"].targets, own)
        for name, own in outputs["val"].items()
        if name != "control"
    }
    figures["recommended"] = results.rounded(recommend.choose(chosen, None))
    main = task.figures.main
    each = {name: [figures[name][main] + 0.01 * seed for seed in range(seeds)] for name in TRANSFORMERS}
    figures["seeds"] = {
        name: {"chosen": 0, "all": list(range(seeds)), main: own, f"{main}_mean": float(np.mean(own))}
        for name, own in each.items()
    }
    evaluation = Evaluation(
        names=list(task.spec.names),
        test=test,
        outputs=outputs["test"],
        bootstrap=boot,
        curves=_curves(task) if curves else {},
        best=figures["test"]["strongest_baseline"],
        bins=5,
        kept=kept or {},
        groups=row_groups.groups(test, {"test:1", "test:2"}, None),
        val=(rows["val"], outputs["val"]),
    )
    for name, write_files in (("tables", csv_tables.write_tables), ("plots", csv_tables.write_plots)):
        (folder / "reports" / name).mkdir(parents=True)
        write_files(folder / "reports" / name, task, evaluation)
    found = {"rows": {"raw": {"train": 9, "test": 9}}, "checks": {"empty": {"found": {"train": 0}}}}
    storage.write_json(folder / "clean/report.json", found | {"notes": ["a note"]})
    storage.write_json(folder / "reports/metrics.json", figures)
    storage.write_json(folder / "reports/timings.json", TIMINGS if timings else {"models": {}})
    return Reports(folder / "reports", folder / "clean", folder / "arrays")


TIMINGS = {
    "models": {name: {"samples_per_second": 100.0, "latency_p50_ms": 5.0} for name in TRANSFORMERS},
    "ratios": {
        "student_vs_teacher": {"throughput": 2.0, "throughput_interval": [1.9, 2.1]},
        "control_vs_student": {"throughput": 1.0, "throughput_interval": [0.9, 1.1]},
    },
}


def _settings() -> Any:
    return SimpleNamespace(bootstrap=SETTINGS, calibration_bins=5)


def _curves(task: TaskReports) -> dict[str, Curve]:
    epochs = [0.5, 1.0, 1.5]
    training = {"step": [5.0, 10.0, 15.0], "epoch": epochs, "loss": [2.0, 1.0, 0.7]}
    validation = {"step": [5.0, 10.0, 15.0], "epoch": epochs}
    validation |= {f"val_{figure}": [0.5, 0.6, 0.7] for figure in task.figures.directions}
    return {name: Curve(training, validation) for name in TRANSFORMERS}


def texts(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng((7, seed))
    return [" ".join(draw.choice(WORDS, draw.integers(2, 30))) for _ in range(count)]


def classes(
    folder: Path,
    names: Sequence[str] = ("corn", "ship", "wheat"),
    count: int = 120,
    shown: Sequence[str] | None = None,
    column: str = "text",
    shares: Mapping[str, float] = SHARES,
    **options: Any,
) -> Reports:
    """Write a report on classes; `shown` are the texts of the test rows, or the names of images."""
    task = task_reports.of(Classes(tuple(names)))
    rows, outputs = dict[str, Rows](), {"val": dict[str, Any](), "test": dict[str, Any]()}
    for seed, split in enumerate(("train", "val", "test")):
        draw = np.random.default_rng(seed)
        labels = np.concatenate([np.arange(len(names)), draw.integers(0, len(names), count - len(names))])
        own = texts(count, seed) if shown is None or split != "test" else list(shown)
        rows[split] = Rows([f"{split}:{row + 1}" for row in range(count)], own, labels, column)
        for place, (name, share) in enumerate(shares.items() if split != "train" else ()):
            outputs[split][name] = answers(labels, len(names), share, 10 * seed + place)
    return write(folder, task, rows, outputs, **options)


def answers(labels: Any, width: int, share: float, seed: int) -> Outputs:
    """Return the outputs of a model that is right on about this share, and else takes the next class."""
    draw = np.random.default_rng((seed, 5))
    logits = draw.normal(0, 0.5, (len(labels), width))
    said = np.where(draw.random(len(labels)) < share, labels, (labels + 1) % width)
    logits[np.arange(len(labels)), said] += 3 + np.log(width)
    log_p = metrics.log_probabilities(logits.astype(np.float32))
    return Outputs(log_p.argmax(axis=1), log_p)


def labels(folder: Path) -> Reports:
    task: Any = task_reports.of(Labels(("corn", "ship", "wheat")))
    rows, outputs = dict[str, Rows](), {"val": dict[str, Any](), "test": dict[str, Any]()}
    for seed, split in enumerate(("train", "val", "test")):
        draw = np.random.default_rng(seed)
        marks = (draw.random((90, 3)) < 0.4).astype(np.float32)
        rows[split] = Rows([f"{split}:{row + 1}" for row in range(90)], texts(90, seed), marks)
        for name, share in SHARES.items() if split != "train" else ():
            logits = (2 * marks - 1) * np.where(draw.random(marks.shape) < share, 2, -1)
            noise = draw.normal(0, 0.3, marks.shape)
            outputs[split][name] = task.outputs((logits + noise).astype(np.float32), {"thresholds": 0.5})
    return write(folder, task, rows, outputs)


def numbers(folder: Path) -> Reports:
    task: Any = task_reports.of(Numbers(("price", "size"), (50.0, 0.2), (8.0, 0.1), "smooth_l1", 0.9))
    rows, outputs = dict[str, Rows](), {"val": dict[str, Any](), "test": dict[str, Any]()}
    for seed, split in enumerate(("train", "val", "test")):
        draw = np.random.default_rng(seed)
        true = np.array([50.0, 0.2]) + np.array([8.0, 0.1]) * draw.normal(size=(60, 2))
        rows[split] = Rows([f"{split}:{row + 1}" for row in range(60)], texts(60, seed), true)
        for name, share in SHARES.items() if split != "train" else ():
            standardised = (true - [50.0, 0.2]) / [8.0, 0.1] + draw.normal(0, 1 - share, (60, 2))
            outputs[split][name] = task.outputs(standardised.astype(np.float32), {"quantiles": [9.0, 0.1]})
    return write(folder, task, rows, outputs)


def tokens(folder: Path) -> Reports:
    task: Any = task_reports.of(tiny_tokens.TASK)
    rows, outputs = dict[str, Rows](), {"val": dict[str, Any](), "test": dict[str, Any]()}
    for seed, split in enumerate(("train", "val", "test")):
        draw, made = np.random.default_rng(seed), tiny_tokens.rows(60, seed, 12)
        tags = np.array([tag for _, own in made for tag in own])
        offsets = np.cumsum([0, *(len(own) for _, own in made)])
        ids = [f"{split}:{row + 1}" for row in range(60)]
        rows[split] = Rows(ids, [text for text, _ in made], Ragged(tags, offsets))
        for name, share in SHARES.items() if split != "train" else ():
            logits = draw.normal(size=(len(tags), tiny_tokens.TASK.width))
            right = draw.random(len(tags)) < share
            logits[right, tags[right]] += 5
            outputs[split][name] = task.outputs(Ragged(logits.astype(np.float32), offsets), {})
    return write(folder, task, rows, outputs)


def questions(folder: Path) -> Reports:
    rows, outputs = dict[str, Rows](), {"val": dict[str, Any](), "test": dict[str, Any]()}
    for seed, split in enumerate(("train", "val", "test")):
        pairs, targets = spans.asked(60, seed)
        ids = [f"{split}:{row + 1}" for row in range(60)]
        rows[split] = Rows(ids, [" ".join(pair) for pair in pairs], targets, pairs=pairs)
        for place, (name, share) in enumerate(SHARES.items() if split != "train" else ()):
            outputs[split][name] = spans.model(targets, 1 - share, 10 * seed + place)
    return write(folder, spans.TASK, rows, outputs)


def sequence(folder: Path) -> Reports:
    rows, outputs = dict[str, Rows](), {"val": dict[str, Any](), "test": dict[str, Any]()}
    for seed, split in enumerate(("train", "val", "test")):
        targets = sequences.references(50, seed)
        ids = [f"{split}:{row + 1}" for row in range(50)]
        rows[split] = Rows(ids, texts(50, seed), targets)
        for place, (name, share) in enumerate(SHARES.items() if split != "train" else ()):
            outputs[split][name] = sequences.spoilt(targets, 1 - share, 10 * seed + place)
    return write(folder, sequences.TASK, rows, outputs)


KINDS = {
    "classes": classes,
    "labels": labels,
    "numbers": numbers,
    "tokens": tokens,
    "spans": questions,
    "sequence": sequence,
}
