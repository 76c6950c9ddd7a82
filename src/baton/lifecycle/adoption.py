"""Record the models of this checkout in a store that has no run of them.

That is so after a server was wiped, or if a job died between its training and the delivery of its runs and
others restored the outputs from DVC's run-cache. Inputs: models/, metrics/ and data/arrays as `dvc.lock`
describes them -> a run of `finetune` and one of `distill`, with model and figures. What only the training
knew, such as its curves and seconds, is missing.
"""

import time
from pathlib import Path

from baton import console, params, storage, tracking
from baton.batches import array_splits
from baton.tracking import pipelines, recorder
from baton.workspace import dvc_files
from baton.workspace.commands import done

ARRAYS, MODELS = Path("data/arrays"), Path("models")
CLEAN = {"train": ("data/clean/train.parquet", "training"), "val": ("data/clean/val.parquet", "validation")}
STAGES = {"finetune": ("teacher",), "distill": ("student", "control")}  # each logs the first model
WHY = {"adopted": "from dvc.lock by `baton register`: this store had no run that made these models"}


def adopt() -> bool:
    """Record finetune and distill; return False if `dvc.lock` does not describe what is here.

    Raises:
        TrackingError: the store cannot be used.
    """
    active = params.read()
    if isinstance(active.tracking, params.NoTracking) or not _described():
        return False
    splits, reads = array_splits.open_splits(ARRAYS), array_splits.read_meta(ARRAYS).input
    examples = array_splits.examples(splits["val"], MODELS / "teacher", reads)
    for stage, models in _stages().items():
        console.say(f"{stage}: this store has no run of its models, so one is recorded from dvc.lock")
        figures = storage.read_json(Path(f"metrics/{stage}.json"))
        with recorder.tracked(stage, WHY, active, None, time.perf_counter()) as run:
            for name, (path, context) in CLEAN.items():
                run.dataset(name, Path(path), context)
            run.model(models[0], MODELS / models[0], examples)
            known = {f"{model}/{key}": value for model in models for key, value in figures[model].items()}
            if stage == pipelines.EXPORT:  # its figures are those on test, and some have intervals
                known = {key.replace("/", "/test_", 1): value for key, value in known.items()}
            run.final({key: value for key, value in known.items() if isinstance(value, int | float)})
    tracking.sync()
    return True


def _stages() -> dict[str, tuple[str, ...]]:
    """Return the stages that made models, by `dvc.lock`, with the models that each has figures of."""
    exported = pipelines.EXPORT in pipelines.wanted(dvc_files.read_lock())
    return STAGES | ({pipelines.EXPORT: (pipelines.EXPORT,)} if exported else {})


def _described() -> bool:
    """Return whether params and outputs are those of `dvc.lock`; what is missing is pulled if possible."""
    wanted = {
        "preprocess": ["data/clean"],
        "tokenize": [str(ARRAYS)],
        **{stage: [f"metrics/{stage}.json", f"models/{own[0]}"] for stage, own in _stages().items()},
    }
    if not (text := dvc_files.read_text()):
        return False
    if missing := [path for paths in wanted.values() for path in paths if not Path(path).exists()]:
        done("dvc", "pull", "--quiet", "--", *missing)
    lock = dvc_files.read_lock()
    known = {stage: lock.get(stage, {}).get("outs", {}) for stage in wanted}
    return dvc_files.agrees(text) and all(
        known[stage].get(path) == dvc_files.md5(Path(path))
        for stage, paths in wanted.items()
        for path in paths
    )
