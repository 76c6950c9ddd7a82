"""Train a tiny BERT on three tasks that take turns, in one process or as one of several."""

import contextlib
from datetime import timedelta
from pathlib import Path

from safetensors.torch import save_file
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from baton import params, tracking
from baton.batches.alternating_batches import AlternatingBatches
from baton.fitting import jobs, several_tasks
from baton.losses import task_losses
from baton.losses.loss import Loss
from baton.losses.loss import supervised as supervised_loss
from baton.models import model_folder
from baton.models.several_heads import SeveralHeads
from baton.runtime import distributed, resolve
from baton.train import gradients, loop, resume
from tests import tiny, tiny_tasks

WEIGHT = 0.5  # of the losses of the other tasks


def prepare(folder: Path) -> None:
    """Write base model and arrays to folders of `folder`."""
    tiny.write_arrays(folder)
    tiny_tasks.write(folder, "length", "words", "letters")


def job(folder: Path, machine: resolve.Runtime, weight: float = WEIGHT) -> jobs.Job:
    """Return the job on these arrays."""
    return jobs.Job(
        jobs.open_data(None, folder / "arrays"),
        machine,
        tracking.Run(),
        resume.StageCheckpoints(folder / "checkpoints", 1000.0),
        arrays=folder / "arrays",
        others=tiny_tasks.others(folder, weight),
    )


def made(
    folder: Path, own: jobs.Job, settings: params.Finetune, shared: bool = False
) -> tuple[SeveralHeads, Loss, AlternatingBatches]:
    """Return model, loss and batches; `shared`: two tasks have one head (a negative control)."""
    resolve.seed_everything(0)
    reads, task = own.data.input, own.data.task
    classifier = model_folder.create(folder / "base", settings.head, task.width, settings, "matmul", reads)
    model = several_tasks.with_heads(classifier, own)
    assert isinstance(model, SeveralHeads)
    if shared:
        model.others["words"] = model.head
    main = supervised_loss(task_losses.of(task), settings.label_smoothing, None)
    loss_fn = several_tasks.loss_of(main, settings, own)
    batches = own.batches(settings, model.smallest_part)
    assert isinstance(batches, AlternatingBatches)
    return model, loss_fn, batches


def train(folder: Path, rank: int, ranks: int, port: int, without: str = "", accumulation: int = 1) -> None:
    """Run one process; rank 0 writes RANKS.safetensors.

    `without` is the part of the guarantee that is broken: the search for unused weights, the tasks' weight, a
    head for each.
    """
    if without == "search":
        gradients.Gradients._unused = lambda self: False  # type: ignore[method-assign]
    place = resolve.Place(rank, rank, ranks, ranks, "a test")
    machine = resolve.resolve(params.Runtime.model_validate(tiny.SETTINGS), place)
    with contextlib.ExitStack() as group:
        if ranks > 1:
            store = TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=60))
            group.enter_context(distributed._group(machine, store))
        settings = tiny_tasks.settings(learning_rate=1e-2, batch_size=12, accumulation=accumulation)
        own = job(folder, machine, 1.0 if without == "weight" else WEIGHT)
        model, loss_fn, batches = made(folder, own, settings, without == "head")
        scores = {"loss": 0.0, "accuracy": 0.0}
        list(loop.train(model, batches, loss_fn, lambda: scores, settings, machine))
        if rank == 0:
            weights = {name: own.contiguous().clone() for name, own in model.state_dict().items()}
            save_file(weights, folder / f"{ranks}-{accumulation}-{without}.safetensors")
