"""Measure what a transfer gains with few labels, against the same architecture trained from scratch.

Each seed draws the test, labelled and validation rows and the training order (`preprocess.seed`,
`finetune.seeds`); within a seed both sides get the same rows, batches and budget and are scored on the same
test rows. Each side is the pipeline itself, run by DVC in a copy of the project, so its results are those of
`make repro` with these params.

    python -m benchmarks.few_labels [--recipe digits-from-fashion] [--seeds 0 1 2 3 4] [--base FOLDER]
        [--epochs N]

Without `--base`, a recipe whose base has weights of its own (`stamps`: ImageNet) is run with and without
them. The output is both accuracies by seed, their gain, and its 95% interval over seeds (Student's t of the
paired differences).
"""

import copy
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baton import console, params, storage
from baton.errors import ModelError
from baton.evaluate import transfer
from baton.models import timm_backbone
from benchmarks import _project, _sides


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both sides for each seed and print the gain."""
    parser = _sides.parser(__doc__, 1)
    parser.add_argument(
        "--recipe", default="digits-from-fashion", help="name in recipes/ (default digits-from-fashion)"
    )
    parser.add_argument(
        "--base",
        type=Path,
        help="a Baton model folder (default: the recipe's own weights, or models/teacher if it has none)",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    parser.add_argument("--epochs", type=int, help="of both sides (default: the recipe's)")
    options = parser.parse_args(arguments)
    raw = params.read_raw(_project.ROOT / "recipes" / f"{options.recipe}.yaml")
    if options.base is None and not raw["base"].get("weights"):
        options.base = _project.ROOT / "models/teacher"
    if options.base and not (options.base / "config.json").is_file():
        hint = (
            "run `baton use fashion-mnist-vit`, then `dvc repro finetune`; or name another folder with --base"
        )
        raise ModelError(
            f"{options.base} is not a Baton model folder",
            expected="config.json, model.safetensors, baton.json",
            hint=hint,
        )
    found: dict[str, list[float]] = {"transferred": [], "from scratch": []}
    with tempfile.TemporaryDirectory() as name:
        project = _project.copied(Path(name) / "project")
        if options.base:
            shutil.copytree(options.base, project / "inbox/base")
        for seed in options.seeds:
            for side, accuracies in found.items():
                accuracies.append(accuracy(project, edited(raw, options, seed, side == "transferred")))
                console.say(f"seed {seed}, {side}: {accuracies[-1]:.1%} on test")
    report(options.seeds, found)


def edited(raw: dict[str, Any], options: Any, seed: int, transferred: bool) -> dict[str, Any]:
    """Return the recipe for one seed and side."""
    made = copy.deepcopy(raw)
    if not options.base:
        made["base"]["weights"] = raw["base"]["weights"] if transferred else None
    elif transferred:
        made["base"] = {"kind": "local", "folder": "inbox/base", "licence": raw["base"]["licence"]}
    else:
        config = storage.read_json(options.base / "config.json")
        set_elsewhere = {"global_pool", *timm_backbone.set_elsewhere(config["model_args"])}
        own = {key: value for key, value in config["model_args"].items() if key not in set_elsewhere}
        made["base"] = {
            "kind": "timm",
            "architecture": config["architecture"],
            "arguments": own,
            "weights": None,
            "licence": "none",
        }
    if not transferred:
        made["finetune"]["layer_decay"] = 1.0
    if options.epochs:
        made["finetune"]["epochs"] = options.epochs
    made["preprocess"]["seed"], made["finetune"]["seeds"] = seed, [seed]
    made["evaluate"]["baselines"] = [{"kind": "majority"}]
    made["tracking"] = {"kind": "off"}
    return made


def accuracy(project: Path, raw: dict[str, Any]) -> float:
    """Return the test accuracy of the teacher that `dvc repro finetune` trains with these params."""
    _project.repro(project, raw, "finetune")
    import pyarrow.parquet as pq

    from baton.contracts import predictions

    ids, logits = predictions.read_predictions(project / "data/predictions/teacher/test.parquet")
    table = pq.read_table(project / "data/clean/test.parquet", columns=["id", "label"])
    assert ids == table["id"].to_pylist(), "predictions are in the rows' order"
    return float((logits.argmax(axis=1) == np.asarray(table["label"])).mean())


def report(seeds: Sequence[int], found: dict[str, list[float]]) -> None:
    """Print both sides by seed, and the gain with its interval."""
    rows = [
        [side, *(f"{100 * value:.1f}" for value in values), f"{100 * np.mean(values):.1f}"]
        for side, values in found.items()
    ]
    _sides.markdown(["test accuracy, %", *(f"seed {seed}" for seed in seeds), "mean"], rows)
    gain = transfer.score(found["transferred"], found["from scratch"], 0.95).gain
    if gain.interval is None:
        print(f"\ngain: {100 * gain.mean:+.1f} points (one seed, or equal gains: no interval)")
        return
    low, high = (f"{100 * end:+.1f}" for end in gain.interval)
    print(f"\ngain: {100 * gain.mean:+.1f} points, 95% interval {low} to {high} over {len(seeds)} seeds")


if __name__ == "__main__":
    console.run(main)
