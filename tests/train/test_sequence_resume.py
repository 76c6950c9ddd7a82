"""Training that writes texts, killed five times: it resumes and ends with the same bits.

Weights are tied, averaged and dropped out; validation generates texts and picks the best weights by chrF.
"""

import contextlib
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from baton import params
from baton.batches.sampler import TrainingBatches
from baton.fitting import sequence_validation
from baton.losses import loss, task_losses
from baton.runtime import resolve
from baton.tasks import task_figures
from baton.train import loop
from tests import tiny, tiny_sequences
from tests.train import training

EPOCHS, KILLS = 6, (2, 5, 8, 11, 15)  # steps; there are 3 in an epoch
SETTINGS = {
    "epochs": EPOCHS,
    "dropout": 0.1,
    "label_smoothing": 0.1,
    "learning_rate": 3e-3,
    "ema": params.Ema(decay=0.9),
    "metric": "chrf",
}


def attempt(folder: Path, kill_at: int | None) -> None:
    """Train, or resume, and write the weights and points; die before the loss of step `kill_at`."""
    machine, settings = tiny.machine(), tiny.training(**SETTINGS)
    resolve.seed_everything(0)
    model = tiny_sequences.model(folder, dropout=0.1).train()
    train, val = (tiny_sequences.opened(folder, name) for name in ("train", "val"))
    spec, batches = train.targets.spec, TrainingBatches(train, 8, 2, 0)
    supervised, step = loss.supervised(task_losses.of(spec), 0.1, None), [0]

    def loss_fn(model: Any, batch: Any) -> Any:
        if step[0] + 1 == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return supervised(model, batch)

    def validate() -> dict[str, float]:
        return sequence_validation.scores(model, val, machine, 8, folder / "arrays")

    saved = training.Settled(folder / "checkpoints", 0.0, {})
    points = []
    made = loop.train(
        model, batches, loss_fn, validate, settings, machine, saved, (), task_figures.of(spec).directions
    )
    with contextlib.closing(made) as new:
        for point in new:
            points.append(vars(point) | {"time": 0, "samples_per_second": 0})
            step[0] = point.step
    weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "final.safetensors")
    (folder / "points.txt").write_text("\n".join(map(str, points)))


def run(processes: Any, folder: Path, kill_at: int | None) -> int:
    process = processes.Process(target=attempt, args=(folder, kill_at))
    process.start()
    process.join(300)
    assert process.exitcode is not None, "the attempt hangs"
    return int(process.exitcode)


@pytest.mark.slow
def test_killed_five_times_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.train.test_sequence_resume"])
    for name in ("whole", "killed"):
        tiny_sequences.write(tmp_path / name)
    assert run(processes, tmp_path / "whole", None) == 0
    for kill in KILLS:
        assert run(processes, tmp_path / "killed", kill) == -signal.SIGKILL
        assert list((tmp_path / "killed/checkpoints").iterdir()), "it was saved before"
    assert run(processes, tmp_path / "killed", None) == 0
    for name in ("final.safetensors", "points.txt"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
