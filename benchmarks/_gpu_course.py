"""Short training runs that `_gpu_checks` stops, resumes and disturbs, some in separate processes.

python -m benchmarks._gpu_course rest|compile FOLDER
"""

import contextlib
import hashlib
import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import torch

from baton import console
from baton.losses import class_losses
from baton.train import checkpoint, loop
from benchmarks import _gpu_training
from benchmarks._gpu_work import Work

DROPOUT = 0.1
HUGE = 1e30  # finite as a loss in fp32, but not as gradients in fp16


def command(what: str, folder: Path, work: Work, compiled: bool) -> list[str]:
    """Return the command of a training run in `folder`, where a file tells it what to train on."""
    (folder / "work.pickle").write_bytes(pickle.dumps((work, compiled)))
    return [sys.executable, "-m", "benchmarks._gpu_course", what, str(folder)]


def varied(work: Work) -> Work:
    """Return the work with dropout, whose random bits must also be restored."""
    head = work.settings.head.model_copy(update={"dropout": DROPOUT})
    return _gpu_training.with_steps(
        work, work.sizes.warm_up, work.sizes.steps, dropout=DROPOUT, attention_dropout=DROPOUT, head=head
    )


def train(work: Work, folder: Path, compiled: bool, stop: int | None = None) -> dict[str, Any]:
    """Train or resume, deterministically; with `stop`, only up to the reading at that step.

    Return a digest of the weights, the losses and the last step.
    """
    job, model, batches = _gpu_training.setup(varied(work), compile=compiled, deterministic=True)
    course = _gpu_training.Course(batches, work.sizes.all_steps)
    saved = checkpoint.Checkpoints(folder / "checkpoints", 1e9, {})
    points = loop.train(
        model,
        course,
        class_losses.cross_entropy(0.1, None),
        _gpu_training.no_validation,
        work.settings,
        job.runtime,
        saved,
    )
    seen = []
    with contextlib.closing(points):
        for point in points:
            seen.append((point.step, getattr(point, "loss", 0.0)))
            if stop and point.step >= stop:
                break
    made = {"weights": digest(model), "losses": seen, "step": seen[-1][0]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(made))
    return read(folder)


def read(folder: Path) -> dict[str, Any]:
    """Read the result that `train` wrote."""
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def digest(model: torch.nn.Module) -> str:
    """Return the digest of all weights."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def overflow(work: Work, factor: float = HUGE) -> dict[str, Any]:
    """Run `_gpu_checks.overflow`; without a huge `factor` no step is skipped."""
    job, model, batches = _gpu_training.setup(work, compile=False, precision="fp16")
    huge = [1.0]
    plain = class_losses.cross_entropy(0.0, None)
    trained = loop._Loop(
        model, batches, lambda model, batch: plain(model, batch) * huge[0], work.settings, job.runtime
    )
    trained.join()
    scales, weights = [], []
    for step in range(9):
        huge[0] = factor if step == 5 else 1.0
        trained.step(batches.micro_batches(step))
        scales.append(float(trained.update.scale))
        weights.append(digest(model))
    skipped, halved = weights[5] == weights[4], scales[5] == scales[4] / 2
    went_on = weights[8] not in weights[:6] and int(trained.update.failed) < 0
    found = (
        f"scale {scales[4]:.0f} -> {scales[5]:.0f}, step {'skipped' if skipped else 'DONE'}, then "
        f"{'training continued' if went_on else 'TRAINING STALLED'}"
    )
    return {"ok": skipped and halved and went_on, "found": found, "scales": scales}


def compile_and_wait(work: Work, folder: Path, compiled: bool) -> None:
    """Train, and report when the first forward pass begins and when it has finished."""
    job, model, batches = _gpu_training.setup(work, compile=compiled and not work.sizes.tiny)
    plain = class_losses.cross_entropy(0.0, None)

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        (folder / "begun").touch()
        if work.sizes.tiny:
            time.sleep(2)  # takes the place of the compiler
        found = plain(model, batch)
        (folder / "computed").touch()
        return found

    course = _gpu_training.Course(batches, work.sizes.all_steps)
    saved = checkpoint.Checkpoints(folder / "checkpoints", 1e9, {})
    points = loop.train(
        model, course, loss_fn, _gpu_training.no_validation, work.settings, job.runtime, saved
    )
    with contextlib.closing(points):
        for _ in points:
            pass


def main() -> None:
    """Run one training run in this process."""
    what, folder = sys.argv[1], Path(sys.argv[2])
    work, compiled = pickle.loads((folder / "work.pickle").read_bytes())  # noqa: S301  from our own parent
    if what == "rest":
        train(work, folder, compiled)
    else:
        compile_and_wait(work, folder, compiled)


if __name__ == "__main__":
    console.run_stage(main)
