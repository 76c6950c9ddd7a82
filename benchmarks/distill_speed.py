"""Compare distillation to its end: from cached logits, from a live teacher, and as two peers do it.

All sides train the same student, made from the same teacher (`models/teacher`), on the same documents for the
recipe's epochs, with the same batch size, rates, loss, temperature and alpha:

- ours, cached: the teacher reads train once, and its logits are looked up. That reading counts.
- ours, live: the teacher reads each batch, as `distill.teacher: live`
- Trainer: transformers' Trainer with a live teacher, its loss as in transformers' guide to distillation
- torchdistill: its DistillationBox with KDLoss

Both peers have bf16 where ours does, batches grouped by length, padding to a multiple of 8 and eager
attention, which is the faster one on a CPU. The seconds are those of training, without validation; accuracy
is that of the last step's weights on test. Every measurement has a process of its own; sides take turns.

    python -m benchmarks.distill_speed [--project FOLDER] [--seeds 0 1 2] [--only cached live]
"""

import functools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from baton import console, params
from baton.arrays import text_arrays
from baton.batches import array_splits
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.distill import soft_targets, student
from baton.losses import task_losses
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.tasks import metrics
from baton.train import loop
from benchmarks import _distill_peers, _sides


@dataclass(frozen=True)
class Work:
    """What all sides are given."""

    project: Path
    settings: params.Distill  # of one seed
    runtime: params.Runtime

    def split(self, name: str) -> TextSplit:
        """Return one split."""
        arrays = self.project / "data/arrays"
        meta = array_splits.read_meta(arrays)
        return TextSplit(text_arrays.open_arrays(arrays, name, meta.task), meta.input.pad)

    def models(self, attention: str) -> tuple[model_folder.Classifier, model_folder.Classifier]:
        """Return the teacher and a new student."""
        resolve.seed_everything(self.settings.seed)
        teacher, info = model_folder.load(self.project / "models/teacher", attention)
        assert isinstance(self.settings.student, params.LayersStudent), "`main` refuses others"
        return teacher, student.make(teacher, info, self.settings.student, self.settings, attention)


class Measured(NamedTuple):
    """One training run of one side."""

    seconds: float
    accuracy: float  # on test, after the last step
    memory: int  # bytes, peak


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all sides once for each seed and print a table."""
    parser = _sides.parser(__doc__, 1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--only", nargs="+", choices=list(SIDES), default=list(SIDES), help="default: all")
    options = parser.parse_args(arguments)
    _sides.require(options.project, "data/arrays/meta.json", "models/teacher/config.json")
    loaded = params.load("distill", "runtime", path=options.project / "params.yaml")
    if not isinstance(loaded.distill.student, params.LayersStudent):
        parser.error("a student of the teacher's layers is needed (distill.student.kind: teacher_layers)")
    found: dict[str, list[Measured]] = {name: [] for name in options.only}
    for index, seed in enumerate(options.seeds):
        work = Work(options.project, loaded.distill.of(seed), loaded.runtime)
        names = options.only if index % 2 == 0 else list(reversed(options.only))
        sides = {name: functools.partial(SIDES[name], work) for name in names}
        with _sides.processes(sides, fresh=True) as measures:
            for name, runs in _sides.take_turns(measures, 1, _shown).items():
                found[name] += runs
    report(options.seeds, found)
    print(
        f"\n{_sides.machine('torch', 'transformers', 'torchdistill')}; batches of {loaded.distill.batch_size}"
    )


def cached(work: Work) -> Measured:
    """Look the teacher's logits up, after it has read train once."""
    machine = resolve.resolve(work.runtime)
    teacher, made = work.models(machine.attention)
    train, begun = work.split("train"), time.perf_counter()
    logits = predict(teacher.to(machine.device).eval(), train, machine, 2 * size(work.settings))
    assert isinstance(logits, np.ndarray)
    known = soft_targets.cached(torch.from_numpy(logits).to(machine.device))
    return ours(work, made, machine, known, time.perf_counter() - begun)


def live(work: Work) -> Measured:
    """Let the teacher read each batch."""
    machine = resolve.resolve(work.runtime)
    teacher, made = work.models(machine.attention)
    return ours(work, made, machine, soft_targets.Live(teacher.to(machine.device)), 0.0)


def ours(
    work: Work,
    made: model_folder.Classifier,
    machine: resolve.Runtime,
    teacher: soft_targets.Teacher,
    before: float,
) -> Measured:
    """Run Baton's loop as `distill` calls it; `before` are the seconds that the teacher has needed."""
    settings, train = work.settings, work.split("train")
    task = array_splits.read_meta(work.project / "data/arrays").task
    loss = soft_targets.distillation(task_losses.of(task), teacher, settings, soft_targets.Factors())
    batches = TrainingBatches(train, size(settings), settings.accumulation, settings.seed)
    companions = [teacher] if isinstance(teacher, soft_targets.Live) else []
    validations = 0

    def last() -> dict[str, float]:
        """Make the last weights the best ones."""
        nonlocal validations
        validations += 1
        return {"loss": -validations, "accuracy": validations, "macro_f1": validations}

    model, begun = made.to(machine.device), time.perf_counter()
    for _ in loop.train(model, batches, loss, last, settings, machine, companions=companions):
        pass
    return measured(work, model, machine, before + time.perf_counter() - begun)


def measured(work: Work, model: nn.Module, machine: resolve.Runtime, seconds: float) -> Measured:
    """Score a trained student on test."""
    memory, test = _sides.peak_memory(), work.split("test")
    logits = predict(model.eval(), test, machine, 2 * size(work.settings))
    return Measured(seconds, metrics.scores(logits, test.targets.all)["accuracy"], memory)


def size(settings: params.Distill) -> int:
    """Return the batch size."""
    assert settings.batch_size is not None, "recipes of text have no token budget"
    return settings.batch_size


def peer(train: _distill_peers.Train, work: Work) -> Measured:
    """Train a student as a peer does."""
    machine = resolve.resolve(work.runtime)
    teacher, made = work.models("sdpa")
    settings, base = work.settings, work.project / "models/teacher"
    seconds = train(teacher.eval(), made, work.split("train"), settings, machine, base)
    return measured(work, made, machine, seconds)


SIDES = {
    "cached": cached,
    "live": live,
    "Trainer": functools.partial(peer, _distill_peers.trainer),
    "torchdistill": functools.partial(peer, _distill_peers.torchdistill),
}


def report(seeds: Sequence[int], found: dict[str, list[Measured]]) -> None:
    """Print seconds, ratios and accuracies."""
    first = next(iter(found))
    rows = []
    for name, runs in found.items():
        seconds = [run.seconds for run in runs]
        reference = [run.seconds for run in found[first]]
        accuracies = [run.accuracy for run in runs]
        rows.append(
            [
                name,
                _sides.spread(seconds),
                "" if name == first else _sides.ratio(seconds, reference),
                f"{statistics.mean(accuracies):.2%}",
                ", ".join(f"{value:.2%}" for value in accuracies),
                f"{max(run.memory for run in runs) / 2**20:,.0f}",
            ]
        )
    print(f"\ndistillation to its end, seeds {', '.join(map(str, seeds))}")
    columns = ["side", "seconds", f"{first} is faster by", "accuracy on test", "by seed", "peak MiB"]
    _sides.markdown(columns, rows)


def _shown(run: Measured) -> str:
    return f"{run.seconds:.1f} s, accuracy {run.accuracy:.2%}"


if __name__ == "__main__":
    console.run(main)
