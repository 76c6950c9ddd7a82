"""A trained model -> models/export: traced, tried in every way that params ask for, the best one measured.

Inputs: the model's folder, data/arrays, data/clean and the logits in data/predictions. Outputs: the folder of
the chosen graph, with what describes it and its tokenizer; the figures and the times.
"""

import shutil
from pathlib import Path
from typing import Any

from baton import console, params, storage, temporaries
from baton.batches import array_splits, subset
from baton.batches.sampler import Split
from baton.engines import engine
from baton.evaluate import inputs, task_reports, timing
from baton.export import choice, graphs, quantization, running
from baton.export.choice import Tried
from baton.export.graphs import Arrays
from baton.export.parity import Reference
from baton.models import model_folder
from baton.models.classifier import ModelInfo
from baton.runtime import resolve
from baton.runtime.resolve import Runtime

ARRAYS, CLEAN, PREDICTIONS = Path("data/arrays"), Path("data/clean"), Path("data/predictions")
MODELS = Path("models")
OUT, WORK = MODELS / "export", MODELS / "export-candidates"
TOKENIZER = "tokenizer.json"
OF_CPU = ("auto", "bf16", "fp32")  # precisions


def machine(wanted: params.Runtime, model: str) -> Runtime:
    """Return the runtime, on the CPU, where exports are computed."""
    precision = wanted.precision if wanted.precision in OF_CPU else "auto"
    on_cpu = wanted.model_copy(update={"device": "cpu", "precision": precision})
    return resolve.resolve(
        on_cpu, work=model_folder.work(MODELS / model, array_splits.read_meta(ARRAYS).input)
    )


def export(settings: params.Export, runtime: Runtime) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write models/export; return the content of metrics/export.json and of timings.json.

    Raises:
        ModelError: the model cannot be exported, or no export is close enough to it.
    """
    source = MODELS / settings.model
    model, info = model_folder.load(source, model_folder.attention(source, runtime))
    graphs.check(info)
    splits = array_splits.open_splits(ARRAYS)
    with temporaries.made(WORK, folder=True) as scratch:
        console.say(f"export: tracing {source}")
        graph = scratch / "fp32.onnx"
        names = graphs.write(model, info, splits["train"], graph)
        rows = timing.spread(len(splits["val"]), settings.rows)
        val, whole = subset.Part(splits["val"], rows), reference(source, "val", info)
        found = choice.tried(
            graph,
            names,
            quantization.candidates(settings.engines, settings.precisions, "input_ids" in names),
            calibration(splits["train"], names, settings),
            val,
            whole.part(rows),
            settings,
            runtime.threads,
        )
        rates = choice.rates(found, val, settings, runtime)
        chosen = choice.fastest(found, rates, settings)
        figures = measured(settings, chosen, splits["test"], reference(source, "test", info))
        timings = speeds(settings, chosen, splits["test"], runtime) | {"candidates": rates}
        write(settings, chosen, source)
    own = {"of": settings.model, "sha256": storage.sha256_tree(OUT)}
    return own | figures | {"candidates": [one.figures for one in found]}, timings


def write(settings: params.Export, chosen: Tried, source: Path) -> None:
    """Write models/export from the files of the chosen candidate, and of its model."""
    described = engine.described(chosen.graph) | {
        "of": settings.model,
        "sha256": storage.sha256_tree(source),
    }
    with storage.atomic_folder(OUT) as folder:
        choice.move(chosen, folder)
        raw = storage.read_json(source / model_folder.INFO)
        storage.write_json(folder / model_folder.INFO, raw | {engine.KEY: described})
        for tokenizer in sorted(source.rglob(TOKENIZER)):  # that of images with texts is in a folder
            copied = folder / tokenizer.relative_to(source)
            copied.parent.mkdir(exist_ok=True)
            shutil.copyfile(tokenizer, copied)


def measured(settings: params.Export, chosen: Tried, split: Split, test: Reference) -> dict[str, Any]:
    """Return the figures of the chosen candidate on test, beside the model's own.

    Raises:
        ModelError: it is too far from the model there.
    """
    logits = running.predicted(chosen.engine, chosen.graph.inputs, split, settings.batch_size)
    agreed = choice.agreed(test, logits, settings, chosen)
    return {
        "chosen": chosen.candidate.name,
        "bytes": chosen.figures["bytes"],
        **{key: value for key, value in agreed.items() if key != "kept"},
        **test.figures(logits, settings.bootstrap),
    }


def reference(source: Path, split: str, info: ModelInfo) -> Reference:
    """Return the rows of a split with the logits that the model's own stage wrote."""
    task, rows = task_reports.of(info.task), inputs.read_rows(CLEAN, split)
    logits = inputs.read_logits(PREDICTIONS / source.name / f"{split}.parquet", rows, info.task.width)
    texts = [pair[-1] for pair in rows.pairs] if rows.pairs else rows.texts
    return Reference(task, rows.targets, logits, dict(info.fitted), texts)


def calibration(split: Split, names: tuple[str, ...], settings: params.Export) -> list[Arrays]:
    """Return batches of train rows, spread over it."""
    rows = timing.spread(len(split), settings.calibration_rows)
    size = max(1, settings.batch_size // 2)
    return [
        graphs.arrays(split.batch(rows[start : start + size]), names) for start in range(0, len(rows), size)
    ]


def speeds(settings: params.Export, chosen: Tried, split: Split, runtime: Runtime) -> dict[str, Any]:
    """Time the export beside its model and the teacher in torch, on rows of test."""
    part = subset.Part(split, timing.spread(len(split), settings.rows))
    sides: dict[str, running.Side] = {"export": running.exported(chosen.engine, chosen.graph.inputs)}
    for name in dict.fromkeys((settings.model, "teacher")):
        model, _ = model_folder.load(MODELS / name, model_folder.attention(MODELS / name, runtime))
        sides[f"{name}, torch fp32"] = running.in_torch(model, runtime, mixed=False)
        if runtime.precision != "fp32":
            sides[f"{name}, torch {runtime.precision}"] = running.in_torch(model, runtime, mixed=True)
    taken = running.timed(sides, part, settings.batch_size, settings.seconds, runtime)
    ratios = {}
    for side, own in taken.items():
        if side != "export":
            value, bounds = timing.ratio(own, taken["export"], running.CONFIDENCE)
            ratios[side] = {"times_as_fast": value, "interval": list(bounds)}
    return {
        "samples_per_second": {side: running.rate(own, len(part)) for side, own in taken.items()},
        "ratios": ratios,
        "threads": runtime.threads,
    }
