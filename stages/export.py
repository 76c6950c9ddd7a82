"""Export a trained model to a graph that needs no torch, in the fastest way that keeps its answers.

Reads models, data/arrays, data/clean and data/predictions; writes models/export (the graph, what describes
it, and the tokenizer), metrics/export.json, and reports/export: candidates.csv and timings.json. With
`export: null` the folders are empty. Which candidate is fastest depends on the machine, so another machine
may choose another. Run by DVC as `sh stages/run export`.
"""

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from baton import console, params, storage, tracking
from baton.batches import array_splits, subset
from baton.engines import engine
from baton.evaluate import inputs, results, task_reports, timing
from baton.export import choice, extra, graphs, quantization, running, shown
from baton.export.parity import Reference
from baton.models import model_folder
from baton.runtime import resolve
from baton.tasks import figure_scale

ARRAYS, CLEAN, MODELS, PREDICTIONS = (
    Path("data/arrays"),
    Path("data/clean"),
    Path("models"),
    Path("data/predictions"),
)
OUT, METRICS, REPORTS = MODELS / "export", Path("metrics/export.json"), Path("reports/export")
TOKENIZER = ("tokenizer.json",)


def main() -> None:
    """Export what params ask for, or write empty outputs."""
    loaded = params.load("export", "runtime")
    if loaded.export is None:
        for folder in (OUT, REPORTS):
            with storage.atomic_folder(folder):
                pass
        storage.write_json(METRICS, {})
        return
    extra.require(loaded.export.engines)
    settings, source = loaded.export, MODELS / loaded.export.model
    work = model_folder.work(source, array_splits.read_meta(ARRAYS).input)
    machine = resolve.resolve(loaded.runtime, work=work)
    with tracking.stage("export", machine.reasons) as run, tempfile.TemporaryDirectory(dir=MODELS) as name:
        run.dataset("test", CLEAN / "test.parquet", "evaluation")
        figures, timings = export(settings, source, machine, Path(name))
        storage.write_json(METRICS, results.rounded(figures))
        with storage.atomic_folder(REPORTS) as folder:
            storage.write_json(folder / "timings.json", timings)
            pd.DataFrame(results.rounded(figures["candidates"])).to_csv(
                folder / "candidates.csv", index=False
            )
        splits, reads = array_splits.open_splits(ARRAYS), array_splits.read_meta(ARRAYS).input
        run.model("export", OUT, array_splits.examples(splits["val"], source, reads))
        run.final(final(figures, timings))
        run.artifact(REPORTS)
    shown.show(
        figures, timings, figure_scale.of(task_reports.of(array_splits.read_meta(ARRAYS).task).figures)
    )


def export(
    settings: params.Export, source: Path, machine: resolve.Runtime, scratch: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write models/export; return the content of metrics/export.json and of timings.json."""
    on_cpu = dataclasses.replace(machine, device=torch.device("cpu"))
    model, info = model_folder.load(source, model_folder.attention(source, on_cpu))
    graphs.check(info)
    splits = array_splits.open_splits(ARRAYS)
    console.say(f"tracing {source}")
    names = graphs.write(model, info, splits["train"], scratch / "fp32.onnx")
    chosen_rows = timing.spread(len(splits["val"]), settings.rows)
    val, whole = subset.Part(splits["val"], chosen_rows), reference(source, "val", info)
    text = "pixels" not in names
    wanted = quantization.candidates(settings.engines, settings.precisions, text)
    found = choice.tried(
        scratch / "fp32.onnx",
        names,
        wanted,
        calibration(splits["train"], names, settings),
        val,
        whole.part(chosen_rows),
        settings,
        machine.threads,
    )
    rates = choice.rates(found, val, settings, on_cpu)
    chosen = choice.fastest(found, rates, settings)
    test = reference(source, "test", info)
    logits = running.predicted(chosen.engine, names, splits["test"], settings.batch_size)
    agreed = choice.agreed(test, logits, settings, chosen)
    timings = speeds(settings, chosen, splits["test"], on_cpu) | {"candidates": rates}
    with storage.atomic_folder(OUT) as folder:
        choice.move(chosen, folder)
        described = engine.described(chosen.graph) | {
            "of": settings.model,
            "sha256": storage.sha256_tree(source),
        }
        raw = storage.read_json(source / model_folder.INFO)
        storage.write_json(folder / model_folder.INFO, raw | {engine.KEY: described})
        for name in TOKENIZER:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
    own = {
        "of": settings.model,
        "chosen": chosen.candidate.name,
        "bytes": chosen.figures["bytes"],
        **{key: value for key, value in agreed.items() if key != "kept"},
        **test.figures(logits, settings.bootstrap),
    }
    return own | {"candidates": [one.figures for one in found]}, timings


def reference(source: Path, split: str, info: model_folder.ModelInfo) -> Reference:
    """Return the rows of a split with the logits that the model's own stage wrote."""
    task, rows = task_reports.of(info.task), inputs.read_rows(CLEAN, split)
    logits = inputs.read_logits(PREDICTIONS / source.name / f"{split}.parquet", rows, info.task.width)
    texts = [pair[-1] for pair in rows.pairs] if rows.pairs else rows.texts
    return Reference(task, rows.targets, logits, dict(info.fitted), texts)


def calibration(
    split: Any, names: tuple[str, ...], settings: params.Export
) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Return batches of train rows, spread over it."""
    rows = timing.spread(len(split), settings.calibration_rows)
    size = max(1, settings.batch_size // 2)
    return [
        graphs.arrays(split.batch(rows[start : start + size]), names) for start in range(0, len(rows), size)
    ]


def speeds(
    settings: params.Export, chosen: choice.Tried, split: Any, machine: resolve.Runtime
) -> dict[str, Any]:
    """Time the export beside its model and the teacher in torch, on rows of test."""
    part = subset.Part(split, timing.spread(len(split), settings.rows))
    sides: dict[str, running.Side] = {"export": running.exported(chosen.engine, chosen.graph.inputs)}
    folders = dict.fromkeys((settings.model, "teacher"))
    for name in folders:
        attention = model_folder.attention(MODELS / name, machine)
        model, _ = model_folder.load(MODELS / name, attention)
        sides[f"{name}, torch fp32"] = running.in_torch(model, machine, mixed=False)
        if machine.precision != "fp32":
            sides[f"{name}, torch {machine.precision}"] = running.in_torch(model, machine, mixed=True)
    taken = running.timed(sides, part, settings.batch_size, settings.seconds, machine)
    ratios = {}
    for name, own in taken.items():
        if name != "export":
            value, bounds = timing.ratio(own, taken["export"], running.CONFIDENCE)
            ratios[name] = {"times_as_fast": value, "interval": list(bounds)}
    return {
        "samples_per_second": {name: running.rate(own, len(part)) for name, own in taken.items()},
        "ratios": ratios,
        "threads": machine.threads,
    }


def final(figures: dict[str, Any], timings: dict[str, Any]) -> dict[str, float]:
    """Return what is logged: the export's figures on test, how far it agrees, its size and speed."""
    own = {f"test_{key}": value for key, value in figures["export"].items() if isinstance(value, float)}
    own |= {key: float(figures[key]) for key in ("same", "largest_difference", "bytes")}
    own["samples_per_second"] = timings["samples_per_second"]["export"]
    return {f"export/{key}": value for key, value in own.items()}


if __name__ == "__main__":
    console.run_stage(main)
