"""Measure few labels a class: our contrastive strategy (`pairs`) beside SetFit, on the same texts and base.

Each seed draws the labelled texts (`preprocess.shots`, `preprocess.seed`); both sides get the same ones, the
same base model and the same length, and answer the same test texts. SetFit runs with its defaults (one epoch
of oversampled pairs, 16 to a batch, logistic head). The seconds are those of training, from texts in memory
to a fitted model.

    python -m benchmarks.few_shot [--recipe reuters-r8-minilm] [--shots 8] [--seeds 0 1 2 3 4]
        [--steps 60] [--rate 2e-5]

The output is accuracy and seconds by seed, the paired difference of accuracy with its 95% interval over seeds
(Student's t), and the ratio of seconds.
"""

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from baton import params
from benchmarks import _project, _sides


class Measured(NamedTuple):
    """A side's seconds of training and accuracy on test."""

    seconds: float
    accuracy: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare each draw, measure both sides, print the tables."""
    parser = _sides.parser(__doc__, 1)
    parser.add_argument("--recipe", default="reuters-r8-minilm", help="name in recipes/")
    parser.add_argument("--shots", type=int, default=8, help="labels a class (default 8)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=60, help="of ours (default 60)")
    parser.add_argument("--rate", type=float, default=2e-5, help="our learning rate (default 2e-5)")
    options = parser.parse_args(arguments)
    raw = params.read_raw(_project.ROOT / "recipes" / f"{options.recipe}.yaml")
    found: dict[str, list[Measured]] = {"ours": [], "SetFit": []}
    with tempfile.TemporaryDirectory() as name:
        project = _project.copied(Path(name) / "project")
        for seed in options.seeds:
            _project.repro(project, edited(raw, options, seed), "tokenize")
            sides = {
                "ours": functools.partial(ours, project),
                "SetFit": functools.partial(setfit, project, seed),
            }
            with _sides.processes(sides, fresh=True) as asked:
                for side, results in _sides.take_turns(asked, 1, _shown).items():
                    found[side] += results
    report(options.seeds, found)


def edited(raw: dict[str, Any], options: Any, seed: int) -> dict[str, Any]:
    """Return the recipe for one draw."""
    pairs = {"kind": "pairs", "steps": options.steps, "learning_rate": options.rate}
    raw["preprocess"] |= {"shots": options.shots, "seed": seed}
    raw["finetune"] |= {"strategy": pairs, "seeds": [seed]}
    raw["tracking"] = {"kind": "off"}
    return raw


def ours(project: Path) -> Measured:
    """Train by `pairs`, as the stage `finetune` does, and answer test."""
    with contextlib.chdir(project):
        from baton.fitting import jobs, strategies
        from baton.losses.class_losses import cross_entropy
        from baton.models import model_folder
        from baton.predict import predict
        from baton.runtime import resolve

        loaded, base = params.load("finetune", "runtime"), Path("data/base")
        own = loaded.finetune
        with jobs.started("finetune", own, loaded.runtime, base) as job:

            def make() -> model_folder.Classifier:
                resolve.seed_everything(own.seed)
                outputs, attention = job.data.task.width, job.runtime.attention
                return model_folder.create(base, own.head, outputs, own, attention, job.data.input)

            start = time.monotonic()
            made = strategies.train(make, cross_entropy(own.label_smoothing, None), own, job)
            seconds = time.monotonic() - start
            test = job.data.splits["test"]
            logits = predict(made.model, test, job.runtime, job.at_once(own))
            return Measured(seconds, float((np.asarray(logits).argmax(axis=1) == test.targets.all).mean()))


def setfit(project: Path, seed: int) -> Measured:
    """Train SetFit with its defaults and answer test."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_DISABLED": "true", "TOKENIZERS_PARALLELISM": "false"}
    import pyarrow.parquet as pq
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    train, test = (
        pq.read_table(project / f"data/clean/{split}.parquet", columns=["text", "label"]).to_pydict()
        for split in ("train", "test")
    )
    raw = params.read_raw(project / "params.yaml")
    model = SetFitModel.from_pretrained(str(project / "data/base"))
    model.model_body.max_seq_length = raw["tokenize"]["max_length"]
    with tempfile.TemporaryDirectory() as folder:
        chosen = TrainingArguments(
            output_dir=folder, seed=seed, report_to="none", save_strategy="no", show_progress_bar=False
        )
        start = time.monotonic()
        Trainer(model=model, args=chosen, train_dataset=Dataset.from_dict(train)).train()
        seconds = time.monotonic() - start
    predicted = np.asarray(model.predict(test["text"]))
    return Measured(seconds, float((predicted == np.asarray(test["label"])).mean()))


def report(seeds: Sequence[int], found: dict[str, list[Measured]]) -> None:
    """Print accuracy and seconds by seed, the paired difference and the ratio."""
    rows = []
    for side, results in found.items():
        mean = np.mean([one.accuracy for one in results])
        rows.append(
            [f"{side}, accuracy, %", *(f"{100 * one.accuracy:.1f}" for one in results), f"{100 * mean:.1f}"]
        )
        rows.append([f"{side}, seconds", *(f"{one.seconds:.0f}" for one in results), ""])
    _sides.markdown(["", *(f"seed {seed}" for seed in seeds), "mean"], rows)
    gains = 100 * np.array([a.accuracy - b.accuracy for a, b in zip(*found.values(), strict=True)])
    interval = ""
    if len(gains) > 1:
        half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
        interval = (
            f", 95% interval {gains.mean() - half:+.1f} to {gains.mean() + half:+.1f} over {len(gains)} seeds"
        )
    print(f"\nours - SetFit: {gains.mean():+.1f} points{interval}")
    times = {side: [one.seconds for one in results] for side, results in found.items()}
    print(f"SetFit's seconds are {_sides.ratio(times['SetFit'], times['ours'])} times ours")


def _shown(measured: Measured) -> str:
    return f"{measured.accuracy:.1%} on test after {measured.seconds:.0f} s"


if __name__ == "__main__":
    from baton import console

    console.run(main)
