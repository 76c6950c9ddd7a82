"""Export a trained model to a graph that needs no torch, in the fastest way that keeps its answers.

Reads models, data/arrays, data/clean and data/predictions; writes models/export (the graph, what describes
it, and the tokenizer), metrics/export.json, and reports/export: candidates.csv and timings.json. With
`export: null` the folders are empty. Which candidate is fastest depends on the machine, so another machine
may choose another. Run by DVC as `sh stages/run export`.
"""

import os
from pathlib import Path
from typing import Any

from baton import console, params, storage

OUT, METRICS, REPORTS = Path("models/export"), Path("metrics/export.json"), Path("reports/export")
CLEAN = Path("data/clean")
# Train sets the ranges of int8, and validation chooses.
TABLES = {"train": "calibration", "val": "validation", "test": "evaluation"}


def main() -> None:
    """Export what params ask for, or write empty outputs."""
    loaded = params.load("export", "runtime")
    if loaded.export is not None:
        exported(loaded.export, loaded.runtime)
        return
    for folder in (OUT, REPORTS):
        with storage.atomic_folder(folder):
            pass
    storage.write_json(METRICS, {})


def exported(settings: params.Export, runtime: params.Runtime) -> None:
    """Write the outputs of an export, and track it."""
    from baton import tracking  # torch, transformers and pandas take seconds, which `export: null` spares
    from baton.batches import array_splits
    from baton.evaluate import results, task_reports
    from baton.export import exporting, extra, shown
    from baton.tasks import figure_scale

    extra.require(settings.engines)
    machine = exporting.machine(runtime, settings.model)
    meta = array_splits.read_meta(exporting.ARRAYS)
    with tracking.stage("export", machine.reasons) as run:
        for name, purpose in TABLES.items():
            run.dataset(name, CLEAN / f"{name}.parquet", purpose)
        figures, timings = exporting.export(settings, machine)
        figures = results.rounded(figures)
        storage.write_json(METRICS, figures)
        with storage.atomic_folder(REPORTS) as folder:
            storage.write_json(folder / "timings.json", timings)
            shown.write_table(folder / "candidates.csv", figures["candidates"])
        splits = array_splits.open_splits(exporting.ARRAYS)
        run.model(
            "export", OUT, array_splits.examples(splits["val"], Path("models", settings.model), meta.input)
        )
        run.final(final(figures, timings))
        run.artifact(REPORTS)
    if os.environ.get("BATON_SUMMARY") != "later":
        shown.show(figures, timings, figure_scale.of(task_reports.of(meta.task).figures), test=False)


def final(figures: dict[str, Any], timings: dict[str, Any]) -> dict[str, float]:
    """Return what is logged: the export's figures on test, how far it agrees, its size and speed."""
    own = {f"test_{key}": value for key, value in figures["export"].items() if isinstance(value, float)}
    own |= {key: float(figures[key]) for key in ("same", "largest_difference", "bytes")}
    own["samples_per_second"] = timings["samples_per_second"]["export"]
    return {f"export/{key}": value for key, value in own.items()}


if __name__ == "__main__":
    console.run_stage(main)
