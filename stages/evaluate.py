"""Measure teacher, student, control and baselines on the test split.

Reads data/clean, data/predictions, data/arrays, models and curves; writes reports/: metrics.json, tables/, plots/ and figures/ (the same
bytes on a rerun), timings.json and speed/ (which are not). Run by DVC as `sh stages/run evaluate`.
"""

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from baton import console, params, predict, runtime, storage, tracking
from baton.data import batches, text
from baton.evaluate import baselines, details, inputs, metrics, plots, results, summary
from baton.evaluate.baselines import Outputs
from baton.models import build

CLEAN, ARRAYS, PREDICTIONS, REPORTS = Path("data/clean"), Path("data/arrays"), Path("data/predictions"), Path("reports")
MODELS = {name: Path("models", name) for name in ("teacher", "student", "control")}
CURVES = [Path("curves/finetune.csv"), Path("curves/distill.csv")]


def main() -> None:
    """Figures first, then speed, then what is drawn from both."""
    loaded = params.load("evaluate", "runtime")
    settings, machine = loaded.evaluate, runtime.resolve(loaded.runtime)
    with tracking.stage("evaluate", machine.reasons) as run:
        run.dataset("test", CLEAN / "test.parquet", "evaluation")
        names = inputs.read_names(CLEAN)
        splits = {split: inputs.read_rows(CLEAN, split) for split in text.SPLITS}
        curves = inputs.read_curves(CURVES)
        outputs = answers(settings, splits, len(names))
        boot = results.bootstrap(splits["test"], outputs["test"], len(names), settings)
        sizes = {name: inputs.model_size(folder) for name, folder in MODELS.items()}
        figures = results.build(boot, splits, outputs, sizes, settings.bootstrap.confidence)
        best: str | None = figures["test"]["strongest_baseline"]
        evaluation = results.Evaluation(names, splits["test"], outputs["test"], boot, curves, best, settings.calibration_bins)
        for name, write in (("tables", details.write_tables), ("plots", details.write_plots), ("figures", plots.draw)):
            with storage.atomic_folder(REPORTS / name) as folder:
                write(folder, evaluation)
        storage.write_json(REPORTS / "metrics.json", figures)
        timings = {"models": {}} if settings.speed.repeats == 0 else speed(settings.speed, machine)
        storage.write_json(REPORTS / "timings.json", timings)
        with storage.atomic_folder(REPORTS / "speed") as folder:
            if timings["models"]:
                plots.speed_accuracy(folder / "speed_accuracy.png", {name: figures[name] | timings["models"][name] for name in MODELS})
        track(run, figures, timings)
    if os.environ.get("BATON_SUMMARY") != "later":  # `make repro` shows it at the very end, also when this stage had nothing to do
        summary.show(REPORTS)


def answers(settings: params.Evaluate, splits: dict[str, inputs.Rows], classes: int) -> dict[str, dict[str, Outputs]]:
    """Split (val, test) -> model -> its answers: the transformers' from their predictions, the baselines' fitted on train here."""
    outputs: dict[str, dict[str, Outputs]] = {"val": {}, "test": {}}
    for split, into in outputs.items():
        for name in MODELS:
            logits = inputs.read_logits(PREDICTIONS / name / f"{split}.parquet", splits[split], classes)
            log_p = metrics.log_probabilities(logits)
            into[name] = Outputs(log_p.argmax(axis=1), log_p)
    train = splits["train"]
    for name, baseline in zip(baselines.names(settings.baselines), settings.baselines, strict=True):
        console.say(f"fit baseline {name} on {len(train.texts):,} train rows")
        fitted = baselines.fit(baseline, train.texts, train.labels, classes)
        for split, into in outputs.items():
            into[name] = fitted.outputs(splits[split].texts)
    return outputs


def speed(settings: params.Speed, machine: runtime.Runtime) -> dict[str, Any]:
    """Speeds of the models on test, measured once per models, arrays, params, machine and measuring code, and kept outside outs."""
    known = {
        "models": {name: storage.sha256_tree(folder) for name, folder in MODELS.items()},
        "arrays": storage.sha256_tree(ARRAYS),
        "speed": settings.model_dump(),
        "runtime": machine.reasons,
        "machine": f"{platform.node()} {platform.platform()}",
        "code": [storage.sha256(Path(file)) for file in (predict.__file__, build.__file__, batches.__file__, "requirements.lock")],
    }
    kept = storage.state("speed") / f"{hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()}.json"
    if kept.is_file():
        console.say("speed: the same models were measured on this machine before; those figures are used")
        timings: dict[str, Any] = storage.read_json(kept)
        return timings
    console.say(f"speed: {settings.repeats} alternating runs over {settings.samples} test rows, after one to warm up")
    models: dict[str, Any] = predict.measure_speed(MODELS, text.open_arrays(ARRAYS, "test"), settings, machine)
    ratio = models["student"]["samples_per_second"] / models["teacher"]["samples_per_second"]
    timings = {"models": models, "speed_up": ratio, "runtime": machine.reasons, "speed": settings.model_dump()}
    storage.write_json(kept, timings)
    return timings


def track(run: tracking.Run, figures: dict[str, Any], timings: dict[str, Any]) -> None:
    """Figures to the runs and to the logged models, pictures and tables as artifacts."""
    final: dict[str, float] = {
        f"{name}/{key}": value for name, own in timings["models"].items() for key, value in own.items() if isinstance(value, float | int)
    }
    for name in (*MODELS, *figures["test"]["baselines"]):
        own = {f"test/{key}": value for key, value in figures[name].items() if key in metrics.FIGURES}
        if name in MODELS:
            run.model_metrics(name, MODELS[name], own)
        else:
            final |= {f"{name}/{key.replace('/', '_')}": value for key, value in own.items()}
    final |= {f"retention/{key}": value for key, value in figures["retention"].items() if isinstance(value, float | int)}
    run.final(final | ({"speed_up": timings["speed_up"]} if "speed_up" in timings else {}))
    for path in sorted(REPORTS.glob("*/*.png")):
        run.figure(path)
    for path in sorted(REPORTS.glob("tables/*.csv")):
        run.artifact(path, "tables")


if __name__ == "__main__":
    console.run_stage(main)
